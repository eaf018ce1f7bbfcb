"""Globs over the paths of a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from airflow_azureml.runtime.exceptions import UserErrorException

_GLOB_CHARACTERS = frozenset("*?[")


def chooser(include: Iterable[str], exclude: Iterable[str]) -> Callable[[str], bool]:
    """Make the function that tells whether a path is among those chosen.

    :param include: globs, any of which takes a path; all are taken for none.
    :param exclude: globs, any of which leaves a path out.
    :raises UserErrorException: a glob is none.
    """
    taken, left_out = _any_of(include), _any_of(exclude)

    def chosen(path: str) -> bool:
        return (taken is None or taken(path) is not None) and (left_out is None or left_out(path) is None)

    return chosen


def split_glob(path: str) -> tuple[str, str | None]:
    """Split a path into the folder that is certain and the glob below it: ``a/b/*.csv`` gives ``a/b`` and ``*.csv``.

    :return: the path itself and None for a path without a glob. The glob starts with a slash if it isn't for any folder.
    """
    parts = path.split("/")
    first = next((at for at, part in enumerate(parts) if not _GLOB_CHARACTERS.isdisjoint(part)), None)
    if first is None:
        return path, None
    return "/".join(parts[:first]), "/" + "/".join(parts[first:])


def _any_of(globs: Iterable[str]) -> Callable[[str], re.Match[str] | None] | None:
    expressions = [_expression(glob) for glob in globs]
    return re.compile("|".join(expressions), re.DOTALL).fullmatch if expressions else None


def _expression(glob: str) -> str:
    if not glob.strip("/"):
        raise UserErrorException(f"glob {glob!r} matches nothing; give one such as '*.csv' or 'raw/**'")
    anywhere = "/" not in glob
    text = glob.strip("/") + ("/**" if glob.endswith("/") else "")
    pieces = re.findall(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", text, re.DOTALL)
    return ("(?:.*/)?" if anywhere else "") + "".join(map(_translated, pieces))


def _translated(piece: str) -> str:
    simple = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(piece)
    if simple is not None:
        return simple
    if len(piece) > 2 and piece[0] == "[":
        negated = piece[1] == "!"
        inner = piece[2 if negated else 1 : -1].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
        return f"(?!/)[{'^' if negated else ''}{inner}]"
    return re.escape(piece)
