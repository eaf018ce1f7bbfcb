"""What a storage service refused, as the package's exceptions.

The clients' own texts quote requests, and with them signatures: none of it is passed on, only the status, the service's word
for the trouble, and ours.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from airflow_azureml.runtime.exceptions import ObjectNotFound, StoreError, UserErrorException
from airflow_azureml.storage.files import FileChanged, StoreBusy

BUSY_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_NO_CONTAINER = frozenset(
    {"ContainerNotFound", "NoSuchBucket", "FilesystemNotFound", "ContainerBeingDeleted"}
)
# The second is Azurite's word for the first.
_DAMAGED = frozenset({"Md5Mismatch", "InvalidOperation"})
# Parts that wait to be put together go when somebody else writes the file.
_OVERTAKEN = frozenset({"InvalidBlockList", "NoSuchUpload"})
# By the name of the class, so that nothing is imported here.
_STATUS_OF = {
    "FileNotFoundError": 404,
    "PermissionDeniedError": 403,
    "UnauthenticatedError": 401,
    "AlreadyExistsError": 409,
    "PreconditionError": 412,
    "NotSupportedError": 501,
}
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z]+)</Code>")
_RETRIES = re.compile(r"after (\d+) retries")
_ON_THE_WIRE = re.compile(
    r"HTTP error|error sending request|error decoding|timed out|connection|broken pipe", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that failed.

    :param status: HTTP status; None where no answer came.
    :param code: the service's word, such as ``ContainerNotFound``.
    :param retried: whether the request was sent more than once.
    :param on_the_wire: whether no answer came, because of the network or of the service.
    """

    status: int | None
    code: str | None = None
    retried: bool = False
    on_the_wire: bool = False

    @property
    def is_absent(self) -> bool:
        """Whether there is no such file in a container that is there."""
        return self.status == 404 and self.code not in _NO_CONTAINER

    @property
    def is_unmet(self) -> bool:
        """Whether a condition of the request didn't hold."""
        return self.status in (304, 412) or (self.status == 409 and self.code in (None, "BlobAlreadyExists"))

    def exception(self, verb: str, path: str, store: str) -> Exception:
        """Return it as it is raised.

        :param verb: what was tried, such as ``read``.
        :param path: the file or folder.
        :param store: the store without credentials.
        """
        where = f"{path!r} in {store}"
        if self.is_absent:
            return ObjectNotFound(path, f"there is no file {where}")
        if self.code in _NO_CONTAINER:
            return StoreError(
                f"cannot {verb} {where}: there is no such container ({self.code}); create it, or correct its name"
            )
        if self.is_unmet and self.code not in ("LeaseIdMissing", "BlobImmutableDueToPolicy"):
            return FileChanged(f"cannot {verb} {where}: it is another file than the one that was looked at")
        if self.status in (401, 403):
            return StoreError(
                f"cannot {verb} {where}: the service refuses ({self._said}); check the connection's credentials "
                "and its permissions on the container"
            )
        if self.code in _DAMAGED:
            return StoreBusy(
                f"cannot {verb} {where}: what arrived doesn't have the MD5 of what was sent; it was damaged on its way, or the "
                "file was written meanwhile; try again"
            )
        if self.code in _OVERTAKEN:
            return StoreBusy(
                f"cannot {verb} {where}: somebody else wrote the same file at the same time; try again"
            )
        if self.on_the_wire or self.status in BUSY_STATUSES:
            return StoreBusy(f"cannot {verb} {where} now: {self._said}; it was tried again for a while")
        return StoreError(f"cannot {verb} {where}: {self._said}")

    @property
    def _said(self) -> str:
        if self.on_the_wire:
            return "no answer from the service"
        return f"status {self.status}" + (f", {self.code}" if self.code else "")


def is_of_client(error: Exception) -> bool:
    """Tell whether obstore raised it; some of its errors are those of Python, without a number of the system's."""
    if isinstance(error, OSError):
        return error.errno is None and not isinstance(error, TimeoutError)
    return isinstance(error, ValueError) or type(error).__module__.startswith("obstore")


def failure_of(error: Exception) -> Failure:
    """Read what obstore raised."""
    text = str(error)
    status, code, retries = _STATUS.search(text), _CODE.search(text), _RETRIES.search(text)
    found = int(status[1]) if status else _STATUS_OF.get(type(error).__name__)
    return Failure(
        status=found,
        code=code[1] if code else None,
        retried=retries is not None and int(retries[1]) > 0,
        on_the_wire=found is None and _ON_THE_WIRE.search(text) is not None,
    )


def exception_of(error: Exception, verb: str, path: str, store: str) -> Exception:
    """Turn what obstore raised into what the package raises; to be raised ``from None``."""
    if isinstance(error, ValueError) or type(error).__name__ == "InvalidPathError":
        return UserErrorException(
            f"path {path[:200]!r} cannot be used in {store}: names with control characters have no place there; rename the file"
        )
    failure = failure_of(error)
    if failure.status is None and not failure.on_the_wire:
        return StoreError(f"cannot {verb} {path!r} in {store}: {type(error).__name__} of the storage client")
    return failure.exception(verb, path, store)


class ForkGuard:
    """Refuses to go on in a process that was forked off one that had used the clients, where they would wait for ever."""

    def __init__(self) -> None:
        self._process: int | None = None

    def check(self) -> None:
        """Raise ``StoreError`` in such a process."""
        here = os.getpid()
        if self._process is None:
            self._process = here
        elif self._process != here:
            raise StoreError(
                "this process was forked from one that had used a remote store; start it with multiprocessing's 'spawn', "
                "or as a program of its own"
            )


FORKS = ForkGuard()
