"""The ``source`` part of a definition document: format, paths and reading options, checked when they are given.

Option names and values are v1's. Paths are entries of ``locations``; everything here is pure, nothing is read.
"""

from __future__ import annotations

import enum
from typing import Any

from airflow_azureml.runtime.dataset.datatypes import column_types_document
from airflow_azureml.runtime.dataset.partitions import PartitionFormat
from airflow_azureml.runtime.exceptions import UserErrorException

PATH_COLUMN = "Path"
"""Name of the column that ``include_path`` adds."""

ENCODINGS = {
    "utf8": "utf-8-sig",  # the signature is skipped when there is one
    "utf8bom": "utf-8-sig",
    "iso88591": "iso-8859-1",
    "latin1": "iso-8859-1",
    "ascii": "ascii",
    "utf16": "utf-16",
    "utf32": "utf-32",
    "windows1252": "cp1252",
}
"""v1's encoding names and Python's."""


class PromoteHeadersBehavior(enum.Enum):
    """Where the column names of delimited files come from (v1: ``azureml.data.dataset_type_definitions``)."""

    NO_HEADERS = "no_headers"
    """Files hold data only; columns are called ``Column1``, ``Column2``, …"""

    ONLY_FIRST_FILE_HAS_HEADERS = "only_first_file"
    """The first row of the first file, in path order, names the columns of all."""

    COMBINE_ALL_FILES_HEADERS = "combine_all_files"
    """Each file names its own columns; the result has them all, missing values where a file has none."""

    ALL_FILES_HAVE_SAME_HEADERS = "all_files_same"
    """Each file begins with the same column names."""


def delimited_source(
    paths: list[dict[str, Any]],
    *,
    include_path: bool = False,
    infer_column_types: bool = True,
    set_column_types: object = None,
    separator: object = ",",
    header: object = True,
    partition_format: str | None = None,
    support_multi_line: bool = False,
    empty_as_string: bool = False,
    encoding: str = "utf8",
) -> dict[str, Any]:
    """Describe delimited text files.

    :param paths: entries of ``locations``.
    :raises UserErrorException: an option is not one of v1's.
    """
    if not isinstance(separator, str) or separator in ("", '"', "\n", "\r"):
        raise UserErrorException("separator is a text such as ',' or a tabulator, not %r" % (separator,))
    return {
        "format": "delimited",
        "paths": paths,
        "separator": separator,
        "header": header_mode(header).value,
        "encoding": encoding_name(encoding),
        "infer_column_types": _flag("infer_column_types", infer_column_types),
        "support_multi_line": _flag("support_multi_line", support_multi_line),
        "empty_as_string": _flag("empty_as_string", empty_as_string),
        **_common(include_path, partition_format, set_column_types),
    }


def parquet_source(
    paths: list[dict[str, Any]],
    *,
    include_path: bool = False,
    set_column_types: object = None,
    partition_format: str | None = None,
) -> dict[str, Any]:
    """Describe Parquet files.

    :param paths: entries of ``locations``.
    :raises UserErrorException: an option is not one of v1's.
    """
    return {
        "format": "parquet",
        "paths": paths,
        **_common(include_path, partition_format, set_column_types),
    }


def json_lines_source(
    paths: list[dict[str, Any]],
    *,
    include_path: bool = False,
    set_column_types: object = None,
    partition_format: str | None = None,
    invalid_lines: str = "error",
    encoding: str = "utf8",
) -> dict[str, Any]:
    """Describe files with one JSON object per line.

    :param paths: entries of ``locations``.
    :raises UserErrorException: an option is not one of v1's.
    """
    if invalid_lines not in ("error", "drop"):
        raise UserErrorException("invalid_lines is 'error' or 'drop', not %r" % (invalid_lines,))
    return {
        "format": "jsonlines",
        "paths": paths,
        "invalid_lines": invalid_lines,
        "encoding": encoding_name(encoding),
        **_common(include_path, partition_format, set_column_types),
    }


def sql_source(
    datastore: str, query: object, *, set_column_types: object = None, query_timeout: object = 30
) -> dict[str, Any]:
    """Describe the rows of a query.

    :param datastore: name of the datastore, a database.
    :param query: one statement.
    :param query_timeout: seconds after which it is given up; 0 for never.
    :raises UserErrorException: no statement, or no such time.
    """
    if not isinstance(query, str) or not query.strip() or "\0" in query:
        raise UserErrorException("query is the text of a SQL statement, not %r" % (query,))
    if isinstance(query_timeout, bool) or not isinstance(query_timeout, int) or query_timeout < 0:
        raise UserErrorException(
            "query_timeout is a number of seconds, 0 for none, not %r" % (query_timeout,)
        )
    return {
        "format": "sql",
        "datastore": datastore,
        "query": query,
        "query_timeout_s": query_timeout,
        **_common(False, None, set_column_types),
    }


def files_source(paths: list[dict[str, Any]], partition_format: str | None = None) -> dict[str, Any]:
    """Describe files as files.

    :param paths: entries of ``locations``.
    :raises UserErrorException: the partition format is malformed.
    """
    return {"format": "files", "paths": paths, "partition_format": _partition_format(partition_format)}


def converted_source(tabular: dict[str, Any], target: str, separator: object = ",") -> dict[str, Any]:
    """Describe the file that a tabular dataset becomes when it is written out.

    :param tabular: the tabular dataset's definition.
    :param target: ``"csv"`` or ``"parquet"``.
    :raises UserErrorException: the separator is not one character.
    """
    if not isinstance(separator, str) or len(separator) != 1:
        raise UserErrorException("separator is one character, not %r" % (separator,))
    source = {"format": "converted", "target": target, "tabular": tabular}
    return {**source, "separator": separator} if target == "csv" else source


def header_mode(header: object) -> PromoteHeadersBehavior:
    """Return the header mode for v1's ``header`` argument: a bool or a :class:`PromoteHeadersBehavior`.

    :raises UserErrorException: anything else.
    """
    if header is True:
        return PromoteHeadersBehavior.ALL_FILES_HAVE_SAME_HEADERS
    if header is False:
        return PromoteHeadersBehavior.NO_HEADERS
    if isinstance(header, PromoteHeadersBehavior):
        return header
    raise UserErrorException(
        "header is True, False or a PromoteHeadersBehavior such as "
        "PromoteHeadersBehavior.COMBINE_ALL_FILES_HEADERS, not %r" % (header,)
    )


def encoding_name(encoding: object) -> str:
    """Return v1's name of an encoding; ``utf-8`` and ``UTF8`` are the same.

    :raises UserErrorException: v1 doesn't know it.
    """
    plain = str(encoding).lower().replace("-", "").replace("_", "")
    if plain not in ENCODINGS:
        raise UserErrorException("encoding is one of %s, not %r" % (", ".join(ENCODINGS), encoding))
    return plain


def _common(include_path: object, partition_format: object, set_column_types: object) -> dict[str, Any]:
    return {
        "include_path": _flag("include_path", include_path),
        "partition_format": _partition_format(partition_format),
        "column_types": column_types_document(set_column_types),
    }


def _partition_format(partition_format: object) -> str | None:
    if partition_format is None:
        return None
    if not isinstance(partition_format, str):
        raise UserErrorException("partition_format is text, not %r" % (partition_format,))
    return PartitionFormat.parse(partition_format).text


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UserErrorException("%s is True or False, not %r" % (name, value))
    return value
