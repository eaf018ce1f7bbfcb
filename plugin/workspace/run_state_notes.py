"""What is written on one run: metrics, tags, properties, names. Values in memory, v1's limits kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.runtime.metrics import FAMILIES, MAX_NAMES, MAX_ROWS, check_name
from airflow_azureml.workspace.documents import utc_now

MAX_TAGS = 50
MAX_PROPERTIES = 50
"""v1's documented limits per run."""


class RunNotes:
    """The notes of one run. Not thread-safe: whoever shares it holds a lock.

    :param tags: tags it starts with.
    :param properties: properties it starts with; they don't count towards the limit.
    """

    def __init__(
        self, tags: Mapping[str, Any] | None = None, properties: Mapping[str, Any] | None = None
    ) -> None:
        self.metrics: list[dict[str, Any]] = []
        self.tags: dict[str, Any] = dict(tags or {})
        self.removed_tags: list[str] = []
        self.properties: dict[str, Any] = dict(properties or {})
        self.display_name: str | None = None
        self.description: str | None = None
        self._given_properties = len(self.properties)
        self._families: dict[str, str] = {}
        self._stepped: dict[str, bool] = {}
        self._rows: dict[str, int] = {}

    @property
    def said_anything(self) -> bool:
        """Whether anybody wrote anything here."""
        return bool(
            self.metrics or self.tags or self.removed_tags or self.display_name or self.description
        ) or (len(self.properties) > self._given_properties)

    def log(self, name: str, kind: str, value: Any, step: int | None) -> None:
        """Add a metric record.

        :raises UserErrorException: an unknown kind, a name used for another kind of metric, ``step`` given for some
            values of a name and not for others, or one of v1's limits.
        """
        check_name(name)
        family = FAMILIES.get(kind)
        if family is None:
            raise UserErrorException(f"metric {name!r}: kind {kind!r} isn't one of {', '.join(FAMILIES)}")
        known = self._families.get(name)
        if known is None and len(self._families) >= MAX_NAMES:
            raise UserErrorException(
                f"metric {name!r}: the run has {MAX_NAMES} metrics already, which is the limit; "
                "log related values as one table (log_row), or write them to ./outputs"
            )
        if known not in (None, family):
            raise UserErrorException(
                f"metric {name!r} is a {known} already and cannot be a {family}; use another name"
            )
        self._check_step(name, family, step)
        self._count_rows(name, kind, value)
        self._families[name] = family
        self.metrics.append({"name": name, "kind": kind, "value": value, "step": step, "time": utc_now()})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; those not named stay.

        :raises UserErrorException: more than 50 in all.
        """
        if len({**self.tags, **tags}) > MAX_TAGS:
            raise UserErrorException(f"a run has at most {MAX_TAGS} tags; remove some with run.remove_tags")
        self.tags.update(tags)
        self.removed_tags = [name for name in self.removed_tags if name not in tags]

    def remove_tags(self, names: Iterable[str]) -> None:
        """Remove tags, also ones that only readers see because others set them."""
        for name in names:
            self.tags.pop(name, None)
            if name not in self.removed_tags:
                self.removed_tags.append(name)

    def add_properties(self, properties: Mapping[str, Any], present: Mapping[str, Any]) -> None:
        """Add properties.

        :param present: the properties a reader sees, these notes' own among them.
        :raises UserErrorException: one has another value already, or more than 50.
        """
        for name, value in properties.items():
            if name in present and present[name] != value:
                raise UserErrorException(
                    f"property {name!r} is {present[name]!r} already; properties cannot be changed, use a tag"
                )
        if len({**self.properties, **properties}) - self._given_properties > MAX_PROPERTIES:
            raise UserErrorException(
                f"a run has at most {MAX_PROPERTIES} properties; use a file in ./outputs for more"
            )
        self.properties.update(properties)

    def set_names(self, display_name: str | None, description: str | None) -> None:
        """Change what is shown for the run; None leaves it as it is."""
        self.display_name = display_name if display_name is not None else self.display_name
        self.description = description if description is not None else self.description

    def to_record(self) -> dict[str, Any]:
        """Return the notes as fields of a run record."""
        return {
            "metrics": list(self.metrics),
            "tags": dict(self.tags),
            "properties": dict(self.properties),
            "display_name": self.display_name,
            "description": self.description,
        }

    def _check_step(self, name: str, family: str, step: int | None) -> None:
        if family != "scalar":
            return
        if self._stepped.setdefault(name, step is not None) != (step is not None):
            raise UserErrorException(f"metric {name!r}: give step for all of its values or for none")

    def _count_rows(self, name: str, kind: str, value: Any) -> None:
        rows = self._rows.get(name, 0) + _rows(kind, value)
        if rows > MAX_ROWS:
            raise UserErrorException(f"metric {name!r} has {MAX_ROWS} rows already, which is the limit")
        self._rows[name] = rows


def _rows(kind: str, value: Any) -> int:
    if kind == "list" and isinstance(value, list):
        return len(value)
    if kind == "table" and isinstance(value, Mapping):
        return max((len(column) for column in value.values() if isinstance(column, list)), default=0)
    return 1
