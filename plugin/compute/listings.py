"""Lists of the files that an output consists of on a store that is no folder here: what they are known by, and in which version.

A store tells a file's version (its etag) in every listing of a folder. The list remembers which content that version has, so that
one listing shows whether an output is still what was written, without reading a byte of it. It also keeps what such a store has
no room for: executable bits and empty folders.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_azureml.model.canonical import canonical_json, digest_of
from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.storage.files import FileInfo
from airflow_azureml.workspace.manifest import FileDigest, TreeManifest
from airflow_azureml.workspace.store import ObjectStore

_SCHEMA = 1
_MD5, _VERSION = "md5:", "etag:"


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file of an output.

    :param path: its name, from the folder that the list is of.
    :param size_bytes: its size.
    :param version: the store's version of it, see :attr:`airflow_azureml.storage.files.FileInfo.version`; None where unknown.
    :param sha256: hex digest of its bytes; None when nobody has read them.
    :param md5: hex MD5 of its bytes, where that is all that is known.
    :param executable: whether its owner may execute it.
    """

    path: str
    size_bytes: int
    version: str | None
    sha256: str | None = None
    md5: str | None = None
    executable: bool = False

    @classmethod
    def known_as(cls, item: FileDigest, version: str | None) -> ListedFile:
        """Make one of a manifest's entry, whatever the entry is known by."""
        text = item.sha256
        sha256 = md5 = None
        if text.startswith(_MD5):
            md5 = text.removeprefix(_MD5)
        elif text.startswith(_VERSION):
            version = text.removeprefix(_VERSION)
        else:
            sha256 = text
        return cls(item.path, item.size_bytes, version, sha256, md5, item.executable)

    @property
    def known_by(self) -> str:
        """What the content is known by: its SHA-256; its MD5, or the store's version, for bytes that never came here."""
        if self.sha256 is not None:
            return self.sha256
        return f"{_VERSION}{self.version}" if self.md5 is None else f"{_MD5}{self.md5}"

    @property
    def entry(self) -> FileDigest:
        """The file as an entry of a manifest."""
        return FileDigest(self.path, self.known_by, self.size_bytes, self.executable)

    def is_version(self, found: FileInfo) -> bool:
        """Whether a file as a store shows it is this one, unchanged."""
        return self.version == found.version and self.size_bytes == found.size_bytes


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of an output on a store, and what lies beside it.

    :param files: by name.
    :param directories: its empty folders.
    """

    files: Mapping[str, ListedFile]
    directories: tuple[str, ...] = ()

    @classmethod
    def of(cls, files: Iterable[ListedFile], directories: Iterable[str] = ()) -> Listing:
        """Make a list."""
        return cls({item.path: item for item in files}, tuple(sorted(directories)))

    @property
    def manifest(self) -> TreeManifest:
        """The files as a manifest."""
        return TreeManifest([item.entry for item in self.files.values()], self.directories)

    def to_document(self) -> dict[str, Any]:
        """Return the list as JSON data."""
        rows = sorted(self.files.values(), key=lambda item: item.path)
        return {
            "schema": _SCHEMA,
            "kind": "listing",
            "files": [
                [item.path, item.size_bytes, item.version, item.sha256, item.md5, item.executable]
                for item in rows
            ],
            "directories": list(self.directories),
        }

    @classmethod
    def from_document(cls, document: Any) -> Listing:
        """Read what :meth:`to_document` wrote.

        :raises AzureMLException: it isn't such a document.
        """
        try:
            found = document["schema"], document["kind"]
            listing = cls.of([ListedFile(*row) for row in document["files"]], document["directories"])
        except (KeyError, TypeError) as error:
            raise _no_list(repr(error)) from None
        if found != (_SCHEMA, "listing"):
            raise _no_list(f"it is of schema {found}")
        return listing


def save_listing(store: ObjectStore, listing: Listing) -> str:
    """Keep a list in a workspace; return its digest.

    :param store: the workspace's store.
    """
    document = listing.to_document()
    digest = digest_of(document)
    # Content-addressed: whoever wrote it first wrote the same.
    if not store.exists(contents_key(digest)):
        store.put(contents_key(digest), canonical_json(document))
    return digest


def load_listing(store: ObjectStore, digest: str) -> Listing:
    """Read a list.

    :param store: the workspace's store.
    :raises AzureMLException: it isn't kept (``ObjectNotFound``), or damaged.
    """
    try:
        return Listing.from_document(json.loads(store.get(contents_key(digest)).data))
    except ValueError as error:
        raise AzureMLException(f"the list of an output's files {digest} is damaged ({error})") from None


def contents_key(digest: str) -> str:
    """Return the key under which a list of files is kept."""
    return f"manifests/{digest[:2]}/{digest}.json"


def _no_list(found: str) -> AzureMLException:
    return AzureMLException(
        f"not the list of an output's files ({found}); it was damaged or another version wrote it"
    )
