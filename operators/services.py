"""What steps work with on this machine, put together from Airflow's configuration."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from airflow_azureml import config
from airflow_azureml.compute.environments import EnvironmentCache
from airflow_azureml.compute.limits import Limits
from airflow_azureml.compute.request import ExecutionServices
from airflow_azureml.operators.sources import stat_cache
from airflow_azureml.workspace.data_cache import DataCache
from airflow_azureml.workspace.handle import WorkspaceHandle, open_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_azureml.operators.step import PipelineStep


def workspace_of(step: PipelineStep) -> WorkspaceHandle:
    """Return the workspace of a step: its pipeline's, or the configured one."""
    chosen = getattr(step.dag, "workspace", None)
    return open_workspace(chosen.url if chosen is not None else config.workspace_url())


def execution_services(step: PipelineStep) -> ExecutionServices:
    """Return what a step's execution works with."""
    workspace = workspace_of(step)
    mode = config.reuse()
    return ExecutionServices(
        workspace=workspace,
        environments=EnvironmentCache(config.environments_directory(), locks=workspace.store),
        hashes=stat_cache(),
        data=data_cache(config.cache_directory()),
        mount=config.mount(),
        scratch=config.scratch_directory(),
        cache=config.cache_directory(),
        limits=Limits(memory_bytes=config.memory_limit_bytes(), cpus=config.cpu_limit()),
        grace_s=config.grace_s(),
        inherit_variables=config.inherit_variables(),
        read_results=mode is not config.ReuseMode.OFF,
        keep_results=mode is config.ReuseMode.ON,
        deployment=config.deployment(),
        accept_from=config.accept_from(),
        clear_reuses=config.clear_reuses(),
        lease_s=config.lease_s(),
        salt=config.salt(),
        redact=redacted,
    )


@cache
def data_cache(directory: Path) -> DataCache:
    """Return the files of remote datastores that all steps of this machine share."""
    return DataCache(directory / "data", config.data_cache_limit_bytes())


def redacted(text: str) -> str:
    """Return a text with asterisks for the secrets that Airflow knows: of connections, and of variables with such names."""
    # Airflow's own masker; it has no public name in the task SDK yet.
    from airflow.sdk._shared.secrets_masker import redact

    return str(redact(text))
