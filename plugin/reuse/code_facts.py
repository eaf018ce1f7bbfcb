"""What a file of Python code says of the files it uses, without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

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


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What a file says of the files it uses.

    :param imports: level (0 is absolute) and module of each import; of ``from … import name`` with the name appended.
    :param strings: its string constants.
    :param lists_code: whether it lists a folder in a way that may find code.
    :param names_own_folder: whether it may know the folder it is in.
    :param obstacle: why nobody can tell what else it loads, as the end of a sentence that begins with its name.
    """

    imports: tuple[tuple[int, str], ...] = ()
    strings: frozenset[str] = frozenset()
    lists_code: bool = False
    names_own_folder: bool = False
    obstacle: str | None = None


# Steps that share a folder share the files that they import, and a plan looks at all steps of a pipeline in a row.
@lru_cache(maxsize=1024)
def facts_of(data: bytes) -> CodeFacts:
    """Look at the content of a file of code."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return CodeFacts(obstacle="is no Python source that can be read")
    imports: list[tuple[int, str]] = []
    strings: set[str] = set()
    lists_code = names_own_folder = False
    for node in ast.walk(tree):
        loader = _untraceable(node)
        if loader is not None:
            return CodeFacts(obstacle=f"uses {loader} in line {getattr(node, 'lineno', 1)}")
        imports.extend(_imports(node))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
        lists_code = lists_code or _lists_code(node)
        names_own_folder = names_own_folder or _names_own_folder(node)
    return CodeFacts(tuple(dict.fromkeys(imports)), frozenset(strings), lists_code, names_own_folder)


def _imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield 0, alias.name
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield node.level, f"{node.module}.{alias.name}" if node.module else alias.name


def _untraceable(node: ast.AST) -> str | None:
    """Return what a statement loads code with, if nobody can tell which code."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        roots = (module.partition(".")[0] for _, module in _imports(node))
        return next((root for root in roots if root in _STARTING), None)
    if not isinstance(node, ast.Call):
        return None
    name = _called(node)
    if name in {"compile", "eval"} and isinstance(node.func, ast.Attribute):
        # re.compile and its like, model.eval() of PyTorch, DataFrame.eval; the built-ins are called by their bare names.
        return None
    if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "os":
        return f"os.{name}" if name.startswith(_STARTING_OF_OS) else None
    return name if name in _UNTRACEABLE else None


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
