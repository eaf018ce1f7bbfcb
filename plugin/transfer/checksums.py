"""The checksums of bytes that pass by."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from airflow_azureml.runtime.exceptions import StoreError, TransientError
from airflow_azureml.storage.files import FileStore


class BytesDamaged(TransientError, StoreError):
    """Bytes that arrived are not those that were sent; another try may bring them whole."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shows that a file arrived as it was.

    :param md5: its MD5 is computed, and compared with that of the source if it has one.
    :param service: the target's service is told checksums, and refuses what doesn't match.
    :param read_back: the file is read from the target and its CRC-32 compared.
    """

    md5: bool = False
    service: bool = False
    read_back: bool = False


class Sums:
    """Computes what is wanted of a file.

    :param expected_md5: what the source says; None where it doesn't.
    """

    def __init__(self, expected_md5: str | None, wanted: Wanted) -> None:
        self.wanted = wanted
        self._expected = expected_md5
        self._digest = hashlib.md5(usedforsecurity=False) if wanted.md5 else None
        self.crc = 0
        self.md5: str | None = None
        self.checked = False

    def over(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass pieces on."""
        for piece in pieces:
            if self.wanted.read_back:
                self.crc = zlib.crc32(piece, self.crc)
            if self._digest is not None:
                self._digest.update(piece)
            yield piece

    def check(self, path: str, source: FileStore) -> str:
        """Compare with what the source says, after the last piece, and return the MD5; empty text where none is wanted.

        :raises BytesDamaged: it is something else.
        """
        if self._digest is None:
            return ""
        self.md5 = self._digest.hexdigest()
        if self._expected is None:
            return self.md5
        if self.md5 != self._expected:
            raise BytesDamaged(
                f"{path!r} came damaged from {source.uri}: MD5 {self.md5} instead of {self._expected}, "
                "which the store keeps with it"
            )
        self.checked = True
        return self.md5
