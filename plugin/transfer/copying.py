"""Copying one file: by the service where it can, else through this machine, checked on both ends."""

from __future__ import annotations

import hashlib
import secrets
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from airflow_azureml.runtime.dataset.walking import ARRIVING
from airflow_azureml.runtime.exceptions import ObjectNotFound, StepCanceled, StoreError
from airflow_azureml.storage.azure_blob_files import AzureBlobFiles
from airflow_azureml.storage.azure_copy import server_copy
from airflow_azureml.storage.files import FileChanged, FileInfo, FileStore, FileWriter
from airflow_azureml.transfer.azure_blocks import SMALL_BYTES, BlockWriter, put_blob
from airflow_azureml.transfer.checksums import BytesDamaged, Sums, Wanted
from airflow_azureml.transfer.pace import Pace, Stopped
from airflow_azureml.transfer.reading import RangeReader
from airflow_azureml.transfer.request import TransferRequest
from airflow_azureml.transfer.spool import Pair

TRIES = 4
FIRST_PAUSE_S = 0.5
# What a service copies from another account while the request waits.
_AT_ONCE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of one file.

    :param path: the file, in the transfer.
    :param source: version of the source's file.
    :param target: the target's file; None in a dry run.
    :param what: ``copied``, ``skipped`` or ``kept``.
    :param size_bytes: its size.
    :param md5: hex MD5 of its bytes, where it became known.
    :param verified: its bytes are known to be the source's.
    :param repeated: how many tries failed before.
    """

    path: str
    source: str
    target: FileInfo | None
    what: str
    size_bytes: int
    md5: str | None = None
    verified: bool = False
    repeated: int = 0


class FileCopier:
    """Copies the files of one transfer; safe for several threads.

    :param request: the transfer.
    :param pace: bandwidth limit and way out.
    :param halt: set when the transfer ends early.
    :param ranges: how many ranges of large files at once, of each store.
    :param tell: takes a line for the log.
    """

    def __init__(
        self,
        request: TransferRequest,
        pace: Pace,
        halt: threading.Event,
        *,
        ranges: int,
        tell: Callable[[str], None],
    ) -> None:
        self._request = request
        self._pace = pace
        self._halt = halt
        self._tell = tell
        self._source = RangeReader(request.source, ranges)
        self._target = RangeReader(request.target, ranges)

    def close(self) -> None:
        """End the threads."""
        self._source.close()
        self._target.close()

    def copy(self, pair: Pair) -> Copied:
        """Bring a file to the target, in several tries if need be.

        :raises Stopped: the transfer is being ended.
        :raises StoreError: it could not be done; ``transient`` says whether it may be another time.
        """
        for number in range(TRIES):
            try:
                return replace(self._try(pair), repeated=number)
            except StoreError as error:
                if not error.transient or number == TRIES - 1:
                    raise
                self._tell(f"once more: {pair.path!r}: {error}")
                self._pace.sleep(FIRST_PAUSE_S * 2**number)
                if isinstance(error, FileChanged):
                    pair = self._look_again(pair)
        raise AssertionError(TRIES)

    def _try(self, pair: Pair) -> Copied:
        request = self._request
        if pair.target is not None:
            md5 = self._common_md5(pair, pair.target)
            if md5 is not None:
                return _outcome(pair, pair.target, "skipped", md5=md5, verified=True)
            if not request.overwrite:
                return _outcome(pair, pair.target, "kept")
        if request.dry_run:
            return _outcome(pair, None, "copied")
        return self._by_service(pair) or self._through_here(pair)

    def _look_again(self, pair: Pair) -> Pair:
        path = self._request.source_file(pair.path)
        info = self._request.source.stat(path)
        if info is None:
            raise ObjectNotFound(
                path, f"{path!r} on {self._request.source.uri} was deleted during the transfer"
            )
        return replace(pair, source=info)

    def _common_md5(self, pair: Pair, target: FileInfo) -> str | None:
        """Return the MD5 that both files have; None if they differ or nothing can be said without reading a remote file."""
        if pair.source.size_bytes != target.size_bytes or self._request.compare != "content":
            return None
        request = self._request
        ends = [
            (request.source, request.source_file(pair.path), pair.source),
            (request.target, request.target_file(pair.path), target),
        ]
        # The remote side first: without an MD5 there, hashing the local file is for nothing.
        ends.sort(key=lambda end: end[0].local_root is not None)
        first = self._md5(*ends[0])
        return first if first is not None and first == self._md5(*ends[1]) else None

    def _md5(self, store: FileStore, path: str, info: FileInfo) -> str | None:
        if info.md5 is not None:
            return info.md5
        if store.local_root is None:
            now = store.stat(path)
            return now.md5 if now is not None and now.version == info.version else None
        digest = hashlib.md5(usedforsecurity=False)
        for piece in store.stream(path, etag=info.etag):
            self._pace.take(0)
            digest.update(piece)
        return digest.hexdigest()

    def _by_service(self, pair: Pair) -> Copied | None:
        request = self._request
        if request.source.local_root is not None or request.target.local_root is not None:
            return None
        source, target = request.source_file(pair.path), request.target_file(pair.path)
        self._pace.take(0)
        try:
            info = self._copied_by_service(pair, source, target)
        except StepCanceled:
            raise Stopped from None
        if info is None:
            return None
        self._check_size(pair, info)
        # What the service copies inside of itself it checks itself.
        return _outcome(pair, info, "copied", md5=pair.source.md5, verified=True)

    def _copied_by_service(self, pair: Pair, source: str, target: str) -> FileInfo | None:
        request = self._request
        first = target
        if _appears_early(request.source, request.target, pair.source.size_bytes):
            first = f"{ARRIVING}/{secrets.token_hex(8)}"
        origin = replace(pair.source, path=source)
        info = server_copy(
            request.source,
            source,
            request.target,
            first,
            stopping=self._halt,
            tell=self._tell,
            info=origin,
        )
        if info is None or first == target:
            return info
        try:
            return request.target.copy(first, target)
        finally:
            request.target.delete(first)

    def _through_here(self, pair: Pair) -> Copied:
        request = self._request
        path, source = request.target_file(pair.path), request.source_file(pair.path)
        sums = Sums(pair.source.md5, self._sums_for(pair))
        pieces = sums.over(self._paced(self._source.pieces(source, pair.source)))
        info = self._write(pair, path, pieces, sums)
        self._check_size(pair, info)
        if sums.wanted.read_back:
            self._check_arrived(path, info, sums.crc)
        whole = request.source.local_root is not None or sums.checked
        arrived = sums.wanted.service or sums.wanted.read_back or request.target.local_root is not None
        verified = request.verify == "checksum" and whole and arrived
        return _outcome(pair, info, "copied", md5=sums.md5, verified=verified)

    def _sums_for(self, pair: Pair) -> Wanted:
        """Decide which checksums show that the target has what the source had."""
        request = self._request
        if request.verify != "checksum":
            return Wanted()
        to_local = request.target.local_root is not None
        service = isinstance(request.target, AzureBlobFiles)
        return Wanted(
            md5=pair.source.md5 is not None or service,
            service=service,
            # What this machine writes to its own disk it would read back from its own memory.
            read_back=not service and (not to_local or request.source.local_root is not None),
        )

    def _write(self, pair: Pair, path: str, pieces: Iterable[bytes], sums: Sums) -> FileInfo:
        target = self._request.target
        if (
            isinstance(target, AzureBlobFiles)
            and sums.wanted.service
            and pair.source.size_bytes <= SMALL_BYTES
        ):
            data = b"".join(pieces)
            return put_blob(target, path, data, sums.check(pair.path, self._request.source))
        with self._writer(path, pair.source.size_bytes, sums) as file:
            for piece in pieces:
                file.write(piece)
            # Before it is closed: what came damaged out of the source never appears on the target.
            sums.check(pair.path, self._request.source)
            return file.close()

    def _writer(self, path: str, size_bytes: int, sums: Sums) -> FileWriter:
        target = self._request.target
        if isinstance(target, AzureBlobFiles) and size_bytes > SMALL_BYTES:
            return BlockWriter(target, path, size_bytes, sums)
        return target.writer(path)

    def _paced(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._pace.take(len(piece))
            yield piece

    def _check_size(self, pair: Pair, info: FileInfo) -> None:
        if info.size_bytes != pair.source.size_bytes:
            raise FileChanged(
                f"{pair.path!r} has {pair.source.size_bytes} bytes on {self._request.source.uri} "
                f"and {info.size_bytes} arrived on {self._request.target.uri}"
            )

    def _check_arrived(self, path: str, info: FileInfo, crc: int) -> None:
        found = 0
        for piece in self._target.pieces(path, info):
            self._pace.take(0)
            found = zlib.crc32(piece, found)
        if found != crc:
            self._request.target.delete(path)
            raise BytesDamaged(
                f"{path!r} arrived damaged on {self._request.target.uri} and was deleted there: "
                f"CRC-32 {found:08x} instead of {crc:08x}"
            )


def _appears_early(source: FileStore, target: FileStore, size_bytes: int) -> bool:
    """Tell whether the service shows a copy under its name while it is still being made: a large one from another account."""
    return (
        isinstance(source, AzureBlobFiles)
        and isinstance(target, AzureBlobFiles)
        and source.rest.account.endpoint != target.rest.account.endpoint
        and size_bytes > _AT_ONCE_BYTES
    )


def _outcome(
    pair: Pair, target: FileInfo | None, what: str, *, md5: str | None = None, verified: bool = False
) -> Copied:
    return Copied(pair.path, pair.source.version, target, what, pair.source.size_bytes, md5, verified)
