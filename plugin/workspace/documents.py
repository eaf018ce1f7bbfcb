"""JSON documents in the store: canonical bytes, and replace-if-unchanged loops over them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from airflow_azureml.model.canonical import canonical_json
from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, StoreError

if TYPE_CHECKING:
    from airflow_azureml.workspace.store import ObjectStore

__all__ = ["MISSING", "canonical_json", "read_json", "update_json", "utc_now", "write_json"]

MISSING: Final[Any] = object()
"""Stands for "no default": None is a document of its own."""

_UPDATE_PATIENCE_S = 30.0
_LONGEST_PAUSE_S = 0.05


def utc_now() -> str:
    """Return the present time as every document writes it: UTC, ISO 8601, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def read_json(store: ObjectStore, key: str, default: Any = MISSING) -> Any:
    """Read a JSON document.

    :param default: returned when there is none.
    :raises ObjectNotFound: there is none, and no default.
    :raises StoreError: the object isn't JSON.
    """
    try:
        data = store.get(key).data
    except ObjectNotFound:
        if default is MISSING:
            raise
        return default
    return _parse(key, data)


def write_json(
    store: ObjectStore, key: str, value: Any, *, if_absent: bool = False, if_match: str | None = None
) -> str:
    """Write a JSON document in canonical form and return its tag; conditions as in ``ObjectStore.put``."""
    return store.put(key, canonical_json(value), if_absent=if_absent, if_match=if_match)


def update_json(store: ObjectStore, key: str, change: Callable[[Any], Any], default: Any = MISSING) -> Any:
    """Replace a document by what ``change`` makes of it, losing nobody else's change, and return the new one.

    :param change: gets the present document, returns the next; runs again whenever somebody else wrote in
        between, so it must have no other effect. It may alter and return what it got. When it raises, all
        stays as it was.
    :param default: what ``change`` gets when there is no document (as a fresh copy each time).
    :raises ObjectNotFound: there is none, and no default.
    :raises ConditionFailed: somebody else's writes kept coming first for half a minute.
    """
    deadline = time.monotonic() + _UPDATE_PATIENCE_S
    pause_s = 0.0005
    while True:
        data, tag = _present(store, key, default)
        value = change(_parse(key, data))
        changed = canonical_json(value)
        if tag is not None and changed == data:
            return value
        try:
            store.put(key, changed, if_absent=tag is None, if_match=tag)
        except ConditionFailed:
            if time.monotonic() > deadline:
                raise
            # Losers come back spread out, else they would all collide again.
            time.sleep(random.uniform(0, pause_s))  # noqa: S311 - spreading, no secret
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        else:
            return value


def _present(store: ObjectStore, key: str, default: Any) -> tuple[bytes, str | None]:
    try:
        stored = store.get(key)
    except ObjectNotFound:
        if default is MISSING:
            raise
        return canonical_json(default), None
    return stored.data, stored.tag


def _parse(key: str, data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise StoreError(
            f"object {key!r} isn't a JSON document ({error}); it was damaged or written by hand"
        ) from error
