"""Delimited text read by Arrow, several times as fast as by pandas: where that gives the same, and not elsewhere.

Arrow guesses types from the first block of a file and has other ideas of what is a number or a time. So what it isn't certain to
read as :mod:`.delimited` would is left to pandas: :func:`read_arrow` returns None.
"""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple, Sequence

from airflow_azureml.runtime.dataset.engine.libraries import pandas
from airflow_azureml.runtime.dataset.engine.times import EARLIEST, LATEST

_BLOCK_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
_SINCE = 18
"""Older ones turn times that they cannot hold into other ones."""

_EXACT = 2**53
"""From here on not every whole number is a double."""

_BLANK = (b" ", b"\t", b"\n", b"\r")


class TextFile(NamedTuple):
    """A file of delimited text.

    :param path: where it is; UTF-8.
    :param names: its column names.
    :param has_header: whether its first line holds names.
    :param separator: one character.
    :param multi_line: whether quoted fields may hold line breaks.
    """

    path: str
    names: Sequence[str]
    has_header: bool
    separator: str
    multi_line: bool


def read_arrow(file: TextFile, as_text: Iterable[str], infer: bool) -> Any | None:
    """Return the rows of a file as pandas would read them; None to let pandas read them.

    :param as_text: columns that stay text.
    :param infer: whether the other ones get types.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
    except ImportError:
        return None
    if int(pyarrow.__version__.split(".")[0]) < _SINCE or not _is_plain(file):
        return None
    text = set(as_text) if infer else set(file.names)
    try:
        table = _read(pyarrow, file, text, file.names)
        odd = [name for name in file.names if _is_text(pyarrow, table.column(name))]
        again = _read(pyarrow, file, set(odd), odd) if odd else table
        for name in odd:
            table = table.set_column(file.names.index(name), name, again.column(name))
        if not len(table) or any(_is_unsure(pyarrow, column) for column in table.columns):
            return None
    except (pyarrow.ArrowInvalid, pyarrow.ArrowKeyError):
        return None
    return _frame(pyarrow, table)


def _is_plain(file: TextFile) -> bool:
    """Tell whether both take the file apart in the same way.

    Hexadecimal is a number to Arrow and text to everybody else; a lone carriage return ends lines for one and not for the other;
    a line of spaces is a row of one column to Arrow alone.
    """
    if len(file.names) == 1 or len(set(file.names)) != len(file.names):
        return False
    if any("\n" in name or "\r" in name for name in file.names):
        return False
    quotes = False
    last = b"\n"
    with open(file.path, "rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
            # What is before the header would be taken for it.
            is_first = stream.tell() == len(chunk)
            if (is_first and chunk[:1] in _BLANK) or _is_odd(chunk) or (last == b"0" and chunk[:1] in b"xX"):
                return False
            quotes = quotes or b'"' in chunk
            last = chunk[-1:]
        if not quotes:
            return stream.tell() > 0
        if file.multi_line:
            return False
        stream.seek(0)
        # A field that is still open at the end of its line is closed there, which Arrow doesn't.
        return all(line.count(b'"') % 2 == 0 for line in stream)


def _is_odd(chunk: bytes) -> bool:
    # Single bytes are found several times as fast as pairs, and most data has none of these.
    if (b"x" in chunk and b"0x" in chunk) or (b"X" in chunk and b"0X" in chunk):
        return True
    return b"\r" in chunk and chunk.count(b"\r") > chunk.count(b"\r\n") + chunk.endswith(b"\r")


def _read(pyarrow: Any, file: TextFile, text: set[str], columns: Sequence[str]) -> Any:
    csv = pyarrow.csv
    return csv.read_csv(
        file.path,
        read_options=csv.ReadOptions(
            column_names=list(file.names), skip_rows=int(file.has_header), block_size=_BLOCK_BYTES
        ),
        parse_options=csv.ParseOptions(delimiter=file.separator, newlines_in_values=file.multi_line),
        convert_options=csv.ConvertOptions(
            column_types={name: pyarrow.string() for name in text},
            include_columns=list(columns),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            true_values=["true", "True", "TRUE"],
            false_values=["false", "False", "FALSE"],
        ),
    )


def _is_text(pyarrow: Any, column: Any) -> bool:
    """Tell whether Arrow took for a time what is none for us, or one that it doesn't keep."""
    types, compute = pyarrow.types, pyarrow.compute
    kind = column.type
    if not types.is_temporal(kind):
        return False
    if not (types.is_date(kind) or (types.is_timestamp(kind) and kind.tz is None)):
        return True
    extremes = compute.min_max(column.cast(pyarrow.timestamp("s"), safe=False))
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    return low is None or low <= EARLIEST or high >= LATEST


def _is_unsure(pyarrow: Any, column: Any) -> bool:
    types, compute = pyarrow.types, pyarrow.compute
    if types.is_binary(column.type):
        # Not UTF-8: who reads it again says so.
        return True
    if not types.is_floating(column.type):
        return False
    if not compute.all(compute.is_finite(column)).as_py():
        return True
    extremes = compute.min_max(column)
    largest = max(abs(extremes["min"].as_py() or 0.0), abs(extremes["max"].as_py() or 0.0))
    # Maybe whole numbers too large for 64 bits, of which digits would be lost.
    return bool(largest >= _EXACT)


def _frame(pyarrow: Any, table: Any) -> Any:
    types = pyarrow.types
    for index, field in enumerate(table.schema):
        if types.is_null(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(pyarrow.float64()))
        elif types.is_date(field.type) or types.is_timestamp(field.type):
            times = table.column(index).cast(
                pyarrow.timestamp("s" if types.is_date(field.type) else field.type.unit)
            )
            table = table.set_column(index, field.name, times.cast(pyarrow.timestamp("ns")))
    frame = table.to_pandas(ignore_metadata=True)
    missing = {
        name: frame[name].where(frame[name].notna(), float("nan"))
        for name in frame.columns
        if pandas().api.types.is_object_dtype(frame[name].dtype) and frame[name].isna().any()
    }
    return frame.assign(**missing) if missing else frame
