"""Azure ML pipelines (SDK v1) on Apache Airflow.

All public names are importable from here. Each is loaded from where it lives when it is first used, for two reasons: a DAG file
that needs one name shouldn't pay for all, and this file is part of the runtime that steps see, where only some of them are.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_azureml.model.compute import ComputeTarget, LocalCompute
    from airflow_azureml.model.conda import CondaDependencies
    from airflow_azureml.model.data import InputPortBinding, OutputPortBinding, PipelineData
    from airflow_azureml.model.environment import (
        DockerConfiguration,
        DockerSection,
        Environment,
        PythonSection,
        RunConfiguration,
    )
    from airflow_azureml.model.output_dataset import OutputFileDatasetConfig, OutputTabularDatasetConfig
    from airflow_azureml.model.parameters import PipelineParameter
    from airflow_azureml.model.paths import DataPath, DataPathComputeBinding, DataReference
    from airflow_azureml.model.sequence import StepSequence
    from airflow_azureml.model.sql_reference import (
        SqlDataReference,
        StoredProcedureParameter,
        StoredProcedureParameterType,
    )
    from airflow_azureml.operators.data_transfer import DataTransferStep
    from airflow_azureml.operators.pipeline import Pipeline
    from airflow_azureml.operators.python_script import PythonScriptStep
    from airflow_azureml.reuse.policy import ReusePolicy
    from airflow_azureml.runtime.authentication import (
        AzureCliAuthentication,
        InteractiveLoginAuthentication,
        MsiAuthentication,
        ServicePrincipalAuthentication,
    )
    from airflow_azureml.runtime.dataset import (
        Dataset,
        DatasetConsumptionConfig,
        DataType,
        FileDataset,
        FileDatasetFactory,
        PromoteHeadersBehavior,
        TabularDataset,
        TabularDatasetFactory,
    )
    from airflow_azureml.runtime.datastore import Datastore
    from airflow_azureml.runtime.exceptions import (
        ActivityFailedException,
        AzureMLException,
        ComputeTargetException,
        DatasetExecutionError,
        DatasetTimestampMissingError,
        DatasetValidationError,
        DefinitionError,
        EnvironmentBuildError,
        ExperimentExecutionException,
        ModelNotFoundException,
        ModelPathNotFoundException,
        RunEnvironmentException,
        SnapshotException,
        StepCanceled,
        StepFailed,
        UserErrorException,
        WebserviceException,
    )
    from airflow_azureml.runtime.experiment import Experiment
    from airflow_azureml.runtime.model import Model
    from airflow_azureml.runtime.pipeline_run import PipelineRun, StepRun
    from airflow_azureml.runtime.run import Run
    from airflow_azureml.runtime.workspace import Keyvault, Workspace

__version__ = "0.1.0"

__all__ = [
    "ActivityFailedException",
    "AzureCliAuthentication",
    "AzureMLException",
    "ComputeTarget",
    "ComputeTargetException",
    "CondaDependencies",
    "DataPath",
    "DataPathComputeBinding",
    "DataReference",
    "DataTransferStep",
    "DataType",
    "Dataset",
    "DatasetConsumptionConfig",
    "DatasetExecutionError",
    "DatasetTimestampMissingError",
    "DatasetValidationError",
    "Datastore",
    "DefinitionError",
    "DockerConfiguration",
    "DockerSection",
    "Environment",
    "EnvironmentBuildError",
    "Experiment",
    "ExperimentExecutionException",
    "FileDataset",
    "FileDatasetFactory",
    "InputPortBinding",
    "InteractiveLoginAuthentication",
    "Keyvault",
    "LocalCompute",
    "Model",
    "ModelNotFoundException",
    "ModelPathNotFoundException",
    "MsiAuthentication",
    "OutputFileDatasetConfig",
    "OutputPortBinding",
    "OutputTabularDatasetConfig",
    "Pipeline",
    "PipelineData",
    "PipelineParameter",
    "PipelineRun",
    "PromoteHeadersBehavior",
    "PythonScriptStep",
    "PythonSection",
    "ReusePolicy",
    "Run",
    "RunConfiguration",
    "RunEnvironmentException",
    "ServicePrincipalAuthentication",
    "SnapshotException",
    "SqlDataReference",
    "StepCanceled",
    "StepFailed",
    "StepRun",
    "StepSequence",
    "StoredProcedureParameter",
    "StoredProcedureParameterType",
    "TabularDataset",
    "TabularDatasetFactory",
    "UserErrorException",
    "WebserviceException",
    "Workspace",
    "__version__",
]

_EXPORTS = {
    "model.compute": "ComputeTarget LocalCompute",
    "model.conda": "CondaDependencies",
    "model.data": "InputPortBinding OutputPortBinding PipelineData",
    "model.environment": "DockerConfiguration DockerSection Environment PythonSection RunConfiguration",
    "model.output_dataset": "OutputFileDatasetConfig OutputTabularDatasetConfig",
    "model.parameters": "PipelineParameter",
    "model.paths": "DataPath DataPathComputeBinding DataReference",
    "model.sequence": "StepSequence",
    "model.sql_reference": "SqlDataReference StoredProcedureParameter StoredProcedureParameterType",
    "operators.data_transfer": "DataTransferStep",
    "operators.pipeline": "Pipeline",
    "operators.python_script": "PythonScriptStep",
    "reuse.policy": "ReusePolicy",
    "runtime.authentication": (
        "AzureCliAuthentication InteractiveLoginAuthentication MsiAuthentication ServicePrincipalAuthentication"
    ),
    "runtime.dataset": (
        "DataType Dataset DatasetConsumptionConfig FileDataset FileDatasetFactory PromoteHeadersBehavior "
        "TabularDataset TabularDatasetFactory"
    ),
    "runtime.datastore": "Datastore",
    "runtime.exceptions": (
        "ActivityFailedException AzureMLException ComputeTargetException DatasetExecutionError "
        "DatasetTimestampMissingError DatasetValidationError DefinitionError EnvironmentBuildError "
        "ExperimentExecutionException ModelNotFoundException ModelPathNotFoundException RunEnvironmentException "
        "SnapshotException StepCanceled StepFailed UserErrorException WebserviceException"
    ),
    "runtime.experiment": "Experiment",
    "runtime.model": "Model",
    "runtime.pipeline_run": "PipelineRun StepRun",
    "runtime.run": "Run _OfflineRun _SubmittedRun",
    "runtime.workspace": "Keyvault Workspace",
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    path = f"{__name__}.{module}"
    try:
        value = getattr(import_module(path), name)
    except ModuleNotFoundError as error:
        # Only when it is a part of this package that is missing: a missing library should say its own name.
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise
        raise ImportError(
            f"{name} is not available inside a step: it belongs to the definition of pipelines, and a step's environment "
            "has only what scripts use"
        ) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
