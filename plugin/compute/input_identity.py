"""What the data of an input is known by, and how well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_azureml.compute.outputs import StoredOutput, content_digest
from airflow_azureml.model.canonical import digest_of
from airflow_azureml.model.port_types import InputPort
from airflow_azureml.reuse.action import IdentityClass, InputIdentity
from airflow_azureml.workspace.manifest import FileDigest, TreeManifest


def identity_of(
    port: InputPort,
    digest: str,
    files: Mapping[str, str],
    producer: str | None = None,
    consumed: tuple[str, ...] = (),
    known: IdentityClass = IdentityClass.CONTENT,
) -> InputIdentity:
    """Return what an input holds.

    :param digest: what its data is known by.
    :param files: what each file is known by, for explanations.
    :param producer: the step that wrote it.
    :param consumed: what stored outputs with these bytes are known by.
    :param known: how well the data is known.
    """
    return InputIdentity(
        name=port.name,
        mode=port.mode,
        identity_class=known,
        identity=digest,
        kind=port.kind,
        path_on_compute=port.path_on_compute,
        files=files,
        producer=producer,
        consumed=consumed,
    )


def as_output(manifest: TreeManifest) -> tuple[str, ...]:
    """Return what outputs with this content are known by: whoever wrote them, in this pipeline or another one."""
    found = (content_digest("directory", manifest),)
    if len(manifest.files) != 1:
        return found
    return (*found, content_digest("file", TreeManifest([manifest.files[0]._replace(path="")])))


def without_places(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dataset definition without where its files lie: their names and bytes are known by content."""
    places = (
        {"paths", "datastore", "query", "query_timeout_s"} if "query" in definition["source"] else {"paths"}
    )
    source = {key: value for key, value in definition["source"].items() if key not in places}
    if "tabular" in source:
        # Files that are made of a table: the table has places of its own.
        source["tabular"] = without_places(source["tabular"])
    return {**definition, "source": source}


def reads_paths(source: Mapping[str, Any]) -> bool:
    """Whether a dataset makes columns out of the paths of its files, so that they are part of its data."""
    return bool(source.get("partition_format") or source.get("include_path"))


def digest_table(files: Iterable[FileDigest]) -> dict[str, str]:
    """Return path to digest."""
    return {item.path: item.sha256 for item in files}


def named_files(manifest: TreeManifest, output: StoredOutput, prefix: str) -> dict[str, str]:
    """Return ``name -> sha256`` as people know the files: below the output; the output's own name for a file."""
    span = output.span
    names = {
        item.path: (span.below(item.path) or item.path) if span.is_own(item.path) else item.path
        for item in manifest.files
    }
    return {prefix + names[item.path]: item.sha256 for item in manifest.files}


def known_by_version(
    name: str, size_bytes: int, version: str, *place: str, kind: IdentityClass = IdentityClass.ETAG
) -> FileDigest:
    """Return what stands for the content of a file that nobody has read: its version at its place."""
    return FileDigest(name, f"{kind.value}:{digest_of([*place, version])}", size_bytes, executable=False)


def class_of(manifest: TreeManifest) -> IdentityClass:
    """Return how well files are known: as well as the one that is known least."""
    found = {item.sha256.partition(":")[0] for item in manifest.files if ":" in item.sha256}
    weakest_first = (IdentityClass.STAT, IdentityClass.ETAG)
    return next((known for known in weakest_first if known.value in found), IdentityClass.CONTENT)
