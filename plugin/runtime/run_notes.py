"""What people write on a run: tags, properties, display name, description."""

from __future__ import annotations

from typing import Any, Mapping

from airflow_azureml.runtime.run_base import RunBase


class RunNotes(RunBase):
    """Tags may change, properties may not (``azureml.core.Run``)."""

    def tag(self, key: str, value: Any = None) -> None:
        """Set one tag.

        :param value: kept as text; None makes a tag without a value.
        """
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; those not named stay."""
        self._call("set_tags", tags=_texts(tags))

    def remove_tags(self, tags: list[str]) -> None:
        """Remove tags by name; one that isn't there is no error."""
        self._call("remove_tags", names=list(tags))

    def get_tags(self) -> dict[str, Any]:
        """Return the tags as they are now."""
        found: dict[str, Any] = self._call("get_tags")
        return found

    @property
    def tags(self) -> dict[str, Any]:
        """The tags as they are now."""
        return self.get_tags()

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Add properties, for good.

        :raises UserErrorException: one of them has another value already.
        """
        self._call("add_properties", properties=_texts(properties))

    def get_properties(self) -> dict[str, Any]:
        """Return the properties."""
        found: dict[str, Any] = self._call("get_properties")
        return found

    @property
    def properties(self) -> dict[str, Any]:
        """The properties."""
        return self.get_properties()

    @property
    def display_name(self) -> str:
        """The name shown for the run; may be assigned."""
        description = self._describe()
        return str(description.get("display_name") or description.get("name") or self._id)

    @display_name.setter
    def display_name(self, value: str) -> None:
        self._call("set", display_name=str(value))

    @property
    def description(self) -> str | None:
        """A text about the run; may be assigned."""
        found: str | None = self._describe().get("description")
        return found

    @description.setter
    def description(self, value: str) -> None:
        self._call("set", description=str(value))


def _texts(values: Mapping[str, Any]) -> dict[str, str | None]:
    return {str(key): None if value is None else str(value) for key, value in dict(values).items()}
