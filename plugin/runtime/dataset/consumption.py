"""A dataset as an input of a step (v1: ``azureml.data.dataset_consumption_config``)."""

from __future__ import annotations

import logging
import re
from typing import Any

from airflow_azureml.runtime.dataset.abstract import AbstractDataset
from airflow_azureml.runtime.exceptions import UserErrorException

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHADOWING = frozenset(("path", "ld_library_path", "user", "logname", "home", "pwd", "shell"))
MODES = ("direct", "mount", "download")


class DatasetConsumptionConfig:
    """How a step's script gets a dataset; it never changes, the ``as_…`` methods return new ones.

    :param name: letters, digits and underscores, no digit first; the script's name for the input.
    :param dataset: a dataset; a PipelineParameter whose default is one; an output configuration; or
        ``(workspace, name)``, ``(workspace, name, version)`` for a registered dataset that each run looks up, its
        newest version when no version or ``"latest"`` is given.
    :param mode: ``direct`` hands over the dataset itself, ``mount`` and ``download`` a path to its files.
    :param path_on_compute: where the files appear, relative to the script's working directory.
    :raises UserErrorException: as v1, for a bad name, mode or dataset, and for a tabular dataset as files.
    """

    __slots__ = ("_dataset", "_mode", "_name", "_path_on_compute")

    def __init__(
        self, name: str, dataset: Any, mode: str = "direct", path_on_compute: str | None = None
    ) -> None:
        self._name = _checked_name(name)
        self._dataset = _checked_dataset(name, dataset)
        self._mode = _checked_mode(name, dataset, mode)
        if path_on_compute is not None and not isinstance(path_on_compute, str):
            raise UserErrorException("input %r: path_on_compute is text, not %r" % (name, path_on_compute))
        self._path_on_compute = path_on_compute

    @property
    def name(self) -> str:
        """The script's name for the input."""
        return self._name

    @property
    def dataset(self) -> Any:
        """What was given: a dataset, a parameter, an output, or ``(workspace, name[, version])``."""
        return self._dataset

    @property
    def mode(self) -> str:
        """``direct``, ``mount`` or ``download``."""
        return self._mode

    @property
    def path_on_compute(self) -> str | None:
        """Where the files appear; None for a place of the run's choice."""
        return self._path_on_compute

    @property
    def arg_val(self) -> str:
        """Placeholder for the input's value inside an argument or command text."""
        return "DatasetConsumptionConfig:" + self._name

    def as_mount(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """Return a configuration that shows the files read-only.

        :raises UserErrorException: a tabular dataset has no files to show.
        """
        return DatasetConsumptionConfig(self._name, self._dataset, "mount", path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """Return a configuration that copies the files.

        :raises UserErrorException: a tabular dataset has no files to copy.
        """
        return DatasetConsumptionConfig(self._name, self._dataset, "download", path_on_compute)

    def as_hdfs(self) -> DatasetConsumptionConfig:
        """Refuse: there is no HDFS here.

        :raises UserErrorException: always.
        """
        raise UserErrorException("input %r: mode hdfs is not supported; use as_download()" % self._name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DatasetConsumptionConfig):
            return NotImplemented
        return all(getattr(self, slot) == getattr(other, slot) for slot in self.__slots__)

    def __hash__(self) -> int:
        return hash((self._name, self._mode, self._path_on_compute))

    def __repr__(self) -> str:
        return "DatasetConsumptionConfig(%r, %r, mode=%r, path_on_compute=%r)" % (
            self._name,
            self._dataset,
            self._mode,
            self._path_on_compute,
        )


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise UserErrorException(
            "the name of a dataset input is letters, digits and underscores, no digit first, not %r" % (name,)
        )
    if name.lower() in _SHADOWING:
        _LOG.warning("the dataset input %r sets an environment variable of that name for the script", name)
    return name


def _checked_dataset(name: str, dataset: Any) -> Any:
    if isinstance(dataset, tuple):
        return _checked_reference(name, dataset)
    default = getattr(dataset, "default_value", None)
    # Parameters and outputs belong to a layer above this one; they are known by what they offer.
    if (
        isinstance(dataset, AbstractDataset)
        or isinstance(default, AbstractDataset)
        or hasattr(dataset, "origin")
    ):
        return dataset
    if hasattr(dataset, "default_value"):
        raise UserErrorException("input %r: the parameter's default is %r, not a dataset" % (name, default))
    raise UserErrorException(
        "input %r is %r; give a dataset, a PipelineParameter with one as default, an output, or "
        "(workspace, name)" % (name, dataset)
    )


def _checked_reference(name: str, reference: tuple[Any, ...]) -> tuple[Any, ...]:
    version = reference[2] if len(reference) == 3 else None
    is_number = isinstance(version, int) and not isinstance(version, bool) and version > 0
    if len(reference) not in (2, 3) or not isinstance(reference[1], str) or not reference[1]:
        raise UserErrorException(
            "input %r: a registered dataset is given as (workspace, name) or (workspace, name, version)"
            % name
        )
    if not (version is None or version == "latest" or is_number):
        raise UserErrorException("input %r: a version is a number or 'latest', not %r" % (name, version))
    return reference


def _checked_mode(name: str, dataset: Any, mode: object) -> str:
    if mode not in MODES:
        raise UserErrorException("input %r: mode is one of %s, not %r" % (name, ", ".join(MODES), mode))
    default = getattr(dataset, "default_value", dataset)
    if mode != "direct" and isinstance(default, AbstractDataset) and default.kind == "tabular":
        raise UserErrorException(
            "input %r is a tabular dataset, which cannot be used in mode %s: the script reads its rows with "
            "to_pandas_dataframe(); to_csv_files() or to_parquet_files() make files of it" % (name, mode)
        )
    return str(mode)
