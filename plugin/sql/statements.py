"""SQL text, as far as it has to be understood: where strings and comments are, one statement or more, places for values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from airflow_azureml.model.sql_source import SqlParameter
from airflow_azureml.runtime.exceptions import UserErrorException

_READING = ("SELECT", "WITH", "VALUES", "TABLE")
_FIRST_WORD = re.compile(r"[\s(]*([A-Za-z]+)")
_PLACE = re.compile(r"(?<![:\w]):([A-Za-z_]\w*)")
_DOLLAR = re.compile(r"\$(?:[^\W\d]\w*)?\$")
# Reserved words of T-SQL, so never names without brackets. It needs no semicolon between statements.
_WRITING_TSQL = re.compile(
    r"\b(ALTER|BACKUP|CREATE|DBCC|DECLARE|DELETE|DENY|DROP|EXEC|EXECUTE|GRANT|INSERT|INTO|KILL|REVOKE|"
    r"RESTORE|SHUTDOWN|TRUNCATE|UPDATE|USE(?!\s+(?:HINT|PLAN)\b)|WAITFOR|MERGE(?!\s+(?:JOIN|UNION)\b))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """How a database writes strings, names and comments.

    :param quotes: opening and closing characters; a closing one within is doubled.
    :param backslash: the opening characters within which a backslash escapes.
    :param line_comments: what starts a comment to the line's end.
    :param nested_comments: whether ``/* */`` nest.
    :param postgresql: whether there are ``$tag$`` strings and ``E''``.
    """

    quotes: dict[str, str]
    backslash: str = ""
    line_comments: tuple[str, ...] = ("--",)
    nested_comments: bool = False
    postgresql: bool = False


LEXICONS = {
    "postgresql": Lexicon({"'": "'", '"': '"'}, nested_comments=True, postgresql=True),
    "mssql": Lexicon({"'": "'", '"': '"', "[": "]"}, nested_comments=True),
    "mysql": Lexicon(
        {"'": "'", '"': '"', "`": "`"}, backslash="'\"", line_comments=("-- ", "--\n", "--\t", "#")
    ),
    "ansi": Lexicon({"'": "'", '"': '"'}),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a statement.

    :param kind: ``code``, ``quoted`` or ``comment``.
    :param text: as it was written.
    """

    kind: str
    text: str


def pieces(text: str, kind: str) -> Iterator[Piece]:
    """Split a statement into code, quoted text and comments.

    :param kind: which SQL it is.
    :raises UserErrorException: a string or comment has no end.
    """
    lexicon = LEXICONS[kind]
    start = position = 0
    while position < len(text):
        found = _quoted_or_comment(text, position, lexicon)
        if found is None:
            position += 1
            continue
        if position > start:
            yield Piece("code", text[start:position])
        what, end = found
        if end < 0:
            raise UserErrorException(
                f"the query has a {what} without an end: …{text[position : position + 40]!r}"
            )
        yield Piece(what, text[position:end])
        start = position = end
    if position > start:
        yield Piece("code", text[start:])


def one_query(text: str, kind: str) -> str:
    """Return a query without the semicolon after it.

    :param kind: which SQL it is.
    :raises UserErrorException: it is empty, more than one statement, or one that doesn't read.
    """
    found = list(pieces(text, kind))
    _refuse_hidden_code(found, kind)
    end = _end_of_statement(found)
    statement = "".join(piece.text for piece in end)
    first = _FIRST_WORD.match("".join(piece.text for piece in end if piece.kind != "comment"))
    word = first.group(1).upper() if first else ""
    if word not in _READING:
        raise UserErrorException(
            f"a query has to start with SELECT or WITH, this one starts with {word or 'nothing'}; "
            "for a procedure use sql_stored_procedure"
        )
    if kind == "mssql":
        _refuse_writing(end)
    # On a line of its own follows what is put around a query; it may end in a comment.
    return statement + ("\n" if end[-1].kind == "comment" else "")


def with_places(
    text: str,
    parameters: Sequence[SqlParameter],
    kind: str,
    place: Callable[[int, SqlParameter], str],
    *,
    percent: bool,
) -> tuple[str, list[SqlParameter]]:
    """Put a driver's own places for values where a statement says ``:name``.

    :param parameters: what there are values for; other words after a colon stay.
    :param kind: which SQL it is.
    :param place: makes the text of the place with a number, from 1.
    :param percent: whether the driver reads ``%`` itself when it gets values, so that other ones have to be doubled.
    :return: the text, and the parameters in the order of its places.
    :raises UserErrorException: a parameter that the statement doesn't use.
    """
    if not parameters:
        return text, []
    by_name = {parameter.name: parameter for parameter in parameters}
    used: set[str] = set()
    bound: list[SqlParameter] = []

    def put(match: re.Match[str]) -> str:
        parameter = by_name.get(match.group(1))
        if parameter is None:
            return match.group()
        used.add(parameter.name)
        if parameter.value is None:
            return "NULL"
        bound.append(parameter)
        return place(len(bound), parameter)

    written = []
    for piece in pieces(text, kind):
        escaped = piece.text.replace("%", "%%") if percent else piece.text
        written.append(_PLACE.sub(put, escaped) if piece.kind == "code" else escaped)
    unused = sorted(set(by_name) - used)
    if unused:
        raise UserErrorException(
            f"the query does not use parameter {', '.join(unused)}; write :{unused[0]} where its value belongs"
        )
    return "".join(written), bound


