"""One way to write a value as JSON text, so that equal values have equal bytes and equal digests.

Keys are sorted by code point, there is no white space, text stays unescaped. What JSON cannot say exactly
(NaN, infinities, keys that are not text, foreign types) is refused rather than approximated.
"""

from __future__ import annotations

import hashlib
import json

__all__ = ["canonical_json", "digest_of"]

_SCALARS = (str, int, float, bool, type(None))


def canonical_json(value: object) -> bytes:
    """Write a value as canonical JSON.

    :param value: JSON data; tuples count as lists.
    :raises ValueError: a number is not finite.
    :raises TypeError: something in it is not JSON data, or a key is not text.
    """
    _refuse_lossy_keys(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # File names may hold lone surrogates, which UTF-8 cannot; their escapes are valid JSON and read back equal.
    return text.encode("utf-8", "backslashreplace")


def digest_of(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON, as lower-case hex.

    :param value: JSON data, see :func:`canonical_json`.
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _refuse_lossy_keys(value: object) -> None:
    # json.dumps writes the key 1 as "1": two different values would share one text, and one digest.
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a JSON object's key is text, not {key!r}")
            if not isinstance(item, _SCALARS):
                _refuse_lossy_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            if not isinstance(item, _SCALARS):
                _refuse_lossy_keys(item)
