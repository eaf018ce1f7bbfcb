"""The metrics of a run: ``log`` and its family, and ``get_metrics``."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO, Iterator

from airflow_azureml.runtime import metrics
from airflow_azureml.runtime.exceptions import AzureMLException, UserErrorException
from airflow_azureml.runtime.run_base import RunBase

_BATCH = 10_000
"""Values per call, so that a long list passes through a bounded buffer."""


class RunMetrics(RunBase):
    """Logging and reading metrics, with v1's names and rules (``azureml.core.Run``)."""

    def log(self, name: str, value: Any, description: str | None = "", step: int | None = None) -> None:
        """Log one value; logging a name again adds to it.

        :param name: name of the metric, at most 255 characters.
        :param value: number, text or bool; anything else is kept as its ``repr``.
        :param description: accepted as in v1, not kept.
        :param step: position on the metric's axis; give it for all values of a name or for none.
        :raises UserErrorException: a list, range or generator (``log_list`` is for those), or a broken limit.
        """
        name = metrics.check_name(name)
        self._log("scalar", name, metrics.single(name, value), metrics.step_number(name, step))

    def log_list(self, name: str, value: Any, description: str | None = "") -> None:
        """Log several values at once; a list logged again under the name is joined to it.

        :raises UserErrorException: ``value`` is no list of values.
        """
        name = metrics.check_name(name)
        values = metrics.many(name, value)
        for start in range(0, max(len(values), 1), _BATCH):
            self._log("list", name, values[start : start + _BATCH])

    def log_row(self, name: str, description: str | None = None, **kwargs: Any) -> None:
        """Add one row to a table, a keyword per column.

        :raises AzureMLException: a column holds a list (``log_table`` is for those).
        """
        name = metrics.check_name(name)
        self._log("row", name, metrics.row(name, kwargs))

    def log_table(self, name: str, value: dict[str, Any], description: str | None = "") -> None:
        """Add rows to a table.

        :param value: column name → list of values.
        :raises AzureMLException: columns of unequal length.
        """
        name = metrics.check_name(name)
        for part in _batches(metrics.table(name, value)):
            self._log("table", name, part)

    def log_image(
        self, name: str, path: str | None = None, plot: Any = None, description: str | None = ""
    ) -> None:
        """Log an image; it becomes a file of the run, and the metric's value is that file's name.

        :param path: an image file; or
        :param plot: ``matplotlib.pyplot``, a figure, or whatever has ``savefig``.
        :raises AzureMLException: both or none of ``path`` and ``plot``.
        :raises UserErrorException: no such file, or a plot that cannot be saved.
        """
        name = metrics.check_name(name)
        if (path is None) == (plot is None):
            raise AzureMLException(f"metric {name!r}: log_image takes either path or plot, not both or none")
        if path is None:
            self._call("log_image", _drawn(name, plot), name=name, suffix=".png")
            return
        if not os.path.isfile(path):
            raise UserErrorException(f"metric {name!r}: no image file {path!r}")
        with open(path, "rb") as file:
            self._call("log_image", file, name=name, suffix=os.path.splitext(path)[1])

    def log_confusion_matrix(self, name: str, value: Any, description: str | None = "") -> None:
        """Log a confusion matrix: dict or JSON text with ``schema_type``, ``schema_version`` and ``data``.

        :raises UserErrorException: anything else.
        """
        self._log_chart("confusion_matrix", name, value)

    def log_accuracy_table(self, name: str, value: Any, description: str | None = "") -> None:
        """Log an accuracy table; see :meth:`log_confusion_matrix`."""
        self._log_chart("accuracy_table", name, value)

    def log_residuals(self, name: str, value: Any, description: str | None = "") -> None:
        """Log residuals; see :meth:`log_confusion_matrix`."""
        self._log_chart("residuals", name, value)

    def log_predictions(self, name: str, value: Any, description: str | None = "") -> None:
        """Log predictions; see :meth:`log_confusion_matrix`."""
        self._log_chart("predictions", name, value)

    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,
        run_type: str | None = None,
        populate: bool = False,
    ) -> dict[str, Any]:
        """Return the metrics logged so far, folded by name.

        One scalar is a value, several are a list; a table of one row is a dict of values, of more rows a dict of
        lists. Of the parent run a step sees what committed steps and it itself logged there.

        :param name: only this metric.
        :param recursive: also of all runs below; then the answer is keyed by run id.
        :param run_type: with ``recursive``, only of runs of this type.
        :param populate: accepted as in v1; images and charts come with their value either way.
        """
        if not recursive:
            return _folded(self._call("get_metrics"), name)
        per_run = self._call("get_metrics", recursive=True, type=run_type)
        return {run_id: _folded(records, name) for run_id, records in per_run.items()}

    def _log_chart(self, kind: str, name: str, value: Any) -> None:
        name = metrics.check_name(name)
        self._log(kind, name, metrics.chart(name, kind, value))

    def _log(self, kind: str, name: str, value: Any, step: int | None = None) -> None:
        self._call("log", name=name, kind=kind, value=value, step=step)


def _folded(records: list[dict[str, Any]], name: str | None) -> dict[str, Any]:
    return metrics.fold(record for record in records if name is None or record["name"] == name)


def _batches(columns: dict[str, list[Any]]) -> Iterator[dict[str, list[Any]]]:
    rows = max((len(values) for values in columns.values()), default=0)
    for start in range(0, max(rows, 1), _BATCH):
        yield {column: values[start : start + _BATCH] for column, values in columns.items()}


def _drawn(name: str, plot: Any) -> BinaryIO:
    save = getattr(plot, "savefig", None)
    if not callable(save):
        raise UserErrorException(
            f"metric {name!r}: plot must have savefig, as matplotlib.pyplot and its figures do; "
            f"found a {type(plot).__name__}"
        )
    image = io.BytesIO()
    save(image, format="png")
    image.seek(0)
    return image
