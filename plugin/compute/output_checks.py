"""Looking at stored outputs before they are relied on, as closely as somebody asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_azureml.compute.outputs import StoredOutput, listing_of, load_manifest, stored_files
from airflow_azureml.compute.remote_outputs import ALTERED, GONE, missing, resized
from airflow_azureml.compute.stored_tables import TABLE_TYPES, table_problem
from airflow_azureml.reuse.policy import VerifyLevel
from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.stat_cache import StatCache

UNKNOWN = "cannot be "
"""What the problem of an output begins with that nobody could look at; its bytes may be as they were."""


def check_output(
    workspace: WorkspaceHandle, document: Mapping[str, Any], level: VerifyLevel, hashes: StatCache
) -> str | None:
    """Look at a stored output.

    :param document: the output's document, as records and entries carry it.
    :param level: how closely: ``none`` doesn't look; ``exists`` asks whether it is there; ``size`` compares names and sizes of
        its files; ``digest`` compares their content.
    :param hashes: knows the content of unchanged files, so that ``digest`` costs one stat a file. A cache without a folder knows
        nothing: then every byte is read.
    :return: what is wrong, as the end of a sentence ("is gone", "is not what was written", "cannot be read (…)"), or ``None``.
    """
    if level is VerifyLevel.NONE:
        return None
    try:
        output = StoredOutput.from_document(document)
        if output.type in TABLE_TYPES:
            return table_problem(workspace, output)
        if level is VerifyLevel.EXISTS:
            return _missing(workspace, output)
        if level is VerifyLevel.SIZE:
            return _missing(workspace, output) or _resized(workspace, output, hashes)
        return stored_files(workspace, output, hashes).problem
    except (OSError, AzureMLException) as error:
        return f"{UNKNOWN}read ({error})"


def check_afresh(workspace: WorkspaceHandle, document: Mapping[str, Any]) -> str | None:
    """Look at a stored output by reading all of it, whatever is remembered of its files."""
    try:
        output = StoredOutput.from_document(document)
        if output.type in TABLE_TYPES:
            return table_problem(workspace, output)
        return stored_files(workspace, output, StatCache(None), afresh=True).problem
    except (OSError, AzureMLException) as error:
        return f"{UNKNOWN}read ({error})"


def _missing(workspace: WorkspaceHandle, output: StoredOutput) -> str | None:
    """Tell whether the output's own file or folder is there; what lies beside it shows at ``digest`` only."""
    if not workspace.datastores.is_local(output.datastore):
        return missing(workspace.datastores.files(output.datastore), output)
    place = _place(workspace, output)
    if output.type == "absent":
        return None
    if not place.exists():
        # A destination that is a folder of others' may stand without ours; a datastore's own folder always stands.
        return GONE
    return None if place.is_file() == (output.type == "file") else ALTERED


def _resized(workspace: WorkspaceHandle, output: StoredOutput, hashes: StatCache) -> str | None:
    """Compare names and sizes with the list of files that was kept when the output was written."""
    if not workspace.datastores.is_local(output.datastore):
        store = workspace.datastores.files(output.datastore)
        return resized(store, output, listing_of(workspace, output), hashes)
    try:
        written = load_manifest(workspace, output.digest)
    except AzureMLException:
        # Without the list only the content can tell.
        return stored_files(workspace, output, hashes).problem
    place = _place(workspace, output)
    expected = {item.path: item.size_bytes for item in written.files}
    if output.type == "absent":
        return ALTERED if output.exclusive and place.exists() else None
    found = dict(_sizes(place))
    if not output.exclusive:
        # Others write into the folder as well; only what is ours counts.
        found = {path: size for path, size in found.items() if path in expected}
    if expected and not found:
        return GONE
    return None if found == expected else ALTERED


def _place(workspace: WorkspaceHandle, output: StoredOutput) -> Path:
    return workspace.datastores.root(output.datastore) / output.path


def _sizes(place: Path) -> Iterator[tuple[str, int]]:
    """Walk name and size of an output's files; the name of an output that is a file is empty."""
    if place.is_file():
        yield "", place.stat().st_size
        return
    for folder, _, names in os.walk(place):
        for name in names:
            path = Path(folder, name)
            yield path.relative_to(place).as_posix(), path.stat().st_size
