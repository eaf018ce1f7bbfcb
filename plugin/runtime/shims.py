"""``azureml.*`` for scripts written for the Azure ML SDK v1, where that SDK isn't installed.

The modules are made when they are imported and hold names that are resolved when they are used. The finder is asked last, after
everything that is installed, so a real ``azureml-core`` in the step's environment wins; an environment that has other parts
of ``azureml`` only finds ours for the rest, however those parts were packaged.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Sequence

ROOT = "azureml"
_OURS = "airflow_azureml"
_SDK_VERSION = "1.62.0"

_EXCEPTIONS = (
    "AzureMLException UserErrorException SnapshotException RunEnvironmentException ComputeTargetException "
    "ActivityFailedException ExperimentExecutionException ModelPathNotFoundException WebserviceException "
    "ModelNotFoundException DatasetTimestampMissingError"
)

_NAMES = {
    "azureml": "",
    "azureml._common": "",
    "azureml._common.exceptions": _EXCEPTIONS,
    "azureml.core": (
        "ComputeTarget Dataset Datastore Environment Experiment Keyvault Model Run RunConfiguration Workspace"
    ),
    "azureml.core.authentication": (
        "AzureCliAuthentication InteractiveLoginAuthentication MsiAuthentication ServicePrincipalAuthentication"
    ),
    "azureml.core.compute": "ComputeTarget",
    "azureml.core.compute_target": "ComputeTargetException",
    "azureml.core.conda_dependencies": "CondaDependencies",
    "azureml.core.dataset": "Dataset",
    "azureml.core.datastore": "Datastore",
    "azureml.core.environment": "Environment CondaDependencies",
    "azureml.core.experiment": "Experiment",
    "azureml.core.keyvault": "Keyvault",
    "azureml.core.model": "Model",
    "azureml.core.run": "Run _OfflineRun _SubmittedRun",
    "azureml.core.runconfig": "CondaDependencies RunConfiguration",
    "azureml.core.workspace": "Workspace",
    "azureml.data": "FileDataset OutputFileDatasetConfig TabularDataset",
    "azureml.data.data_reference": "DataReference",
    "azureml.data.datapath": "DataPath DataPathComputeBinding",
    "azureml.data.dataset_consumption_config": "DatasetConsumptionConfig",
    "azureml.data.dataset_error_handling": "DatasetExecutionError DatasetValidationError",
    "azureml.data.dataset_factory": "DataType FileDatasetFactory TabularDatasetFactory",
    "azureml.data.dataset_type_definitions": "PromoteHeadersBehavior",
    "azureml.data.file_dataset": "FileDataset",
    "azureml.data.output_dataset_config": "OutputFileDatasetConfig",
    "azureml.data.tabular_dataset": "TabularDataset",
    "azureml.exceptions": _EXCEPTIONS,
    "azureml.pipeline": "",
    "azureml.pipeline.core": (
        "InputPortBinding OutputPortBinding Pipeline PipelineData PipelineParameter PipelineRun StepRun StepSequence"
    ),
    "azureml.pipeline.core.graph": "InputPortBinding OutputPortBinding PipelineParameter",
    "azureml.pipeline.core.run": "PipelineRun StepRun",
    "azureml.pipeline.steps": "PythonScriptStep",
}
"""Module → what v1 has there and we have too."""


class _ShimModule(ModuleType):
    """A module of v1's whose names are ours."""

    def __getattr__(self, name: str) -> Any:
        module = self.__name__
        if name in ("VERSION", "__version__") and module == "azureml.core":
            return _SDK_VERSION
        if name == "__all__":
            return [each for each in _NAMES[module].split() if not each.startswith("_") and self._has(each)]
        if name not in _NAMES[module].split():
            raise AttributeError(
                f"module {module!r} of airflow-azureml has no {name!r}; "
                "install the real azureml SDK into the step's environment if the script needs it"
            )
        value = getattr(sys.modules.get(_OURS) or __import__(_OURS), name)
        setattr(self, name, value)
        return value

    def _has(self, name: str) -> bool:
        try:
            getattr(self, name)
        except ImportError:
            return False
        return True

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_NAMES[self.__name__].split()})


class _Loader:
    """Makes the modules."""

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        return _ShimModule(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Nothing to run: names are resolved when they are used."""


class Finder:
    """Finds the modules, for ``sys.meta_path``."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of ours, None for any other.

        :param name: full name of the module.
        """
        if name not in _NAMES:
            return None
        parent = name.rpartition(".")[0]
        # Below a real azureml.core there is only what it has itself: mixing the two would be neither.
        if parent not in ("", ROOT) and not isinstance(sys.modules.get(parent), _ShimModule):
            return None
        return ModuleSpec(name, _Loader, origin="airflow-azureml", is_package=True)  # type: ignore[arg-type]


def install() -> None:
    """Let ``import azureml.core`` find ours in this process, after everything that is installed."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)
