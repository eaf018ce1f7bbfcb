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
            except (SyntaxError, ValueError):
                return False
            for node in ast.walk(tree):
                if _is_untraceable(node):
                    return False
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    self.strings.add(node.value)
                waiting.extend(self._imported(node, path, script))
        return True

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
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name == "compile" and isinstance(function, ast.Attribute):
        # re.compile and its like; the built-in is called by its bare name.
        return False
    if name == "eval" and isinstance(function, ast.Attribute):
        # model.eval() of PyTorch, DataFrame.eval.
        return False
    if name in _UNTRACEABLE:
        return True
    return name in _LISTING and _lists_code(node)


def _lists_code(call: ast.Call) -> bool:
    """Whether a listing may be of the script's own folder: it is, unless its argument says otherwise."""
    literals = [
        arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
    ]
    if not literals:
        return False
    return any(text in {".", "./", "*", "**", "**/*"} or text.endswith(".py") for text in literals)
