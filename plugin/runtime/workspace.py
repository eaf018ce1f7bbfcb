"""``Workspace``: what holds datastores, datasets, models and runs (``azureml.core.Workspace``).

There is one workspace around a process: the one its step runs in, or the local one. Subscription and resource group
have no meaning here; they are kept as given, because scripts pass them on.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, NoReturn

from airflow_azureml.runtime import service
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from airflow_azureml.runtime.datastore import Datastore
    from airflow_azureml.runtime.run import Run

_CONFIG_FOLDERS = (".azureml", "aml_config", "")
_CONFIG_NAMES = ("config.json", "project.json")
_LOCAL = "local"


class Workspace:
    """The workspace around this process.

    :param subscription_id: kept as given, as ``resource_group`` is.
    :param workspace_name: kept for ``write_config``; ``name`` is what the workspace itself is called.
    """

    def __init__(
        self,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        workspace_name: str | None = None,
        auth: Any = None,
        **_: Any,
    ) -> None:
        environ = os.environ
        self._subscription_id = subscription_id or environ.get("AZUREML_ARM_SUBSCRIPTION") or _LOCAL
        self._resource_group = resource_group or environ.get("AZUREML_ARM_RESOURCEGROUP") or _LOCAL
        self._workspace_name = workspace_name
        self._description: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Workspace(name={self.name!r})"

    @classmethod
    def here(cls) -> Workspace:
        """Return the workspace around this process."""
        return cls()

    @classmethod
    def from_config(
        cls, path: str | None = None, auth: Any = None, _logger: Any = None, _file_name: str | None = None
    ) -> Workspace:
        """Return the workspace; a ``config.json`` of v1's is read when there is one.

        It is looked for from the current folder upwards, in ``.azureml/``, then ``aml_config/``, then beside. Without
        one the workspace is found all the same.

        :param path: the file, or the folder to start from.
        :raises UserErrorException: ``path`` doesn't exist, or the file isn't a configuration.
        """
        if path is not None and not os.path.exists(path):
            raise UserErrorException(
                f"Workspace.from_config: {path!r} doesn't exist; leave path out to find the workspace"
            )
        found = path if path is not None and os.path.isfile(path) else _find_config(path or ".", _file_name)
        if found is None:
            return cls()
        settings = _read_config(found)
        return cls(
            settings.get("subscription_id"), settings.get("resource_group"), settings.get("workspace_name")
        )

    @classmethod
    def get(
        cls,
        name: str | None = None,
        auth: Any = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        cloud: str = "AzureCloud",
        id: str | None = None,
        **_: Any,
    ) -> Workspace:
        """Return the workspace around this process, whatever it was called in Azure."""
        return cls(subscription_id, resource_group, name)

    def write_config(self, path: str | None = None, file_name: str | None = None) -> None:
        """Write ``.azureml/config.json``.

        :param path: folder to write below; default: the current one.
        """
        folder = os.path.join(path or ".", ".azureml")
        os.makedirs(folder, exist_ok=True)
        settings = {
            "subscription_id": self._subscription_id,
            "resource_group": self._resource_group,
            "workspace_name": self._workspace_name or self.name,
        }
        with open(os.path.join(folder, file_name or _CONFIG_NAMES[0]), "w", encoding="utf-8") as file:
            json.dump(settings, file, indent=4)

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The workspace's name."""
        return str(self._describe()["name"])

    @property
    def subscription_id(self) -> str:
        """As given, or ``local``."""
        return self._subscription_id

    @property
    def resource_group(self) -> str:
        """As given, or ``local``."""
        return self._resource_group

    @property
    def location(self) -> str:
        """Always ``local``."""
        return _LOCAL

    @property
    def sku(self) -> str:
        """Always ``Basic``."""
        return "Basic"

    @property
    def tags(self) -> dict[str, str]:
        """Always empty."""
        return {}

    @property
    def url(self) -> str:
        """The place of the workspace's object store."""
        return str(self._describe()["url"])

    @property
    def discovery_url(self) -> str:
        """The place of the workspace's object store."""
        return self.url

    def get_details(self) -> dict[str, Any]:
        """Return what is known about the workspace."""
        return {
            "id": self.discovery_url,
            "name": self.name,
            "location": self.location,
            "sku": self.sku,
            "tags": self.tags,
            "workspaceid": self.discovery_url,
            "friendlyName": self.name,
        }

    # -- what it holds ------------------------------------------------------------------------------------------

    @property
    def datastores(self) -> dict[str, Datastore]:
        """Name → datastore."""
        from airflow_azureml.runtime.datastore import Datastore

        return {record["name"]: Datastore.from_record(record) for record in service.call("datastore.list")}

    @property
    def datasets(self) -> Mapping[str, Any]:
        """Name → newest version of the dataset; each is loaded when it is asked for."""
        from airflow_azureml.runtime.dataset import Dataset

        names = [record["name"] for record in service.call("dataset.list")]
        return _Lazy(names, lambda name: Dataset.get_by_name(self, name))

    @property
    def models(self) -> dict[str, Any]:
        """Name → newest version of the model."""
        from airflow_azureml.runtime.model import Model

        return {model.name: model for model in Model.list(self, latest=True)}

    @property
    def experiments(self) -> dict[str, Any]:
        """Name → experiment that has runs."""
        from airflow_azureml.runtime.experiment import Experiment

        return {experiment.name: experiment for experiment in Experiment.list(self)}

    @property
    def compute_targets(self) -> dict[str, Any]:
        """Name → compute target."""
        return {record["name"]: _compute_target(self, record) for record in service.call("compute.list")}

    @property
    def environments(self) -> dict[str, Any]:
        """Always empty: environments are declared with the steps."""
        return {}

    @property
    def images(self) -> dict[str, Any]:
        """Always empty: container images of models don't exist here."""
        return {}

    @property
    def webservices(self) -> dict[str, Any]:
        """Always empty: deployments don't exist here."""
        return {}

    @property
    def linked_services(self) -> dict[str, Any]:
        """Always empty: Airflow connections take this place."""
        return {}

    def get_default_datastore(self) -> Datastore:
        """Return the datastore that is used where none is named."""
        from airflow_azureml.runtime.datastore import Datastore

        return Datastore.get_default(self)

    def set_default_datastore(self, name: str) -> None:
        """Make a datastore the one that is used where none is named.

        :raises UserErrorException: it doesn't exist.
        """
        service.call("datastore.set_default", name=name)

    def get_run(self, run_id: str) -> Run:
        """Return a run by its id.

        :raises UserErrorException: there is no such run.
        """
        from airflow_azureml.runtime.run import Run

        return Run.get(self, run_id)

    def get_default_keyvault(self) -> Keyvault:
        """Return an object that refuses to give secrets, saying what to do instead."""
        return Keyvault()

    def get_mlflow_tracking_uri(self, *_: Any, **__: Any) -> str:
        """Refuse: there is no MLflow server.

        :raises UserErrorException: always.
        """
        raise UserErrorException(
            "the workspace has no MLflow server; log with Run.get_context().log, or set MLFLOW_TRACKING_URI to one of yours"
        )

    def _describe(self) -> dict[str, Any]:
        if self._description is None:
            self._description = service.call("workspace.describe")
        return self._description


