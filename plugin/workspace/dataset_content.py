"""What the files of a dataset held when a version was registered, so that the version can be told from what is there now.

Layout: ``registry/datasets/contents/<digest>.json``, ``{"schema", "digest", "files"}``. Of each file its name below the dataset's
root, its size and what its content is known by: ``sha256:…``, or ``version:…`` of a remote file, which nobody reads for this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_azureml.model.canonical import digest_of
from airflow_azureml.runtime.exceptions import ConditionFailed
from airflow_azureml.workspace.documents import read_json, write_json
from airflow_azureml.workspace.hashing import hash_file

if TYPE_CHECKING:
    from airflow_azureml.runtime.dataset.resolve import ResolvedFile
    from airflow_azureml.workspace.store import ObjectStore

_FOLDER = "registry/datasets/contents/"
_SHA256 = "sha256:"


@dataclass(frozen=True, slots=True)
class ContentFile:
    """A file of a dataset.

    :param name: below the dataset's root.
    :param size_bytes: its size; negative when it wasn't known.
    :param known_by: ``sha256:…`` or ``version:…``.
    """

    name: str
    size_bytes: int
    known_by: str


@dataclass(frozen=True, slots=True)
class DatasetContent:
    """The files of a dataset at one moment.

    :param files: in the dataset's order.
    """

    files: tuple[ContentFile, ...]

    @classmethod
    def of(cls, files: Sequence[ResolvedFile], sha256: Callable[[Path], str] | None = None) -> DatasetContent:
        """Look at the files of a dataset; remote ones are not downloaded.

        :param files: as they were listed.
        :param sha256: returns the hash of a file, where there is a quicker way than to read it.
        """
        hashed = sha256 or _hash
        return cls(
            tuple(
                ContentFile(
                    file.name,
                    file.size_bytes,
                    f"{_SHA256}{hashed(Path(file.path))}"
                    if file.remote is None
                    else f"version:{file.remote.version}",
                )
                for file in files
            )
        )

    @property
    def digest(self) -> str:
        """What the content is known by: the fingerprint of a registered version."""
        return digest_of([[file.name, file.known_by.removeprefix(_SHA256)] for file in self.files])

    @property
    def size_bytes(self) -> int:
        """Bytes in all files whose size is known."""
        return sum(max(0, file.size_bytes) for file in self.files)

    def to_document(self) -> dict[str, Any]:
        """Return the content as it is stored."""
        return {"schema": 1, "digest": self.digest, "files": [asdict(file) for file in self.files]}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> DatasetContent:
        """Read what :meth:`to_document` wrote."""
        return cls(tuple(ContentFile(**file) for file in document["files"]))


def save_content(store: ObjectStore, content: DatasetContent) -> str:
    """Keep a content and return its digest."""
    digest = content.digest
    # Where there is one already it is the same: the key is made of the content.
    with suppress(ConditionFailed):
        write_json(store, f"{_FOLDER}{digest}.json", content.to_document(), if_absent=True)
    return digest


def saved_content(store: ObjectStore, fingerprint: str | None) -> DatasetContent | None:
    """Return what a version's files held when it was registered; None when that was not written down."""
    document = None if fingerprint is None else read_json(store, f"{_FOLDER}{fingerprint}.json", None)
    return None if document is None else DatasetContent.from_document(document)


def _hash(path: Path) -> str:
    return hash_file(path).sha256
