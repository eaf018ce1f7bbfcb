"""How two versions of a registered dataset differ: definition, files, columns, rows.

A version keeps its definition and what its files were known by, not the files. Their columns and rows can be compared as long as
the data of both versions is what it was; otherwise the difference says what is not known and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.workspace.dataset_content import ContentFile, DatasetContent, saved_content
from airflow_azureml.workspace.dataset_reading import read_rows

if TYPE_CHECKING:
    from airflow_azureml.workspace.dataset_files import DatasetFiles
    from airflow_azureml.workspace.datasets import DatasetRecord
    from airflow_azureml.workspace.store import ObjectStore

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is in one side and not, or otherwise, in the other.

    :param added: in the second alone.
    :param removed: in the first alone.
    :param changed: in both, with what the first and the second say.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, first: Mapping[str, Any], second: Mapping[str, Any]) -> Difference:
        """Compare two mappings."""
        return cls(
            tuple(name for name in second if name not in first),
            tuple(name for name in first if name not in second),
            {
                name: (value, second[name])
                for name, value in first.items()
                if second.get(name, value) != value
            },
        )

    @property
    def is_empty(self) -> bool:
        """Whether both are the same."""
        return not (self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class RowDifference:
    """How the rows of two tables differ, whatever their order.

    :param before: rows of the first.
    :param after: rows of the second.
    :param added: rows of the second that the first hasn't got, or not as often.
    :param removed: rows of the first that the second hasn't got, or not as often.
    :param columns: the columns that were compared, those that both have.
    """

    before: int
    after: int
    added: int
    removed: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionDifference:
    """How two versions differ.

    :param name: the dataset.
    :param versions: the two.
    :param definition: top-level parts of the definition and of its source that differ.
    :param files: by name; what a file is known by is compared.
    :param files_as_of: for each version ``registration``, or ``now`` where nothing was written down when it was registered.
    :param schema: columns and their types; None for files, and where they are not known.
    :param rows: None for files, and where they are not known.
    :param unknown: why columns and rows are not known; None when they are, or there are none.
    """

    name: str
    versions: tuple[int, int]
    definition: Difference
    files: Difference
    files_as_of: tuple[str, str]
    schema: Difference | None = None
    rows: RowDifference | None = None
    unknown: str | None = None

    def to_document(self) -> Document:
        """Return the difference as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Side:
    record: DatasetRecord
    content: DatasetContent
    as_of: str
    problem: str | None
    """Why its rows cannot be read as they were."""


def compare_versions(
    store: ObjectStore, data: DatasetFiles, first: DatasetRecord, second: DatasetRecord
) -> VersionDifference:
    """Compare two versions of a dataset.

    :param store: the workspace's store, which has what the files were known by.
    :param data: reads the data as it is now.
    :raises AzureMLException: nothing was written down of a version's files, and they cannot be looked at now.
    """
    sides = _side(store, data, first), _side(store, data, second)
    schema, rows, unknown = _tables(data, *sides)
    return VersionDifference(
        name=first.name,
        versions=(first.version, second.version),
        definition=Difference.of(_parts(first.definition), _parts(second.definition)),
        files=Difference.of(*(_known(side.content.files) for side in sides)),
        files_as_of=(sides[0].as_of, sides[1].as_of),
        schema=schema,
        rows=rows,
        unknown=unknown,
    )


def changed_since_registration(
    store: ObjectStore, data: DatasetFiles, record: DatasetRecord
) -> Difference | None:
    """Return how the files of a version differ from what they were; None when that was not written down.

    :raises AzureMLException: they cannot be looked at.
    """
    known = saved_content(store, record.fingerprint)
    if known is None:
        return None
    now = DatasetContent.of(data.list_files(record.definition))
    return Difference.of(_known(known.files), _known(now.files))


def compare_rows(first: Any, second: Any) -> RowDifference:
    """Compare the rows of two DataFrames in the columns that both have, whatever their order.

    Columns of different types are compared by their text.
    """
    import pandas as pd

    columns = [name for name in first.columns if name in set(second.columns)]
    counts = []
    for frame, other in ((first, second), (second, first)):
        shown = pd.DataFrame(
            {name: _comparable(frame[name], other[name]) for name in columns}, index=frame.index
        )
        # A table without columns has rows, all of them alike.
        hashed = pd.util.hash_pandas_object(shown, index=False) if columns else pd.Series(0, frame.index)
        counts.append(hashed.value_counts())
    change = counts[1].sub(counts[0], fill_value=0)
    return RowDifference(
        before=len(first),
        after=len(second),
        added=int(change[change > 0].sum()),
        removed=int(-change[change < 0].sum()),
        columns=tuple(map(str, columns)),
    )


def _side(store: ObjectStore, data: DatasetFiles, record: DatasetRecord) -> _Side:
    known = saved_content(store, record.fingerprint)
    try:
        now = DatasetContent.of(data.list_files(record.definition))
    except (AzureMLException, OSError) as error:
        if known is None:
            raise
        return _Side(record, known, "registration", f"version {record.version} cannot be read now: {error}")
    if known is None:
        return _Side(record, now, "now", None)
    changed = not Difference.of(_known(known.files), _known(now.files)).is_empty
    problem = f"the data of version {record.version} changed since it was registered" if changed else None
    return _Side(record, known, "registration", problem)


def _tables(
    data: DatasetFiles, first: _Side, second: _Side
) -> tuple[Difference | None, RowDifference | None, str | None]:
    if not first.record.definition["kind"] == second.record.definition["kind"] == "tabular":
        return None, None, None
    problems = [side.problem for side in (first, second) if side.problem]
    if problems:
        return None, None, "; ".join(problems)
    from airflow_azureml.runtime.dataset.engine.profile import type_of

    try:
        frames = [read_rows(data, side.record.definition) for side in (first, second)]
    except AzureMLException as error:
        return None, None, f"the rows cannot be read: {error}"
    schemas = [{str(name): type_of(frame[name]) for name in frame.columns} for frame in frames]
    return Difference.of(*schemas), compare_rows(*frames), None


def _parts(definition: Document) -> Document:
    source = {f"source.{name}": value for name, value in definition["source"].items()}
    return {"kind": definition["kind"], **source, "operations": definition["operations"]}


def _known(files: tuple[ContentFile, ...]) -> dict[str, str]:
    return {file.name: file.known_by for file in files}


def _comparable(values: Any, other: Any) -> Any:
    """Return a column so that equal values of both sides are equal, whatever type their files gave them."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if values.dtype == other.dtype and values.dtype != object:
        return values
    if all(is_numeric_dtype(side.dtype) and not is_bool_dtype(side.dtype) for side in (values, other)):
        return values.astype("float64")
    # Missing ones are the same as none: their text would not be.
    return values.map(str, na_action="ignore").astype("object").where(values.notna(), None)
