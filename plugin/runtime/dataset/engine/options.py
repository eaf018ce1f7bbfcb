"""What a caller of ``to_pandas_dataframe`` decides about values that don't fit."""

from __future__ import annotations

from typing import Any, NamedTuple

from airflow_azureml.runtime.exceptions import DatasetExecutionError, UserErrorException


class EvaluationOptions(NamedTuple):
    """v1's ``on_error`` and ``out_of_range_datetime``; see :meth:`of`."""

    fail_on_error: bool = False
    fail_on_range: bool = False

    @staticmethod
    def of(on_error: object, out_of_range_datetime: object) -> EvaluationOptions:
        """Read the two arguments.

        :raises UserErrorException: one is neither ``"null"`` nor ``"fail"``.
        """
        for name, value in (("on_error", on_error), ("out_of_range_datetime", out_of_range_datetime)):
            if value not in ("null", "fail"):
                raise UserErrorException("%s is 'null' or 'fail', not %r" % (name, value))
        return EvaluationOptions(on_error == "fail", out_of_range_datetime == "fail")

    def check(self, column: str, kind: str, values: Any, bad: Any) -> None:
        """Raise for values that don't convert, when the caller wants that.

        :param values: the column as read.
        :param bad: boolean array or Series, true where a value is there and doesn't convert.
        :raises DatasetExecutionError: some are bad, and the caller asked to fail.
        """
        if self.fail_on_error and bad.any():
            self._fail(column, values, bad, "is no %s" % kind, "on_error='null' makes such values missing")

    def check_range(self, column: str, values: Any, beyond: Any) -> None:
        """Raise for times that pandas cannot hold, when the caller wants that; see :meth:`check`.

        :raises DatasetExecutionError: some are out of range, and the caller asked to fail.
        """
        if self.fail_on_range and beyond.any():
            advice = "out_of_range_datetime='null' makes such values missing"
            self._fail(column, values, beyond, "is out of range for a datetime", advice)

    @staticmethod
    def _fail(column: str, values: Any, bad: Any, what: str, advice: str) -> None:
        first = values[bad].iloc[0]
        raise DatasetExecutionError(
            "column %r: %r %s (%d such values); %s" % (column, first, what, int(bad.sum()), advice)
        )