class Keyvault:
    """Where v1 kept secrets. Steps are given none here."""

    def get_secret(self, name: str, *_: Any, **__: Any) -> NoReturn:
        """Refuse.

        :raises UserErrorException: always, with what to do instead.
        """
        raise UserErrorException(
            f"secret {name!r}: steps are given no key vault. Pass it as an environment variable of the step's "
            "environment, filled from an Airflow connection or variable"
        )

    def set_secret(self, name: str, value: str, *_: Any, **__: Any) -> NoReturn:
        """Refuse; see :meth:`get_secret`."""
        raise UserErrorException(
            f"secret {name!r} cannot be stored: steps are given no key vault; use an Airflow connection"
        )


class _Lazy(Mapping[str, Any]):
    def __init__(self, names: list[str], load: Callable[[str], Any]) -> None:
        self._names = dict.fromkeys(names)
        self._load = load

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _compute_target(workspace: Workspace, record: Mapping[str, Any]) -> Any:
    try:
        from airflow_azureml.model.compute import ComputeTarget
    except ModuleNotFoundError:
        # Inside a step only the runtime is there; what a compute target is called and of which type can still be read.
        from types import SimpleNamespace

        return SimpleNamespace(**record)
    return ComputeTarget(workspace, record["name"])


def _find_config(start: str, file_name: str | None) -> str | None:
    names = (file_name,) if file_name else _CONFIG_NAMES
    folders = [os.path.abspath(start)]
    while os.path.dirname(folders[-1]) != folders[-1]:
        folders.append(os.path.dirname(folders[-1]))
    # v1's order: the kind of place counts before the nearness.
    for kind in _CONFIG_FOLDERS:
        for folder in folders:
            for name in names:
                candidate = os.path.join(folder, kind, name)
                if os.path.isfile(candidate) and (kind or _looks_like_config(candidate)):
                    return candidate
    return None


def _looks_like_config(path: str) -> bool:
    # Beside scripts lie config.json files of all sorts.
    try:
        return "workspace_name" in _read_config(path)
    except UserErrorException:
        return False


def _read_config(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
    except (OSError, ValueError) as error:
        raise UserErrorException(
            f"Workspace.from_config: {path!r} cannot be read as JSON ({error})"
        ) from error
    if not isinstance(settings, dict):
        raise UserErrorException(f"Workspace.from_config: {path!r} holds no JSON object")
    return settings
