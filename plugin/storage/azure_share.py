"""Requests to one Azure file share, in the words of a store: what :mod:`.azure_files` is made of."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.storage.azure_containers import quiet_sdk
from airflow_azureml.storage.failures import Failure
from airflow_azureml.storage.files import FileChanged, FileInfo, check_path, joined

if TYPE_CHECKING:
    from azure.storage.fileshare import ShareDirectoryClient, ShareFileClient, ShareServiceClient

    from airflow_azureml.storage.credentials import AzureAccount

RANGE_BYTES = 4 << 20
"""Most that the service takes in one request."""

_COPY_LOOKS_EVERY_S = 0.2
_COPY_LASTS_AT_MOST_S = 6 * 3600.0
_ABSENT = frozenset({"ResourceNotFound", "ParentNotFound", "ResourceTypeMismatch"})
_NO_SHARE = frozenset({"ShareNotFound", "ShareBeingDeleted"})
_EXISTS = frozenset({"ResourceAlreadyExists"})


def share_service(account: AzureAccount) -> ShareServiceClient:
    """Return a client of an account's file service that gives up after half a minute of trouble."""
    from azure.storage.fileshare import ShareServiceClient

    quiet_sdk()
    return ShareServiceClient(
        account.endpoint,
        credential=account.sdk_credential(),
        # What an identity may do is decided by its role, not by the permissions of each file.
        token_intent="backup",  # noqa: S106 - no token
        # Otherwise the service takes the dots off, and "a." would be "a".
        allow_trailing_dot=True,
        allow_source_trailing_dot=True,
        initial_backoff=1,
        increment_base=2,
        retry_total=3,
        random_jitter_range=1,
        connection_timeout=10,
        read_timeout=60,
    )


