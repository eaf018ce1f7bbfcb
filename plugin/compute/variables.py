"""The environment variables a script finds: v1's names, so that v1's scripts and helpers read them unchanged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_azureml.compute.identity import StepIdentity
from airflow_azureml.runtime.run_inputs import INPUTS_VARIABLE, OUTPUTS_VARIABLE


@dataclass(frozen=True, slots=True)
class PortValue:
    """A port and what the script is given for it.

    :param name: port name.
    :param value: local path, or dataset id in direct mode.
    :param mode: consumption mode; ``mount`` for outputs.
    :param is_dataset: named datasets and dataset outputs have variables of their own name, other ports v1's
        ``AZUREML_DATAREFERENCE_`` ones.
    """

    name: str
    value: str
    mode: str
    is_dataset: bool


def run_variables(identity: StepIdentity, workspace: str) -> dict[str, str]:
    """Return the variables that tell a script who it is (v1 ``AZUREML_RUN_ID`` and its kin).

    There is no subscription and no resource group here; their variables name the Airflow deployment, so that code which only
    prints or joins them goes on working.
    """
    return {
        "AZUREML_RUN_ID": identity.step_run_id,
        "AZUREML_ROOT_RUN_ID": identity.pipeline_run_id,
        "AZUREML_EXPERIMENT_ID": identity.experiment,
        "AZUREML_ARM_PROJECT_NAME": identity.experiment,
        "AZUREML_WORKSPACE_ID": workspace,
        "AZUREML_ARM_WORKSPACE_NAME": workspace,
        "AZUREML_ARM_SUBSCRIPTION": "airflow",
        "AZUREML_ARM_RESOURCEGROUP": identity.dag_id,
        "AZUREML_SERVICE_ENDPOINT": identity.deployment,
        "AZUREML_CR_NODE_RANK": "0",
    }


def port_variables(inputs: Iterable[PortValue], outputs: Iterable[PortValue]) -> dict[str, str]:
    """Return the variables that hold the places of inputs and outputs."""
    inputs, outputs = list(inputs), list(outputs)
    found: dict[str, str] = {}
    for kind, ports in (("INPUT", inputs), ("OUTPUT", outputs)):
        for port in ports:
            found.update(_variables_of(port, kind))
    for port in (*inputs, *outputs):
        if port.is_dataset:
            # A port of exactly that name keeps it.
            found.setdefault(port.name.upper(), port.value)
    datasets = [port for port in inputs if port.is_dataset]
    if datasets:
        found[INPUTS_VARIABLE] = ",".join(f"{port.name}:{port.mode}" for port in datasets)
    written = [port.name for port in outputs if port.is_dataset]
    if written:
        found[OUTPUTS_VARIABLE] = ";".join(written)
    return found


def _variables_of(port: PortValue, kind: str) -> dict[str, str]:
    if not port.is_dataset:
        return {f"AZUREML_DATAREFERENCE_{port.name}": port.value}
    return {
        port.name: port.value,
        f"AZURE_ML_{kind}_{port.name}": port.value,
    }
