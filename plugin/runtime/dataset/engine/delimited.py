"""Reading delimited text: one frame per file, numbers recognised per file, text where files disagree."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from typing import Any, Iterator, Sequence

from airflow_azureml.runtime.dataset.engine import inference
from airflow_azureml.runtime.dataset.engine.arrow_text import TextFile, read_arrow
from airflow_azureml.runtime.dataset.engine.libraries import pandas
from airflow_azureml.runtime.dataset.engine.line_records import LineRecords
from airflow_azureml.runtime.dataset.resolve import ResolvedFile
from airflow_azureml.runtime.dataset.sources import ENCODINGS, PromoteHeadersBehavior
from airflow_azureml.runtime.exceptions import DatasetExecutionError

_LOG = logging.getLogger(__name__)


def read_delimited(source: dict[str, Any], files: Sequence[ResolvedFile], limit: int | None) -> list[Any]:
    """Read the files of a delimited source.

    :param source: the source document.
    :param files: the files, in order.
    :param limit: how many rows are wanted in all; a file that isn't needed any more gives its columns only.
    :return: a frame per file; columns with a set type, and all columns without inference, are text.
    :raises DatasetExecutionError: a file is no such text.
    """
    frames = _read_all(_Reader(source), files, limit)
    mixed = _mixed_columns(frames) if len(frames) > 1 else None
    # The number 007 of one file must not become the text "7" because another file has words in that column.
    return _read_all(_Reader(source, mixed), files, limit) if mixed else frames


def _read_all(reader: _Reader, files: Sequence[ResolvedFile], limit: int | None) -> list[Any]:
    frames = []
    for file in files:
        frame = reader.read(file, limit)
        frames.append(frame)
        limit = None if limit is None else max(0, limit - len(frame))
    return frames


class _Reader:
    def __init__(self, source: dict[str, Any], as_text: frozenset[str] = frozenset()) -> None:
        self._source = source
        self._mode = PromoteHeadersBehavior(source["header"])
        self._as_text = as_text | frozenset(source["column_types"])
        self._separator: str = source["separator"]
        single = len(self._separator) == 1
        self._options: dict[str, Any] = {
            "sep": self._separator if single else re.escape(self._separator),
            "engine": "c" if single else "python",
            "keep_default_na": False,
            "na_values": [""],
            "index_col": False,
            **({"low_memory": False} if single else {}),
        }
        self._first_names: list[str] | None = None
        self._may_be_plain = single and ENCODINGS[source["encoding"]] == "utf-8-sig"

    def read(self, file: ResolvedFile, rows: int | None) -> Any:
        with self._errors(file):
            first_row = self._first_row(file)
            if first_row is None:
                return pandas().DataFrame()
            names, has_header = self._names(file, first_row)
            if rows is None and self._may_be_plain:
                found = read_arrow(
                    TextFile(
                        file.path, names, has_header, self._separator, self._source["support_multi_line"]
                    ),
                    self._as_text.intersection(names),
                    self._source["infer_column_types"],
                )
                if found is not None:
                    return found
            dtype: Any = str
            if self._source["infer_column_types"]:
                dtype = {name: str for name in names if name in self._as_text}
            with self._open(file) as stream, _lost_data_is_an_error():
                return pandas().read_csv(
                    stream,
                    header=0 if has_header else None,
                    names=names,
                    dtype=dtype,
                    nrows=rows,
                    **self._options,
                )

    def _first_row(self, file: ResolvedFile) -> list[str] | None:
        options = {**self._options, "na_values": [], "na_filter": False}
        with self._open(file) as stream:
            try:
                row = pandas().read_csv(stream, header=None, dtype=str, nrows=1, **options)
            except pandas().errors.EmptyDataError:
                return None
        return [str(value) for value in row.iloc[0]]

    def _names(self, file: ResolvedFile, first_row: list[str]) -> tuple[list[str], bool]:
        """Return a file's column names, and whether its first row holds names."""
        if self._mode is PromoteHeadersBehavior.NO_HEADERS:
            return ["Column%d" % (index + 1) for index in range(len(first_row))], False
        if self._mode is PromoteHeadersBehavior.COMBINE_ALL_FILES_HEADERS:
            return _unique_names(first_row), True
        if self._first_names is None:
            self._first_names = _unique_names(first_row)
            return self._first_names, True
        if self._mode is PromoteHeadersBehavior.ONLY_FIRST_FILE_HAS_HEADERS:
            return self._first_names, False
        return self._same_names(file, _unique_names(first_row)), True

    def _same_names(self, file: ResolvedFile, names: list[str]) -> list[str]:
        expected = self._first_names or names
        if sorted(names) == sorted(expected):
            return names
        if len(names) != len(expected):
            raise DatasetExecutionError(
                "%s has %d columns and the first file has %d; if the files differ on purpose, use "
                "header=PromoteHeadersBehavior.COMBINE_ALL_FILES_HEADERS"
                % (file.origin, len(names), len(expected))
            )
        _LOG.warning("%s names its columns otherwise than the first file, whose names are used", file.origin)
        return expected

    @contextlib.contextmanager
    def _open(self, file: ResolvedFile) -> Iterator[Any]:
        with open(file.path, encoding=ENCODINGS[self._source["encoding"]], newline="") as stream:
            yield stream if self._source["support_multi_line"] else LineRecords(stream, self._separator)

    @contextlib.contextmanager
    def _errors(self, file: ResolvedFile) -> Iterator[None]:
        try:
            yield
        except UnicodeError as error:
            raise DatasetExecutionError(
                "%s is not encoded as %s (%s); give the right one of encoding=%s"
                % (file.origin, self._source["encoding"], error, ", ".join(ENCODINGS))
            ) from error
        except (pandas().errors.ParserError, pandas().errors.ParserWarning) as error:
            raise DatasetExecutionError(
                "%s cannot be read: %s" % (file.origin, str(error).strip())
            ) from error


@contextlib.contextmanager
def _lost_data_is_an_error() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas().errors.ParserWarning)
        yield


def _unique_names(row: list[str]) -> list[str]:
    """Return the column names of a header row: none empty, none twice."""
    names: list[str] = []
    taken = set(row)
    for index, text in enumerate(row):
        name, number = text or "Column%d" % (index + 1), 0
        base = name
        while name in names or ((number or not text) and name in taken):
            number += 1
            name = "%s_%d" % (base, number)
        names.append(name)
    return names


def _mixed_columns(frames: list[Any]) -> frozenset[str]:
    """Return the columns that hold numbers in one file and text or truth values in another."""
    kinds: dict[str, set[str]] = {}
    for frame in frames:
        for name in frame.columns:
            kind = _kind(frame[name])
            if kind:
                kinds.setdefault(name, set()).add(kind)
    return frozenset(name for name, found in kinds.items() if len(found) > 1)


def _kind(values: Any) -> str | None:
    if not values.notna().any():
        return None
    types = pandas().api.types
    if types.is_bool_dtype(values.dtype):
        return "bool"
    if not inference.is_text(values):
        return "number"
    return "bool" if types.infer_dtype(values, skipna=True) == "boolean" else "text"