def name_parts(name: str, what: str = "table") -> tuple[str, ...]:
    """Split the name of a table or procedure: ``schema.table``, each part plain or quoted with ``"``, ``[]`` or backticks.

    :raises UserErrorException: it is no such name.
    """
    parts: list[str] = []
    rest = name.strip()
    while True:
        match = re.match(
            r'"((?:[^"]|"")+)"|\[((?:[^\]]|\]\])+)\]|`((?:[^`]|``)+)`|([^.\s"\[\]`;\'\0]+)', rest
        )
        if match is None:
            raise UserErrorException(
                f"{what} name {name!r} is none; write {what} or schema.{what}, a part with other characters in quotes"
            )
        quoted, bracketed, ticked, plain = match.groups()
        parts.append(
            plain
            or (quoted or "").replace('""', '"')
            or (bracketed or "").replace("]]", "]")
            or (ticked or "").replace("``", "`")
        )
        rest = rest[match.end() :]
        if not rest:
            return tuple(parts)
        if rest[0] != "." or len(parts) == 3:
            raise UserErrorException(f"{what} name {name!r} is none; write {what} or schema.{what}")
        rest = rest[1:]


def _quoted_or_comment(text: str, position: int, lexicon: Lexicon) -> tuple[str, int] | None:
    """Return what starts here and where it ends; an end of -1 where it has none."""
    if any(text.startswith(start, position) for start in lexicon.line_comments):
        end = text.find("\n", position)
        return "comment", len(text) if end < 0 else end + 1
    if text.startswith("/*", position):
        return "comment", _end_of_comment(text, position, nested=lexicon.nested_comments)
    if lexicon.postgresql and text[position] == "$" and not _in_word(text, position):
        tag = _DOLLAR.match(text, position)
        if tag is not None:
            end = text.find(tag.group(), tag.end())
            return "quoted", end if end < 0 else end + len(tag.group())
        return None
    closing = lexicon.quotes.get(text[position])
    if closing is None:
        return None
    escapes = text[position] in lexicon.backslash or (lexicon.postgresql and _escape_string(text, position))
    return "quoted", _end_of_quoted(text, position, closing, escapes=escapes)


def _in_word(text: str, position: int) -> bool:
    return position > 0 and (text[position - 1].isalnum() or text[position - 1] in "_$")


def _escape_string(text: str, position: int) -> bool:
    before = text[position - 1] if position else ""
    return text[position] == "'" and before in ("e", "E") and not _in_word(text, position - 1)


def _end_of_comment(text: str, position: int, *, nested: bool) -> int:
    depth = 0
    for mark in re.finditer(r"/\*|\*/", text[position:]):
        depth += 1 if mark.group() == "/*" and (nested or depth == 0) else -(mark.group() == "*/")
        if depth == 0:
            return position + mark.end()
    return -1


def _end_of_quoted(text: str, position: int, closing: str, *, escapes: bool) -> int:
    mark = re.escape(closing)
    inside = rf"(?:[^{mark}\\]|\\.|{mark}{mark})*" if escapes else rf"(?:[^{mark}]|{mark}{mark})*"
    match = re.compile(inside + mark + rf"(?!{mark})", re.DOTALL).match(text, position + 1)
    return -1 if match is None else match.end()


def _end_of_statement(found: Sequence[Piece]) -> list[Piece]:
    statement: list[Piece] = []
    rest: str | None = None
    for piece in found:
        if rest is not None:
            rest += "" if piece.kind == "comment" else piece.text
        elif piece.kind == "code" and ";" in piece.text:
            code, _, rest = piece.text.partition(";")
            statement.append(Piece("code", code))
        else:
            statement.append(piece)
    if (rest or "").strip("; \n\t\r"):
        raise UserErrorException(
            "the query is more than one statement; give one, without anything after the semicolon"
        )
    return statement or [Piece("code", "")]


def _refuse_hidden_code(found: Sequence[Piece], kind: str) -> None:
    if kind == "mysql" and any(piece.text.startswith(("/*!", "/*M!")) for piece in found):
        raise UserErrorException("the query has a comment that MySQL executes (/*! … */); leave it out")


def _refuse_writing(found: Sequence[Piece]) -> None:
    for piece in found:
        match = _WRITING_TSQL.search(piece.text) if piece.kind == "code" else None
        if match is not None:
            raise UserErrorException(
                f"the query says {match.group().upper()}; give one statement that only reads, "
                "and put a column of that name in brackets"
            )
