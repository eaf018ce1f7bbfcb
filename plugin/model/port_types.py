"""Inputs and outputs of a step as plain values, and as JSON.

A step that is being declared reads an :class:`OutputSource`, which knows the producer's object; in a stored definition
the same input reads an :class:`OutputReference`, which names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from airflow_azureml.model.identity import OutputIdentity
from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = [
    "DatasetSource",
    "InputPort",
    "InputSource",
    "OutputPort",
    "OutputReference",
    "OutputSource",
    "ParameterSource",
    "PathSource",
]


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """A dataset that exists before the run.

    :param definition: the definition document; None when only the run can find it.
    :param reference: ``{"dataset_name": n}`` or ``{"dataset_name": n, "version": v}`` of a registered one. With a version
        other than ``latest`` it is pinned, without it each run takes the newest.
    """

    definition: dict[str, Any] | None
    reference: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PathSource:
    """A path in a datastore."""

    datastore: str
    path: str


@dataclass(frozen=True, slots=True)
class ParameterSource:
    """What a DataPath or dataset parameter of that name says in each run."""

    parameter: str


@dataclass(frozen=True, slots=True)
class OutputSource:
    """What another step writes.

    :param origin: the output.
    :param read: how its files are read as a dataset (:mod:`airflow_azureml.model.reading`); None for a bare path.
    """

    origin: OutputIdentity
    read: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class OutputReference:
    """What another step writes, by the step's task id and the output's name."""

    step: str
    output: str
    read: dict[str, Any] | None = None


InputSource: TypeAlias = DatasetSource | PathSource | ParameterSource | OutputSource | OutputReference


@dataclass(frozen=True, slots=True)
class InputPort:
    """Something that a step reads.

    :param name: the input's name.
    :param mode: ``mount``, ``download`` or ``direct`` (the script gets a dataset's id).
    :param source: what is read.
    :param path_on_compute: where the script finds it, None for a place of the run's choosing.
    :param overwrite: whether files already there are replaced, None if not said.
    :param kind: ``data`` (a path under ``AZUREML_DATAREFERENCE_<name>``) or ``dataset`` (under its own name, and in
        ``run.input_datasets``).
    :param generated_name: whether nobody chose the name, so that no result may depend on it.
    """

    name: str
    mode: str
    source: InputSource
    path_on_compute: str | None = None
    overwrite: bool | None = None
    kind: str = "data"
    generated_name: bool = False

    @property
    def dataset_kind(self) -> str | None:
        """``file`` or ``tabular`` for a dataset whose kind is known here, else None."""
        source = self.source
        if isinstance(source, DatasetSource):
            return None if source.definition is None else str(source.definition["kind"])
        if isinstance(source, OutputSource | OutputReference) and source.read is not None:
            return str(source.read["kind"])
        return None

    def to_document(self) -> dict[str, Any]:
        """Return the input as JSON.

        :raises DefinitionError: it reads an output that has no address yet.
        """
        return {
            "name": self.name,
            "kind": self.kind,
            "mode": self.mode,
            "source": _source_document(self),
            "path_on_compute": self.path_on_compute,
            "overwrite": self.overwrite,
            "generated_name": self.generated_name,
        }

    @staticmethod
    def from_document(document: Mapping[str, Any]) -> InputPort:
        """Return the input that a document describes.

        :param document: as written by :meth:`to_document`.
        """
        return InputPort(
            name=document["name"],
            mode=document["mode"],
            source=_source_from(document["source"]),
            path_on_compute=document["path_on_compute"],
            overwrite=document["overwrite"],
            kind=document["kind"],
            generated_name=document["generated_name"],
        )


@dataclass(frozen=True, slots=True)
class OutputPort:
    """Something that a step writes.

    :param name: the output's name.
    :param kind: ``pipeline_data``, ``file_dataset``, or ``transfer`` for the destination of a transfer.
    :param datastore: where it is kept; None for the pipeline's default datastore.
    :param path: path template on the datastore, None for a folder of the run's own.
    :param mode: ``mount`` or ``upload``.
    :param path_on_compute: where the script writes a PipelineData in upload mode.
    :param source: where the script writes a file dataset, None for a place of the run's choosing.
    :param register: what to register when the step has succeeded (name, description, tags, create_new_version).
    :param source_globs: which files an upload takes, None for all.
    :param overwrite: whether an upload replaces existing files, None if not said.
    :param read: how its files are read as a dataset, None when it is no dataset.
    :param is_directory: what the user said about it, if anything.
    :param pipeline_output_name: name under which the pipeline run offers it.
    :param generated_name: whether nobody chose the name, so that no result may depend on it.
    :param origin: the output's identity while the pipeline is being declared; no part of the value.
    """

    name: str
    kind: str
    datastore: str | None = None
    path: str | None = None
    mode: str = "mount"
    path_on_compute: str | None = None
    source: str | None = None
    register: dict[str, Any] | None = None
    source_globs: tuple[str, ...] | None = None
    overwrite: bool | None = None
    read: dict[str, Any] | None = None
    is_directory: bool | None = None
    pipeline_output_name: str | None = None
    generated_name: bool = False
    origin: OutputIdentity = field(
        default_factory=lambda: OutputIdentity(None, "output"), compare=False, repr=False
    )

    def to_document(self) -> dict[str, Any]:
        """Return the output as JSON."""
        document = {name: getattr(self, name) for name in _OUTPUT_FIELDS}
        document["source_globs"] = None if self.source_globs is None else list(self.source_globs)
        return document

    @staticmethod
    def from_document(document: Mapping[str, Any]) -> OutputPort:
        """Return the output that a document describes, with an identity of its own.

        :param document: as written by :meth:`to_document`.
        """
        globs = document["source_globs"]
        values = {name: document[name] for name in _OUTPUT_FIELDS}
        values["source_globs"] = None if globs is None else tuple(globs)
        return replace(OutputPort(**values), origin=OutputIdentity(document["name"], "output"))


_OUTPUT_FIELDS = tuple(name for name in OutputPort.__dataclass_fields__ if name != "origin")


def _source_document(port: InputPort) -> dict[str, Any]:
    source = port.source
    if isinstance(source, DatasetSource):
        return {"dataset": source.definition, "reference": source.reference}
    if isinstance(source, PathSource):
        return {"datastore": source.datastore, "path": source.path}
    if isinstance(source, ParameterSource):
        return {"parameter": source.parameter}
    if isinstance(source, OutputReference):
        return {"step": source.step, "output": source.output, "read": source.read}
    raise DefinitionError(
        f"input {port.name!r} reads {source.origin.description}, which has no address outside this process; "
        "take the definition of the whole pipeline"
    )


def _source_from(document: Mapping[str, Any]) -> InputSource:
    if "dataset" in document:
        return DatasetSource(document["dataset"], document["reference"])
    if "datastore" in document:
        return PathSource(document["datastore"], document["path"])
    if "parameter" in document:
        return ParameterSource(document["parameter"])
    return OutputReference(document["step"], document["output"], document["read"])
