"""The ``path`` argument of the dataset factories: every form v1 takes, turned into entries of a definition.

Nothing is looked up on a datastore here, and nothing has to exist: a DAG file must parse on a machine that has
no copy of the data. A relative local path is made absolute against

1. the folder of the file that calls the factory, when it is there (never inside a running step),
2. else the current directory, when it is there,
3. else the folder of the calling file again, so that the machine that declares a dataset and the one that reads
   it agree on where the data has to be. Inside a step, and without a calling file, it is the current directory.
"""

from __future__ import annotations

import os
import re
import sys
from types import FrameType
from typing import Any, Sequence
from urllib.parse import parse_qs, unquote, urlsplit

from airflow_azureml.runtime import service
from airflow_azureml.runtime.exceptions import UserErrorException

_REMOTE_SCHEMES = ("http", "https", "adl", "wasb", "wasbs", "abfs", "abfss")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+)://")
_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__))
_FORMS = "a local path, a file:// or https:// URL, (datastore, path), a DataPath or a DataReference"


def path_entries(path: object) -> list[dict[str, Any]]:
    """Turn a ``path`` argument into path entries.

    :param path: one form or a list of them.
    :raises UserErrorException: none of v1's forms, or forms that don't go together.
    """
    given: Sequence[object] = path if isinstance(path, list) else [path]
    if not given:
        raise UserErrorException("path is an empty list; give %s" % _FORMS)
    entries = [_entry(item) for item in given]
    kinds = {next(iter(entry)) for entry in entries}
    if len(kinds) > 1:
        raise UserErrorException(
            "one dataset reads datastores, local files or URLs, not several of these; found %s"
            % ", ".join(sorted(kinds))
        )
    return entries


def datastore_target(target: object) -> tuple[str, str]:
    """Turn the ``target`` of an upload into a datastore's name and a path on it.

    :param target: a datastore, ``(datastore, path)``, a DataPath or a DataReference.
    :raises UserErrorException: anything else.
    """
    if _datastore_name(target) is not None and not hasattr(target, "path_on_datastore"):
        target = (target, "")
    entry = None if isinstance(target, (str, os.PathLike)) else _datastore_entry(target)
    if entry is None:
        raise UserErrorException("target is a datastore, (datastore, path) or a DataPath, not %r" % (target,))
    return entry["datastore"], entry["path"]


def datastore_query(query: object) -> tuple[str, object]:
    """Turn the ``query`` argument of ``from_sql_query`` into a datastore's name and the statement.

    :param query: ``(datastore, text)``, a DataPath whose path is the statement (v1), or a SqlDataReference with a query.
    :raises UserErrorException: anything else.
    """
    if isinstance(query, list) and len(query) == 1:
        query = query[0]
    if isinstance(query, tuple) and len(query) == 2:
        store, text = query
    else:
        store = getattr(query, "datastore", None) or getattr(query, "datastore_name", None)
        text = getattr(query, "sql_query", None) or getattr(query, "path_on_datastore", None)
    name = store if isinstance(store, str) and store else _datastore_name(store)
    if name is None or text is None:
        raise UserErrorException(
            "query is (datastore, 'select …'), or a SqlDataReference with sql_query, not %r" % (query,)
        )
    return name, text


def clean_datastore_path(path: object) -> str:
    """Return a path below a datastore's root in its one spelling: no leading ``/`` or ``./``, no ``..``.

    :raises UserErrorException: it is no text, or would leave the datastore.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UserErrorException("a path on a datastore is text, not %r" % (path,))
    text = os.fspath(path)
    segments = [segment for segment in text.split("/") if segment not in ("", ".")]
    if ".." in segments or "\0" in text:
        raise UserErrorException("the path %r would leave the datastore; write it without '..'" % (text,))
    return "/".join(segments)


def _entry(item: object) -> dict[str, Any]:
    if isinstance(item, (str, os.PathLike)):
        return _text_entry(os.fspath(item))
    entry = _datastore_entry(item)
    if entry is None:
        raise UserErrorException("path is %r; give %s" % (item, _FORMS))
    return entry


def _datastore_entry(item: object) -> dict[str, Any] | None:
    if isinstance(item, tuple):
        if len(item) != 2:
            return None
        name = _datastore_name(item[0])
        return None if name is None else {"datastore": name, "path": clean_datastore_path(item[1])}
    if not hasattr(item, "path_on_datastore"):
        return None
    # DataPath and DataReference, known by v1's attributes: the classes live in a layer above this one.
    name = getattr(item, "datastore_name", None)
    if not isinstance(name, str):
        name = _datastore_name(getattr(item, "datastore", None))
    if name is None:
        return None
    return {"datastore": name, "path": clean_datastore_path(item.path_on_datastore or "")}


def _datastore_name(datastore: object) -> str | None:
    if isinstance(datastore, str):
        return None
    name = getattr(datastore, "name", None)
    return name if isinstance(name, str) and name else None


def _text_entry(text: str) -> dict[str, Any]:
    if not text:
        raise UserErrorException("path is an empty text; give %s" % _FORMS)
    if "\0" in text:
        raise UserErrorException("the path %r holds a NUL character" % (text,))
    scheme = _SCHEME.match(text)
    if scheme is None:
        return {"local": _absolute(text)}
    if scheme.group(1).lower() == "file":
        return {"local": _file_url_path(text)}
    if scheme.group(1).lower() not in _REMOTE_SCHEMES:
        raise UserErrorException(
            "the scheme of a URL is one of file, %s; not %s" % (", ".join(_REMOTE_SCHEMES), scheme.group(1))
        )
    return {"url": _checked_url(text)}


def _file_url_path(url: str) -> str:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise UserErrorException("%r is no URL of a file on this machine; write file:///folder/file" % (url,))
    return os.path.normpath(path)


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if "sig" in parse_qs(parts.query):
        raise UserErrorException(
            "the URL of %s carries a signature (SAS); register the container as a datastore and use "
            "(datastore, path): secrets don't belong into a dataset's definition" % parts.hostname
        )
    if parts.password:
        raise UserErrorException("the URL of %s carries a password; leave it out" % parts.hostname)
    return url


def _absolute(path: str) -> str:
    expanded = os.path.expanduser(path)
    if os.path.isabs(expanded):
        return os.path.normpath(expanded)
    folders = [os.getcwd()]
    beside = None if service.is_online() else _calling_folder()
    if beside is not None:
        folders.insert(0, beside)
    literal = os.path.dirname(expanded.split("*", 1)[0]) if "*" in expanded else expanded
    for folder in folders:
        if os.path.lexists(os.path.join(folder, literal)):
            return os.path.normpath(os.path.join(folder, expanded))
    return os.path.normpath(os.path.join(folders[0], expanded))


def _calling_folder() -> str | None:
    """Return the folder of the file outside this package that called in, or None for a prompt or notebook."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to look at one's callers
    while frame is not None:
        name = frame.f_code.co_filename
        if not os.path.abspath(name).startswith(_OWN_FOLDER + os.sep):
            return os.path.dirname(os.path.abspath(name)) if os.path.isfile(name) else None
        frame = frame.f_back
    return None
