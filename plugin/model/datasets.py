"""The one place where the model tells dataset objects from other things.

The classes themselves belong to the runtime, because step scripts use them too. They are recognised by what they offer,
so that declaring a pipeline doesn't depend on how they are built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

__all__ = ["Consumption", "DatasetLike", "consume", "is_consumption", "is_dataset"]


class DatasetLike(Protocol):
    """A FileDataset or a TabularDataset."""

    @property
    def definition(self) -> dict[str, Any]:
        """The definition document."""

    @property
    def kind(self) -> str:
        """``file`` or ``tabular``."""


class Consumption(Protocol):
    """A DatasetConsumptionConfig."""

    name: str
    dataset: Any
    mode: str
    path_on_compute: str | None


def is_dataset(value: object) -> TypeGuard[DatasetLike]:
    """Tell whether something is a dataset.

    :param value: anything.
    """
    return isinstance(getattr(value, "definition", None), Mapping) and hasattr(value, "kind")


def is_consumption(value: object) -> TypeGuard[Consumption]:
    """Tell whether something is a dataset with a name and a mode, ready to be an input.

    :param value: anything.
    """
    return all(hasattr(value, word) for word in ("name", "dataset", "mode", "path_on_compute"))


def consume(name: str, dataset: object, mode: str) -> Any:
    """Return the DatasetConsumptionConfig of something.

    :param name: name of the input.
    :param dataset: a dataset, or an output that is read as one.
    :param mode: ``mount``, ``download`` or ``direct``.
    :raises UserErrorException: the name is no proper one.
    """
    from airflow_azureml.runtime.dataset import DatasetConsumptionConfig

    return DatasetConsumptionConfig(name, dataset, mode)
