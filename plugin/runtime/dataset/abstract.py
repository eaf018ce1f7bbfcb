"""What file and tabular datasets have in common (v1: ``azureml.data.abstract_dataset``)."""

from __future__ import annotations

import copy
import datetime
from typing import TYPE_CHECKING, Any, Iterable, Mapping

from airflow_azureml.runtime.dataset import operations, service_calls
from airflow_azureml.runtime.dataset.definition import check_definition, derived_seed, digest, with_operation
from airflow_azureml.runtime.dataset.partitions import PartitionFormat
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from typing_extensions import Self

    from airflow_azureml.runtime.dataset.consumption import DatasetConsumptionConfig


class AbstractDataset:
    """A lazy description of data: nothing is read before it is asked for.

    Objects don't change; each operation returns a new, unregistered dataset. Only description and tags of a
    registered one are changed in place, as in v1. Not made by its constructor but by ``Dataset.File``,
    ``Dataset.Tabular`` and ``Dataset.get_by_name``.
    """

    kind = ""

    # A dataset has __getitem__ for columns, and Python would take it for a sequence.
    __iter__ = None

    def __init__(self, definition: Mapping[str, Any], record: Mapping[str, Any] | None = None) -> None:
        self._definition = check_definition(copy.deepcopy(dict(definition)))
        if self._definition["kind"] != self.kind:
            raise UserErrorException(
                "a %s cannot have the definition of a %s dataset"
                % (type(self).__name__, self._definition["kind"])
            )
        self._record = record

    def __repr__(self) -> str:
        named = "" if self._record is None else "name=%r, version=%r, " % (self.name, self.version)
        return "%s(%sdefinition=%r)" % (type(self).__name__, named, self._definition)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, AbstractDataset)
            and self._definition == other._definition
            and (self.name, self.version) == (other.name, other.version)
        )

    def __hash__(self) -> int:
        return hash(digest(self._definition))

    # -- what it is -------------------------------------------------------------------------------------------

    @property
    def definition(self) -> dict[str, Any]:
        """The definition document, a copy; see ``definition``."""
        return copy.deepcopy(self._definition)

    @property
    def id(self) -> str:
        """Id of the saved definition; the same definition has the same id.

        An unregistered dataset is saved when its id is asked for. (v1 had None here until a dataset was used.)
        """
        return service_calls.save(self._definition) if self._record is None else str(self._record["id"])

    @property
    def name(self) -> str | None:
        """Registered name; None when unregistered."""
        return None if self._record is None else self._record["name"]

    @property
    def version(self) -> int | None:
        """Registered version; None when unregistered."""
        return None if self._record is None else self._record["version"]

    @property
    def description(self) -> str | None:
        """Registered description; None when unregistered."""
        return None if self._record is None else self._record.get("description")

    @property
    def tags(self) -> dict[str, str] | None:
        """Registered tags, a copy; None when unregistered."""
        return None if self._record is None else dict(self._record.get("tags") or {})

    @property
    def data_changed_time(self) -> datetime.datetime | None:
        """When the newest of its files was last changed, UTC; None when it has no files.

        Of a query: when it was last asked, because a database doesn't say when its rows were written.
        """
        newest = max((file.modified for file in service_calls.listed(self._definition)), default=None)
        if newest is None:
            return None
        return datetime.datetime.fromtimestamp(newest, datetime.timezone.utc)

    @property
    def partition_keys(self) -> list[str]:
        """Names of the columns that ``partition_format`` finds in the paths."""
        text = self._definition["source"].get("partition_format")
        return [] if text is None else list(PartitionFormat.parse(text).columns)

    def get_partition_key_values(self, partition_keys: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Return the distinct values of partition columns, in the order of the files.

        :param partition_keys: the columns; None for all.
        :raises UserErrorException: one of them is no partition column, or one is named twice.
        """
        known = self.partition_keys
        keys = known if partition_keys is None else operations.column_names("partition keys", partition_keys)
        if not set(keys) <= set(known) or len(set(keys)) != len(keys):
            raise UserErrorException("partition_keys are among %r, each once, not %r" % (known, keys))
        if not keys:
            return []
        partition = PartitionFormat.parse(self._definition["source"]["partition_format"])
        source = {**self._definition, "operations": []} if self.kind == "tabular" else self._definition
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for file in service_calls.listed(source):
            values = partition.values(file.origin) or {}
            found.setdefault(tuple(values[key] for key in keys), {key: values[key] for key in keys})
        return list(found.values())

    def validate(self) -> None:
        """Check that the data is there and fits the definition; reads no more than it has to.

        :raises DatasetValidationError: a path is missing or means no file, or the data cannot be read as declared.
        """
        service_calls.listed(self._definition)

    # -- operations -------------------------------------------------------------------------------------------

    def skip(self, count: int) -> Self:
        """Leave out the first ``count`` rows or files."""
        return self._with(operations.skip(count))

    def take(self, count: int) -> Self:
        """Keep the first ``count`` rows or files."""
        return self._with(operations.take(count))

    def take_sample(self, probability: float, seed: int | None = None) -> Self:
        """Keep each row or file with a probability.

        :param seed: the same seed chooses the same ones; None stands for a seed that follows from the
            dataset, so that every process chooses alike.
        """
        chosen = operations.checked_seed(seed, derived_seed(self._definition, "sample"))
        return self._with(operations.sample(probability, chosen))

    def random_split(self, percentage: float, seed: int | None = None) -> tuple[Self, Self]:
        """Return two datasets that have every row or file between them, each in exactly one.

        :param percentage: about how much goes into the first one, 0 to 1.
        :param seed: as for :meth:`take_sample`.
        """
        chosen = operations.checked_seed(seed, derived_seed(self._definition, "split"))
        return (
            self._with(operations.split(percentage, chosen, "first")),
            self._with(operations.split(percentage, chosen, "second")),
        )

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """Return this dataset as an input of a step.

        :param name: what the script finds it by in ``run.input_datasets``.
        :raises UserErrorException: the name isn't letters, digits and underscores with no digit first.
        """
        from airflow_azureml.runtime.dataset.consumption import DatasetConsumptionConfig

        return DatasetConsumptionConfig(name, self)

    def _with(self, operation: dict[str, Any]) -> Self:
        return type(self)(with_operation(self._definition, operation))

    # -- registration -----------------------------------------------------------------------------------------

    def register(
        self,
        workspace: Any,
        name: object,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        create_new_version: bool = False,
    ) -> Self:
        """Register the definition under a name; data is not copied.

        Inside a step the registration counts once the step has succeeded.

        :param workspace: the workspace (v1); there is one around a process.
        :param create_new_version: whether a name that is taken gets another version.
        :return: the registered dataset. The same definition over unchanged data keeps its version.
        :raises UserErrorException: the name is taken by another definition and ``create_new_version`` is False.
        """
        if not isinstance(name, str) or not name:
            raise UserErrorException("a dataset is registered under a name, not %r" % (name,))
        record = service_calls.register(
            name, self._definition, description, _checked_tags(tags), create_new_version
        )
        return type(self)(self._definition, record)

    def update(self, description: str | None = None, tags: Mapping[str, str] | None = None) -> Self:
        """Replace description or tags of this registered version; None leaves them as they are.

        :return: this dataset.
        :raises UserErrorException: it isn't registered.
        """
        return self._updated(
            "update", description=description, tags=None if tags is None else _checked_tags(tags)
        )

    def add_tags(self, tags: Mapping[str, str] | None = None) -> Self:
        """Set tags of this registered version beside those it has.

        :return: this dataset.
        :raises UserErrorException: it isn't registered.
        """
        return self._updated("add_tags", add_tags=_checked_tags(tags))

    def remove_tags(self, tags: Iterable[str] | None = None) -> Self:
        """Remove tags of this registered version by their names; absent ones are no error.

        :return: this dataset.
        :raises UserErrorException: it isn't registered.
        """
        names = [tags] if isinstance(tags, str) else list(tags or ())
        return self._updated("remove_tags", remove_tags=names)

    def unregister_all_versions(self) -> None:
        """Take the name with all its versions out of the workspace; the data stay.

        :raises UserErrorException: it isn't registered.
        """
        name, _ = self._registered("unregister_all_versions")
        service_calls.unregister(name)
        self._record = None

    def _updated(self, method: str, **changes: Any) -> Self:
        name, version = self._registered(method)
        self._record = service_calls.update(name, version, **changes)
        return self

    def _registered(self, method: str) -> tuple[str, int]:
        if self._record is None:
            raise UserErrorException("%s works on registered datasets; register this one first" % method)
        return str(self._record["name"]), int(self._record["version"])


def _checked_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    if tags is not None and not isinstance(tags, Mapping):
        raise UserErrorException("tags are a dict of texts, not %r" % (tags,))
    return {str(key): str(value) for key, value in (tags or {}).items()}
