"""How the names users choose become segments of keys: confined, legible, never two names on one segment."""

from __future__ import annotations

import hashlib
from urllib.parse import quote, unquote

from airflow_azureml.runtime.exceptions import UserErrorException

MAX_NAME_CHARACTERS = 255
_LONGEST_ENCODED = 180
_HASH_MARK = "~"


def encode_name(name: object, what: str = "name") -> str:
    """Return the key segment of a name.

    Letters, digits, ``_``, ``-`` and inner dots stay; all else is percent-encoded UTF-8, so slashes, ``..``
    and control characters can name nothing else. An encoding over 180 characters is cut and ends with ``~``
    and the name's SHA-256; ``~`` appears in no other encoding, so two names never share a segment.

    :param what: what the name is of, for the error ("dataset name").
    :raises UserErrorException: not text, empty, longer than 255 characters, or not valid Unicode.
    """
    if not isinstance(name, str) or not name:
        raise UserErrorException(f"{what} must be a non-empty text, found {name!r}")
    if len(name) > MAX_NAME_CHARACTERS:
        raise UserErrorException(
            f"{what} {name[:40]!r}… has {len(name)} characters, at most {MAX_NAME_CHARACTERS} are possible"
        )
    try:
        encoded = quote(name, safe="").replace("~", "%7E")
    except UnicodeEncodeError as error:
        raise UserErrorException(f"{what} {name!r} isn't valid Unicode") from error
    # Only segments that begin or end with a dot are special to file systems or object stores.
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if encoded.endswith("."):
        encoded = encoded[:-1] + "%2E"
    if len(encoded) <= _LONGEST_ENCODED:
        return encoded
    return encoded[:100] + _HASH_MARK + hashlib.sha256(name.encode()).hexdigest()


def decode_name(segment: str) -> str | None:
    """Return the name a segment stands for, or None when the segment holds only its hash."""
    return None if _HASH_MARK in segment else unquote(segment)
