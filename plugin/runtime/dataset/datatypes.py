"""Column types that a user sets (v1: ``azureml.data.dataset_factory.DataType``)."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from airflow_azureml.runtime.exceptions import UserErrorException


class DataType:
    """The type of a column; made by the static methods, compared by value.

    A value that doesn't convert becomes missing, or an error with ``to_pandas_dataframe(on_error="fail")``.
    """

    __slots__ = ("_document",)

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = dict(document)

    @staticmethod
    def to_string() -> DataType:
        """Text, exactly as it stands in the file."""
        return DataType({"type": "string"})

    @staticmethod
    def to_long() -> DataType:
        """A 64-bit integer; ``1.0`` and ``1,000`` are no integers."""
        return DataType({"type": "long"})

    @staticmethod
    def to_float(decimal_mark: str = ".") -> DataType:
        """A floating point number.

        :param decimal_mark: ``"."`` or ``","``; the other one may separate groups of three digits.
        :raises UserErrorException: another mark.
        """
        if decimal_mark not in (".", ","):
            raise UserErrorException("decimal_mark is '.' or ',', not %r" % (decimal_mark,))
        return DataType({"type": "float", "decimal_mark": decimal_mark})

    @staticmethod
    def to_bool() -> DataType:
        """A truth value: ``true``/``false``, ``yes``/``no``, ``1``/``0``, in any case."""
        return DataType({"type": "bool"})

    @staticmethod
    def to_datetime(formats: str | Iterable[object] | None = None) -> DataType:
        """A point in time.

        :param formats: ``strptime`` formats, tried in this order; None recognises ISO 8601 and the usual
            month-day-year spellings. A spelling with an offset becomes UTC.
        :raises UserErrorException: a format is no text.
        """
        if formats is None:
            return DataType({"type": "datetime", "formats": None})
        listed = [formats] if isinstance(formats, str) else list(formats)
        if not listed or not all(isinstance(item, str) for item in listed):
            raise UserErrorException("formats is a strptime format or a list of them, not %r" % (formats,))
        return DataType({"type": "datetime", "formats": listed})

    @staticmethod
    def to_stream(workspace: object) -> DataType:
        """Streams as column values (v1) are not supported.

        :raises UserErrorException: always.
        """
        raise UserErrorException(
            "columns of streams are not supported; read the paths as text and open the files in the script"
        )

    def to_document(self) -> dict[str, Any]:
        """Return the type as it stands in a definition document."""
        return dict(self._document)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataType) and self._document == other._document

    def __hash__(self) -> int:
        return hash(repr(sorted(self._document.items())))

    def __repr__(self) -> str:
        options = ["%s=%r" % item for item in self._document.items() if item[0] != "type" and item[1]]
        return "DataType.to_%s(%s)" % (self._document["type"], ", ".join(options))


def column_types_document(types: object) -> dict[str, Any]:
    """Turn a ``set_column_types`` argument into its document.

    :param types: mapping of column name to :class:`DataType`, or None.
    :raises UserErrorException: anything else.
    """
    if types is None:
        return {}
    if not isinstance(types, Mapping):
        raise UserErrorException("set_column_types is a dict of column name to DataType, not %r" % (types,))
    for column, kind in types.items():
        if not isinstance(column, str) or not isinstance(kind, DataType):
            raise UserErrorException(
                "set_column_types[%r] is %r; give a DataType, such as DataType.to_long()" % (column, kind)
            )
    return {column: kind.to_document() for column, kind in types.items()}
