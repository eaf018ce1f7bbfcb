"""Which files of a source directory the result of a step depends on.

Steps usually share one folder. If every file of it counted for every step, a change of one step's script would run all of them
again. There are two ways to leave files out:

* ``code_scope="directory"``: everything counts but the scripts of *other* steps, as long as it is certain that this step doesn't
  use them: they are not imported, directly or through other files, and not mentioned in a string.
* ``code_scope="imports"``: what counts is the script, what it imports from the folder, directly or through other files, and the
  files that these name in strings; and what ``code_files`` adds. Files that are found in other ways don't count: names put
  together at run time, modules that unpickling loads.

When a script loads code in ways that cannot be followed (``importlib``, ``exec``, ``subprocess``, …), all files count either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from airflow_azureml.reuse.code_facts import CodeFacts, facts_of
from airflow_azureml.runtime.dataset.walking import Pattern

Read = Callable[[str], bytes]
"""Returns the content of a file of the folder by its path."""

HASH_PATHS = "hash_paths:"
"""What the paths of files of ``hash_paths`` begin with among the files that count."""

_STARTED_BY_PYTHON = ("sitecustomize", "usercustomize")
"""Modules that Python imports by itself when it starts, from the root of the folder too."""

_LOADED_BY_IMPORTS = (".py", ".so", ".pyd")


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
    if used.follow(script) is not None:
        return frozenset()
    return frozenset(path for path in candidates if path not in used.reached and not used.mentions(path))


@dataclass(frozen=True, slots=True)
class CodeSelection:
    """Which files of a source directory count.

    :param unrelated: the files that don't count.
    :param note: what a reader of the decision should know: why all files count after all, or that a glob found nothing; else
        empty.
    """

    unrelated: frozenset[str]
    note: str = ""


def import_scope(script: str, globs: Iterable[str], paths: Iterable[str], read: Read) -> CodeSelection:
    """Find the files that a script uses.

    :param script: the step's script, POSIX path in the folder.
    :param globs: paths of further files that count: ``*`` is any text within one level, ``**`` any number of levels, a folder
        all that is in it.
    :param paths: all files of the folder.
    :param read: reads one of them.
    """
    files = frozenset(paths)
    used = _Closure(files, read)
    obstacle = used.follow(script, *_STARTED_BY_PYTHON)
    if obstacle is not None:
        return CodeSelection(frozenset(), f'all files count in spite of code_scope="imports": {obstacle}')
    counting = set(used.reached)
    empty = []
    for glob in globs:
        found = _matching(glob, files)
        counting |= found
        if not found:
            empty.append(glob)
    counting.update(path for path in files - counting if used.names(path))
    note = f"code_files: {', '.join(empty)} matches no file of the source directory" if empty else ""
    return CodeSelection(files - counting, note)


def _matching(glob: str, files: Iterable[str]) -> set[str]:
    pattern = Pattern.of(str(PurePosixPath(glob)))
    if not pattern.segments:
        return {path for path in files if path == pattern.literal or path.startswith(f"{pattern.literal}/")}
    prefix = f"{pattern.literal}/" if pattern.literal else ""
    return {path for path in files if path.startswith(prefix) and pattern.matches(path.removeprefix(prefix))}


@dataclass
class _Closure:
    """The files of a folder that a script reaches by importing."""

    files: frozenset[str]
    read: Read
    reached: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)

    def follow(self, script: str, *modules: str) -> str | None:
        """Walk the imports from ``script``.

        :param modules: modules at the root of the folder that are loaded too, where there are such.
        :return: what keeps them from being followed, or ``None``.
        """
        waiting = [script, *(path for module in modules for path in self._files_of(module, PurePosixPath()))]
        listing = own_folder = None
        while waiting:
            path = waiting.pop()
            if path in self.reached:
                continue
            self.reached.add(path)
            facts = self._facts(path)
            if facts.obstacle is not None:
                return f"{path} {facts.obstacle}"
            self.strings |= facts.strings
            listing = listing or (facts.lists_code and path)
            own_folder = own_folder or facts.names_own_folder
            waiting.extend(self._imported(facts, path, script))
        return f"{listing} lists the files of its folder" if listing and own_folder else None

    def mentions(self, path: str) -> bool:
        """Whether some string among the reached files may mean ``path``, by its file name or its module's name."""
        # Asked for each pair of steps that share a folder.
        name = path.rpartition("/")[2]
        return (name.rpartition(".")[0] or name) in self.strings or name in self._text

    def names(self, path: str) -> bool:
        """Whether some string among the reached files names ``path``; words that only sound alike don't count."""
        name = PurePosixPath(path)
        # A name such as "data" or "train.py" is a part of many sentences: it has to stand at the end, as in a path.
        is_word = not name.suffix or path.endswith(_LOADED_BY_IMPORTS)
        return name.name in (self._last_parts if is_word else self._text)

    @cached_property
    def _text(self) -> str:
        return "\0".join(self.strings)

    @cached_property
    def _last_parts(self) -> frozenset[str]:
        return frozenset(text.rstrip("/").rpartition("/")[2] for text in self.strings)

    @cached_property
    def _modules(self) -> Mapping[str, list[str]]:
        """Path of a module without what its file name ends with, to the files that may be it."""
        found: dict[str, list[str]] = {}
        for path in self.files:
            if path.endswith(_LOADED_BY_IMPORTS):
                folder, slash, name = path.rpartition("/")
                found.setdefault(f"{folder}{slash}{name.partition('.')[0]}", []).append(path)
        return found

    @cached_property
    def _inside(self) -> Mapping[str, list[str]]:
        """Path of a package to the files of the modules in it."""
        found: dict[str, list[str]] = {}
        for stem, paths in self._modules.items():
            package, _, name = stem.rpartition("/")
            found.setdefault(package, []).extend(paths)
            if name == "__init__":
                # A package is a module of the package around it.
                found.setdefault(package.rpartition("/")[0], []).extend(paths)
        return found

    def _facts(self, path: str) -> CodeFacts:
        try:
            return facts_of(self.read(path))
        except OSError as error:
            return CodeFacts(obstacle=f"cannot be read ({error})")

    def _imported(self, facts: CodeFacts, importer: str, script: str) -> Iterator[str]:
        for level, module in facts.imports:
            absolute = _absolute(level, module, importer)
            yield from self._files_of(absolute, PurePosixPath(importer).parent)
            # The import path holds the folder's root and the script's own folder.
            yield from self._files_of(absolute, PurePosixPath(script).parent)
            yield from self._files_of(absolute, PurePosixPath())

    def _files_of(self, module: str, folder: PurePosixPath) -> Iterator[str]:
        parts = module.split(".")
        if parts[-1] == "*":
            # Also what the package's __all__ names, which may be any module in it.
            yield from self._inside.get(str(folder.joinpath(*parts[:-1])), ())
        for length in range(1, len(parts) + 1):
            stem = folder.joinpath(*parts[:length])
            yield from self._modules.get(str(stem), ())
            yield from self._modules.get(f"{stem}/__init__", ())


def _absolute(level: int, module: str, importer: str) -> str:
    """Return the module that ``from ..package import name`` means, as seen from the folder's root."""
    if not level:
        return module
    folder = PurePosixPath(importer).parent.parts
    return ".".join([*folder[: len(folder) - (level - 1)], module])
