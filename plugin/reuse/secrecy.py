"""Secrets in what a result depends on: they count, and are never written down.

A text in which the deployment's masker finds a secret enters keys as a digest under a key of the workspace. Equal secrets give
equal digests, so a step that was given the same password is reused; and without the workspace nobody can try passwords
against a digest.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, StoreError
from airflow_azureml.workspace.store import ObjectStore

KEY = "secrecy/key"
"""Where a workspace keeps its key."""

KEY_BYTES = 32

Redact = Callable[[str], str]
"""Returns a text with the secrets in it masked."""


class Secrecy:
    """Finds secrets in texts, and puts keyed digests in their place.

    :param redact: the deployment's masker.
    :param key: returns the workspace's key; called when there is something to hide.
    """

    def __init__(self, redact: Redact, key: Callable[[], bytes]) -> None:
        self._redact = redact
        self._key_of = key
        self._key: bytes | None = None

    def finds(self, text: str) -> bool:
        """Whether a text holds a secret."""
        return self._redact(text) != text

    def digest(self, text: str) -> str:
        """Return the keyed digest of a text, hex."""
        if self._key is None:
            self._key = self._key_of()
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _no_key() -> bytes:
    raise StoreError("nothing is hidden where nothing is known to be secret")


NO_SECRETS = Secrecy(lambda text: text, _no_key)
"""Finds none."""


def workspace_key(store: ObjectStore, *, create: bool = True) -> bytes:
    """Return the key of a workspace.

    Where there is none and none can be made, a key is returned that nobody else has: nothing is found under it, so the step runs.

    :param create: make one when there is none yet.
    """
    own = secrets.token_bytes(KEY_BYTES)
    try:
        found, tag = _read(store)
        if found is not None or not create:
            return found or own
        # One that was damaged is replaced: steps that are given secrets run once more.
        store.put(KEY, own, if_absent=tag is None, if_match=tag)
    except ConditionFailed:
        # Somebody else was first, and the first stays.
        return workspace_key(store, create=False)
    except (StoreError, OSError):
        pass
    return own


def _read(store: ObjectStore) -> tuple[bytes | None, str | None]:
    """Return the key, and the tag of what is kept in its place."""
    try:
        stored = store.get(KEY)
    except ObjectNotFound:
        return None, None
    return (stored.data if len(stored.data) == KEY_BYTES else None), stored.tag


def redacted(value: Any, redact: Redact) -> Any:
    """Return JSON data with the secrets in it masked, for records that people read.

    :param redact: the deployment's masker.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: redacted(item, redact) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item, redact) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and redact(str(value)) != str(value):
        return redact(str(value))
    return value
