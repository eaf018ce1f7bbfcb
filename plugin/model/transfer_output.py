"""What a transfer leaves at its destination, as later steps read it."""

from __future__ import annotations

from airflow_azureml.model.data import PipelineData

__all__ = ["TRANSFER_OUTPUT", "TransferOutput"]

TRANSFER_OUTPUT = "_data_transfer_output"
"""Name of a transfer's output (v1: the same)."""


class TransferOutput(PipelineData):
    """The destination of a ``DataTransferStep``: a place that somebody chose, unlike that of other ``PipelineData``.

    :param datastore: name of the destination's datastore.
    :param path: path on it; None for a table, which has no path.

    v1 source: ``azureml.pipeline.steps.DataTransferStep.get_output``.
    """

    def __init__(self, datastore: str, path: str | None) -> None:
        super().__init__(TRANSFER_OUTPUT, datastore)
        self.path_on_datastore = path
