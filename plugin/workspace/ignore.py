"""Which files of a source directory are left out of its snapshot.

``.amlignore`` at the root of the source directory wins outright over ``.gitignore`` there, even when it is empty;
ignore files further down do not count. Patterns are gitwildmatch and are asked file by file, the last match
decides, so ``!keep.py`` brings a file back even out of an ignored folder (as in v1, unlike git).

Always left out, whatever the patterns say:

- ``.git``: history is no input of a step, and it changes with every commit (v1 hashed it, so no step was ever
  reused from a git checkout without an ignore file);
- ``__pycache__`` folders and ``*.pyc`` files: Python writes them beside a script when it runs, so a step that ran
  once would differ from the same step before, and they embed times of the machine they were written on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from airflow_azureml.model.canonical import digest_of
from airflow_azureml.runtime.exceptions import SnapshotException

IGNORE_FILES = (".amlignore", ".gitignore")
"""Looked for at the root of a source directory; the first that is there is used, alone."""

_NEVER_TAKEN = frozenset((".git", "__pycache__"))
_NEVER_TAKEN_SUFFIX = ".pyc"


class IgnoreRules:
    """Compiled patterns, asked with relative POSIX paths.

    :param lines: gitwildmatch patterns; without any, only what is never taken is left out.
    :param source: where they come from, for messages.
    :raises SnapshotException: a line isn't a pattern.
    """

    __slots__ = ("_last_negation", "_patterns", "key")

    def __init__(self, lines: Sequence[str] = (), source: str = IGNORE_FILES[0]) -> None:
        # The last match decides, so they are tried from the end.
        self._patterns = tuple(reversed(_compile(lines, source)))
        negations = [place for place, (excluding, _) in enumerate(self._patterns) if not excluding]
        self._last_negation = negations[0] if negations else len(self._patterns)
        #: Changes with whatever may change an answer.
        self.key: str = digest_of(["ignore", 1, [line.rstrip("\r\n") for line in lines]])

    def leaves_out_file(self, path: str) -> bool:
        """Tell whether a file is left out.

        :param path: relative to the source directory.
        """
        if _never_taken(path):
            return True
        for excluding, pattern in self._patterns:
            if pattern.match(path):
                return excluding
        return False

    def leaves_out_folder(self, path: str) -> bool:
        """Tell whether nothing in a folder can be taken, so that it need not be walked.

        :param path: relative to the source directory, without a slash at the end.
        """
        if _never_taken(path):
            return True
        # A pattern that matches a folder matches all in it; only a later negation can bring a part back.
        return any(pattern.match(path + "/") for _, pattern in self._patterns[: self._last_negation])


def load_rules(directory: Path) -> IgnoreRules:
    """Read the ignore file of a source directory.

    :raises SnapshotException: it cannot be read, or a line of it isn't a pattern.
    """
    for name in IGNORE_FILES:
        path = directory / name
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (FileNotFoundError, IsADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise SnapshotException(f"ignore file {str(path)!r} cannot be read: {error}") from error
        return IgnoreRules(text.splitlines(), str(path))
    return IgnoreRules()


def _never_taken(path: str) -> bool:
    name = path[path.rfind("/") + 1 :]
    return name in _NEVER_TAKEN or name.endswith(_NEVER_TAKEN_SUFFIX)


def _compile(lines: Sequence[str], source: str) -> list[tuple[bool, re.Pattern[str]]]:
    if not lines:
        return []
    # Most source directories have no ignore file: their DAG files need not wait for this import.
    from pathspec import PathSpec

    compiled: list[tuple[bool, re.Pattern[str]]] = []
    for number, line in enumerate(lines, 1):
        try:
            patterns = PathSpec.from_lines("gitignore", [line]).patterns
        except ValueError as error:
            raise SnapshotException(f"{source}, line {number}: {line!r} isn't a pattern: {error}") from error
        # A comment or an empty line says nothing: it has no expression.
        compiled += [(bool(p.include), p.regex) for p in patterns if p.regex is not None]
    return compiled