class Share:
    """A folder of a share. Safe for several threads.

    :param account: the storage account, as its file service is reached.
    :param share: the share.
    :param root: folder in it that all paths are relative to.
    """

    def __init__(self, account: AzureAccount, share: str, root: str) -> None:
        self.uri = f"azurefile://{joined(f'{account.account}/{share}', root)}"
        self.can_copy = account.token_credential() is None
        """Whether the service copies by itself: it needs what a key or a SAS proves."""
        self._root = root
        service = share_service(account)
        # A store is dropped, not closed.
        weakref.finalize(self, service.close)
        self._share = service.get_share_client(share)
        self._made: set[str] = set()

    def look(self, path: str) -> FileInfo | None:
        """Look at a file."""
        with self._errors("look at", path):
            found = self._unless_absent(self._file(path).get_file_properties)
        return None if found is None else _info(path, found)

    def has_folder(self, path: str) -> bool:
        """Tell whether there is a folder."""
        with self._errors("look at", path):
            return self._unless_absent(self._folder(path).get_directory_properties) is not None

    def entries(self, folder: str) -> list[tuple[str, FileInfo | None]]:
        """Return what a folder holds in the order of its files' paths: names with a file, or None for a folder."""

        def listed() -> list[tuple[str, FileInfo | None]]:
            found = self._folder(folder).list_directories_and_files(include=["timestamps", "Etag"])
            return [
                (each.name, None if each.is_directory else _info(joined(folder, each.name), each))
                for each in found
            ]

        with self._errors("list", folder):
            entries = self._unless_absent(listed) or []
        return sorted(entries, key=lambda item: item[0] + "/" if item[1] is None else item[0])

    def read(self, path: str, at: int, size_bytes: int, etag: str | None) -> bytes:
        """Read a range of a file.

        :raises FileChanged: the file has another etag.
        """
        with self._errors("read", path):
            download = self._file(path).download_file(at, size_bytes, max_concurrency=1)
            if etag is not None and _plain(download.properties.etag) != etag:
                raise self.changed(path)
            data: bytes = download.readall()
            return data

    def create(self, path: str, size_bytes: int, md5: str | None = None) -> None:
        """Make a file of zeros."""
        from azure.storage.fileshare import ContentSettings

        with self._errors("write", path):
            settings = ContentSettings(content_md5=bytearray.fromhex(md5)) if md5 else None
            self._file(path).create_file(size_bytes, content_settings=settings)

    def resize(self, path: str, size_bytes: int) -> None:
        """Give a file another size."""
        with self._errors("write", path):
            self._file(path).resize_file(size_bytes)

    def put(self, path: str, at: int, data: bytes) -> None:
        """Fill a range of a file."""
        with self._errors("write", path):
            # With its MD5, which the service checks.
            self._file(path).upload_range(data, at, len(data), validate_content=True)

    def rename(self, source: str, target: str) -> FileInfo:
        """Give a file another name, over one that is there; its folders are made."""
        parent = target.rpartition("/")[0]

        def move() -> bool:
            self.make_folders(parent)
            self._file(source).rename_file(joined(self._root, target), overwrite=True)
            return True

        with self._errors("write", target):
            if self._unless_absent(move) is None:
                # Somebody removed a folder that was there.
                self._made.clear()
                move()
            return _info(target, self._file(target).get_file_properties())

    def copy(self, source: str, target: str, size_bytes: int) -> None:
        """Copy a file by the service, and wait for the end."""
        with self._errors("copy", source):
            file = self._file(target)
            state = file.start_copy_from_url(self._file(source).url)["copy_status"]
            until = time.monotonic() + _COPY_LASTS_AT_MOST_S
            while state == "pending":
                if time.monotonic() > until:
                    raise StoreError(
                        f"{self.uri} has not copied {source!r} within {_COPY_LASTS_AT_MOST_S:.0f} s"
                    )
                time.sleep(_COPY_LOOKS_EVERY_S)
                state = file.get_file_properties().copy.status
            if state != "success" or file.get_file_properties().size != size_bytes:
                raise StoreError(f"{self.uri} did not copy {source!r}: the copy ended as {state!r}")

    def delete(self, path: str) -> None:
        """Remove a file; an absent one, or a folder, is no error."""
        with self._errors("delete", path):
            self._unless_absent(self._file(path).delete_file)

    def delete_folder(self, path: str) -> None:
        """Remove an empty folder; an absent one is no error."""
        self._made.clear()
        with self._errors("remove", path):
            self._unless_absent(self._folder(path).delete_directory)

    def make_folders(self, path: str) -> None:
        """Make a folder, and those that it lies in."""
        with self._errors("make", path):
            self._make(joined(self._root, path))

    def changed(self, path: str) -> FileChanged:
        """Return the error for a file that is another one now."""
        return FileChanged(
            f"file {path!r} in {self.uri} is another one than the one that was looked at; try again"
        )

    def _make(self, place: str) -> None:
        from azure.core.exceptions import ResourceExistsError

        if not place or place in self._made:
            return
        self._make(place.rpartition("/")[0])
        try:
            self._share.get_directory_client(place).create_directory()
        except ResourceExistsError as error:
            if _code(error) not in _EXISTS:
                raise
        self._made.add(place)

    def _file(self, path: str) -> ShareFileClient:
        return self._share.get_file_client(joined(self._root, check_path(path)))

    def _folder(self, path: str) -> ShareDirectoryClient:
        return self._share.get_directory_client(joined(self._root, check_path(path)) or None)

    def _unless_absent(self, request: Any) -> Any:
        """Return what a request brings, None where there is no such file or folder in the share."""
        from azure.core.exceptions import HttpResponseError

        try:
            result = request()
        except HttpResponseError as error:
            code = _code(error)
            # The answer to HEAD has no body, and not every server puts the word into its header.
            if code in _ABSENT or (error.status_code == 404 and code not in _NO_SHARE):
                return None
            raise
        return True if result is None else result

    @contextmanager
    def _errors(self, verb: str, path: str) -> Iterator[None]:
        """Turn the client's errors into those of a store, without its texts, which quote requests."""
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            yield
        except HttpResponseError as error:
            code = _code(error)
            if code in _NO_SHARE:
                raise StoreError(
                    f"cannot {verb} {path!r} in {self.uri}: there is no such share; create it, or correct its name"
                ) from None
            raise Failure(error.status_code, code).exception(verb, path, self.uri) from None
        except AzureError:
            raise Failure(None, on_the_wire=True).exception(verb, path, self.uri) from None


def _info(path: str, found: Any) -> FileInfo:
    written = found.last_write_time or found.last_modified
    if isinstance(written, str):
        # A listing's, which the client leaves as it came.
        written = datetime.fromisoformat(written)
    md5 = getattr(getattr(found, "content_settings", None), "content_md5", None)
    return FileInfo(
        path, int(found.size), written.timestamp(), _plain(found.etag), bytes(md5).hex() if md5 else None
    )


def _plain(etag: str | None) -> str | None:
    # Quoted in headers, bare in listings.
    return None if etag is None else etag.strip('"')


def _code(error: Any) -> str | None:
    code = getattr(error, "error_code", None)
    return None if code is None else str(getattr(code, "value", code))
