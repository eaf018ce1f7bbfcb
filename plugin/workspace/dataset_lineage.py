"""Which steps wrote and read the versions of a dataset, out of the records of their runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_azureml.workspace.datasets import DatasetRecord
    from airflow_azureml.workspace.runs import RunRecords

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Use:
    """A step run that wrote or read a version.

    :param version: the version.
    :param action: ``wrote`` or ``read``.
    :param port: name of the input; of an output that was registered; None for a registration by the script.
    :param step_run_id: id of the step run.
    :param pipeline_run_id: id of its pipeline run.
    :param dag_id: its pipeline.
    :param run_id: Airflow's id of the run.
    :param step_name: the step.
    :param status: how the step run ended.
    :param start: when it started, ISO 8601, UTC.
    :param reused_from: the step run whose result it took instead of running.
    """

    version: int
    action: str
    port: str | None
    step_run_id: str
    pipeline_run_id: str
    dag_id: str | None
    run_id: str | None
    step_name: str
    status: str
    start: str
    reused_from: str | None


def uses_of(runs: RunRecords, versions: Mapping[int, DatasetRecord], name: str) -> list[Use]:
    """Return who wrote and read versions of a dataset, the earliest first; looks through the records of all runs.

    A step that read the same definition without naming the dataset has read it, too.

    :param versions: the versions that are asked for, by number.
    :param name: the dataset's name.
    """
    by_id = {record.id: number for number, record in sorted(versions.items(), reverse=True)}
    found = []
    for record in runs.walk():
        if record.get("kind") != "step":
            continue
        for version, action, port in (*_written(record, name), *_read(record, name, by_id)):
            if version in versions:
                found.append(_use(record, version, action, port))
    return sorted(found, key=lambda use: (use.start, use.step_run_id, use.action))


def _written(record: Document, name: str) -> Iterator[tuple[int, str, str | None]]:
    for item in record.get("registrations", ()):
        if item.get("kind") == "dataset" and item.get("name") == name:
            yield item["version"], "wrote", item.get("output")


def _read(record: Document, name: str, by_id: Mapping[str, int]) -> Iterator[tuple[int, str, str | None]]:
    inputs = record.get("inputs") or {}
    for port, item in inputs.items() if isinstance(inputs, Mapping) else ():
        if not isinstance(item, Mapping):
            continue
        if item.get("dataset_name") == name and isinstance(item.get("version"), int):
            yield item["version"], "read", port
        elif item.get("dataset_name") is None and item.get("id") in by_id:
            yield by_id[item["id"]], "read", port


def _use(record: Document, version: int, action: str, port: str | None) -> Use:
    return Use(
        version=version,
        action=action,
        port=port,
        step_run_id=record["id"],
        pipeline_run_id=record["pipeline_run_id"],
        dag_id=record.get("dag_id"),
        run_id=record.get("run_id"),
        step_name=record["name"],
        status=record["status"],
        start=record["start"],
        reused_from=record.get("reused_from"),
    )
