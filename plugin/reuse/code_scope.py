"""Which files of a shared source directory a step has nothing to do with.

Steps usually share one folder. If every file of it counted for every step, a change of one step's script would run all of them
again. So the scripts of *other* steps don't count, as long as it is certain that this step doesn't use them: they are not
imported, directly or through other files, and not mentioned in a string. Everything else in the folder counts; when a script
loads code in ways that cannot be followed (``importlib``, ``exec``, ``runpy``, …), all of it does.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

Read = Callable[[str], bytes]
"""Returns the content of a file of the folder by its path."""

_UNTRACEABLE = frozenset(
    {
        "__import__",
        "compile",
        "eval",
        "exec",
        "execfile",
        "exec_module",
        "import_module",
        "run_module",
        "run_path",
        "spec_from_file_location",
    }
)
"""Calls after which nobody can tell what else is loaded."""

_LISTING = frozenset(
    {"glob", "iglob", "rglob", "iterdir", "listdir", "scandir", "walk", "iter_modules", "walk_packages"}
)
"""Calls that find files without naming them; what they find may be a script."""

_OWN_FOLDER = frozenset({"__file__", "cwd", "getcwd", "getcwdb"})
"""Names by which a script finds the folder it is in; ``.`` is another."""

_STARTING = frozenset({"subprocess", "pty", "runpy"})
"""Modules that start programs, which may be any file."""

_STARTING_OF_OS = ("exec", "popen", "posix_spawn", "spawn", "startfile", "system")
"""How the names of the functions begin by which ``os`` does."""


def unrelated_scripts(script: str, others: Iterable[str], paths: Iterable[str], read: Read) -> frozenset[str]:
    """Return the scripts of other steps that ``script`` certainly doesn't use.

    :param script: the step's script, POSIX path in the folder.
    :param others: scripts of the other steps that share the folder.
    :param paths: all files of the folder.
    :param read: reads one of them.
    """
    files = frozenset(paths)
    candidates = frozenset(others) & files - {script}
    if not candidates or script not in files:
        return frozenset()
    used = _Closure(files, read)
    if not used.follow(script):
        return frozenset()
    return frozenset(path for path in candidates if path not in used.reached and not used.mentions(path))


@dataclass(slots=True)
class _Closure:
    """The files of a folder that a script reaches by importing."""

    files: frozenset[str]
    read: Read
    reached: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)
    lists_folders: bool = False
    knows_own_folder: bool = False

    def follow(self, script: str) -> bool:
        """Walk the imports from ``script``; return whether all of them could be followed."""
        waiting = [script]
        while waiting:
            path = waiting.pop()
            if path in self.reached:
                continue
            self.reached.add(path)
            try:
                tree = ast.parse(self.read(path))
            except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
                return False
            for node in ast.walk(tree):
                if _is_untraceable(node):
                    return False
                self._note(node)
                waiting.extend(self._imported(node, path, script))
        return not (self.lists_folders and self.knows_own_folder)

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.strings.add(node.value)
        self.lists_folders |= _lists_code(node)
        self.knows_own_folder |= _names_own_folder(node)

    def mentions(self, path: str) -> bool:
        """Whether some string among the reached files names ``path``, its file name or its module."""
        name = PurePosixPath(path)
        return any(text == name.stem or name.name in text for text in self.strings)

    def _imported(self, node: ast.AST, importer: str, script: str) -> Iterator[str]:
        for module in _modules(node, importer):
            yield from self._files_of(module, PurePosixPath(importer).parent)
            # The import path holds the folder's root and the script's own folder.
            yield from self._files_of(module, PurePosixPath(script).parent)
            yield from self._files_of(module, PurePosixPath())

    def _files_of(self, module: str, folder: PurePosixPath) -> Iterator[str]:
        parts = module.split(".")
        for length in range(1, len(parts) + 1):
            stem = folder.joinpath(*parts[:length])
            for path in (f"{stem}.py", f"{stem}/__init__.py"):
                if path in self.files:
                    yield path


def _modules(node: ast.AST, importer: str) -> Iterator[str]:
    """Yield the modules that a statement imports, those of ``from … import name`` with the name appended."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            folder = PurePosixPath(importer).parent.parts
            kept = folder[: len(folder) - (node.level - 1)]
            base = ".".join([*kept, *([base] if base else [])])
        for alias in node.names:
            yield f"{base}.{alias.name}" if base else alias.name


def _is_untraceable(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return any(module.partition(".")[0] in _STARTING for module in _modules(node, ""))
    if not isinstance(node, ast.Call):
        return False
    name = _called(node)
    if name in {"compile", "eval"} and isinstance(node.func, ast.Attribute):
        # re.compile and its like, model.eval() of PyTorch, DataFrame.eval; the built-ins are called by their bare names.
        return False
    if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "os":
        return name.startswith(_STARTING_OF_OS)
    return name in _UNTRACEABLE


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _lists_code(node: ast.AST) -> bool:
    """Whether a call lists a folder and may find Python files in it."""
    if not isinstance(node, ast.Call) or _called(node) not in _LISTING:
        return False
    patterns = [
        arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
    ]
    if "glob" not in _called(node) or not patterns:
        return True
    return any(_finds_code(pattern) for pattern in patterns)


def _finds_code(pattern: str) -> bool:
    """Whether a pattern may match a Python file, by what is certain about how such a name ends."""
    ending = pattern.rpartition("*")[2]
    return ending.endswith(".py") or ".py".endswith(ending) or not {"?", "["}.isdisjoint(ending)


def _names_own_folder(node: ast.AST) -> bool:
    """Whether an expression may stand for the script's own folder, which is its working directory too."""
    if isinstance(node, ast.Name):
        return node.id in _OWN_FOLDER
    if isinstance(node, ast.Attribute):
        return node.attr in _OWN_FOLDER
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and (node.value in {".", "./"} or node.value.startswith("./*"))
    if not isinstance(node, ast.Call):
        return False
    if not node.args:
        # os.listdir() and Path() mean the working directory.
        return _called(node) in {"listdir", "scandir", "Path"}
    # glob.glob("*.py") looks there too; folder.glob("*.py") doesn't.
    return (
        _called(node) in {"glob", "iglob"} and isinstance(node.args[0], ast.Constant) and _is_plain(node.func)
    )


def _is_plain(function: ast.expr) -> bool:
    """Whether a function is called by its name or that of the module ``glob``, not as a method."""
    return isinstance(function, ast.Name) or getattr(getattr(function, "value", None), "id", "") == "glob"
