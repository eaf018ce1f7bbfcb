"""Numbered, immutable records under a name: what the registries of datasets and models have in common.

Layout under a registry's folder::

    <name>/<number, 8 digits>.json    a record: written once, never changed
    <name>/notes/<number>.json        what may change about it (description, tags, …), when something did
    <name>/unregistered.json          {"schema", "through"}: versions up to this number don't count

A number is taken by creating its record where there is none, so of several processes each gets its own. A gap
or a number that never shows is fine; a number that meant something else before is not, so unregistering keeps
the records.

A record with ``pending_run`` belongs to a step run that hasn't ended. Only that run sees it, until the run is
committed; if it fails nobody ever does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.exceptions import ConditionFailed
from airflow_azureml.workspace.documents import read_json, update_json, write_json
from airflow_azureml.workspace.names import encode_name

if TYPE_CHECKING:
    from airflow_azureml.workspace.runs import RunRecords
    from airflow_azureml.workspace.store import ObjectStore

Document = dict[str, Any]


class VersionedRecords:
    """Records of one kind.

    :param store: the workspace's store.
    :param folder: where they are, with its slash.
    :param what: what a name is of, for errors ("dataset name").
    :param runs: says which step runs are committed.
    """

    def __init__(self, store: ObjectStore, folder: str, what: str, runs: RunRecords) -> None:
        self._store = store
        self._folder = folder
        self._what = what
        self._runs = runs

    def add(
        self, name: str, make: Callable[[int, Document | None], Document | None], viewer_run: str | None
    ) -> Document | None:
        """Write the record that ``make`` returns under the next free number, and return it.

        :param make: gets the number and the latest record that ``viewer_run`` sees. Returns the record, or
            None to write nothing. Runs again when another process took the number: no other effects.
        """
        while True:
            numbers = self._numbers(name)
            through = self._unregistered_through(name)
            number = max([through, *numbers]) + 1
            record = make(number, self._latest(name, numbers, through, viewer_run))
            if record is None:
                return None
            try:
                write_json(self._store, self._key(name, number), record, if_absent=True)
            except ConditionFailed:
                continue
            return record

    def get(self, name: str, number: int, viewer_run: str | None) -> Document | None:
        """Return one version, or None when the viewer sees no such version."""
        if number <= self._unregistered_through(name):
            return None
        return self._visible(name, number, viewer_run)

    def latest(self, name: str, viewer_run: str | None) -> Document | None:
        """Return the version with the greatest number that the viewer sees, or None."""
        return self._latest(name, self._numbers(name), self._unregistered_through(name), viewer_run)

    def all(self, name: str, viewer_run: str | None) -> list[Document]:
        """Return the versions of a name that the viewer sees, oldest first."""
        through = self._unregistered_through(name)
        found = (self._visible(name, n, viewer_run) for n in self._numbers(name) if n > through)
        return [record for record in found if record is not None]

    def names(self) -> Iterator[str]:
        """Walk the names that have any version, seen or not."""
        last = ""
        for info in self._store.list(self._folder):
            folder, _, file = info.key[len(self._folder) :].partition("/")
            if folder != last and _is_record(file):
                last = folder
                yield read_json(self._store, info.key)["name"]

    def annotate(self, name: str, number: int, change: Callable[[Document], Document]) -> None:
        """Change what may change about a version; see ``update_json``.

        :param change: gets the fields that were changed so far and returns them with the new ones.
        """
        update_json(self._store, self._notes_key(name, number), change, default={})

    def unregister(self, name: str) -> None:
        """Take all present versions of a name out of the registry; later ones get greater numbers."""
        through = max([0, *self._numbers(name)])

        def raise_to(document: Document) -> Document:
            return {"schema": 1, "through": max(through, document["through"])}

        update_json(self._store, self._unregistered_key(name), raise_to, default={"through": 0})

    def _latest(self, name: str, numbers: list[int], through: int, viewer_run: str | None) -> Document | None:
        for number in reversed(numbers):
            if number <= through:
                break
            record = self._visible(name, number, viewer_run)
            if record is not None:
                return record
        return None

    def _visible(self, name: str, number: int, viewer_run: str | None) -> Document | None:
        record: Document | None = read_json(self._store, self._key(name, number), None)
        if record is None:
            return None
        pending = record["pending_run"]
        if pending is not None and pending != viewer_run and not self._runs.is_committed(pending):
            return None
        return {**record, **read_json(self._store, self._notes_key(name, number), {})}

    def _numbers(self, name: str) -> list[int]:
        folder = self._name_folder(name)
        files = (info.key[len(folder) :] for info in self._store.list(folder))
        return [int(file[:8]) for file in files if _is_record(file)]

    def _unregistered_through(self, name: str) -> int:
        through: int = read_json(self._store, self._unregistered_key(name), {"through": 0})["through"]
        return through

    def _name_folder(self, name: str) -> str:
        return f"{self._folder}{encode_name(name, self._what)}/"

    def _key(self, name: str, number: int) -> str:
        return f"{self._name_folder(name)}{number:08d}.json"

    def _notes_key(self, name: str, number: int) -> str:
        return f"{self._name_folder(name)}notes/{number:08d}.json"

    def _unregistered_key(self, name: str) -> str:
        return f"{self._name_folder(name)}unregistered.json"


def _is_record(file: str) -> bool:
    return len(file) == 13 and file[:8].isdigit() and file.endswith(".json")
