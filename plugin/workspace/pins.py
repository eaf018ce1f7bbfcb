"""Pins: what garbage collection has to leave alone although nothing else refers to it.

Layout: ``registry/pins/<name>.json``, ``{"schema", "name", "runs", "keys", "snapshots", "paths", "time"}``. A published pipeline
pins the snapshots of its steps; a person may pin a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.workspace.documents import read_json, utc_now, write_json
from airflow_azureml.workspace.names import encode_name

if TYPE_CHECKING:
    from airflow_azureml.workspace.store import ObjectStore

_FOLDER = "registry/pins/"


@dataclass(frozen=True, slots=True)
class Pin:
    """Things that stay.

    :param name: what they stay for, such as a published pipeline; another pin of the name takes its place.
    :param runs: ids of step runs and pipeline runs: their records, files and outputs.
    :param keys: action keys: the results remembered under them.
    :param snapshots: digests of source snapshots.
    :param paths: datastore and path of data.
    """

    name: str
    runs: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    paths: tuple[tuple[str, str], ...] = ()

    def to_document(self) -> dict[str, Any]:
        """Return the pin as it is stored."""
        return {
            "schema": 1,
            "name": self.name,
            "runs": list(self.runs),
            "keys": list(self.keys),
            "snapshots": list(self.snapshots),
            "paths": [{"datastore": datastore, "path": path} for datastore, path in self.paths],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Pin:
        """Read a pin, ignoring fields this version doesn't know.

        :raises StoreError: it is none. A pin that cannot be read is no reason to take away what it holds.
        """
        try:
            return cls(
                str(document["name"]),
                tuple(document.get("runs", ())),
                tuple(document.get("keys", ())),
                tuple(document.get("snapshots", ())),
                tuple((item["datastore"], item["path"]) for item in document.get("paths", ())),
            )
        except (LookupError, TypeError, AttributeError) as error:
            raise StoreError(f"a pin in {_FOLDER} is damaged ({error!r}); correct or delete it") from None


class PinRegistry:
    """Pins of one workspace.

    :param store: the workspace's store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, pin: Pin) -> None:
        """Keep a pin, in the place of an earlier one of its name."""
        write_json(self._store, _key(pin.name), {**pin.to_document(), "time": utc_now()})

    def remove(self, name: str) -> None:
        """Take a pin away; an absent one is no error."""
        self._store.delete(_key(name))

    def all(self) -> Iterator[Pin]:
        """Walk all pins.

        :raises StoreError: one cannot be read.
        """
        for info in self._store.list(_FOLDER):
            document = read_json(self._store, info.key, None)
            if document is not None:
                yield Pin.from_document(document)


def _key(name: str) -> str:
    return f"{_FOLDER}{encode_name(name, 'name of a pin')}.json"
