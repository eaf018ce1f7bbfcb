"""Rows between databases and stores of files, and between databases.

Files pass through a local folder one at a time; rows pass through memory batch by batch. Nothing half-written is seen: a file
appears whole, and a table gets all rows or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_azureml.model.sql_source import SqlSource
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql.database import (
    UNLIMITED,
    Database,
    Exported,
    FileFormat,
    Job,
    Loaded,
    LoadMode,
)
from airflow_azureml.sql.statements import name_parts
from airflow_azureml.storage.files import FileChanged, FileInfo, FileStore

_TELLS_EVERY_S = 10.0
_PIECE_BYTES = 4 * 2**20
_FORMATS: dict[str, FileFormat] = {".parquet": "parquet", ".csv": "csv"}


@dataclass(frozen=True, slots=True)
class SqlTransferred:
    """What came of a transfer with a database at one end or both.

    :param rows: how many rows.
    :param seconds: how long it took.
    :param files: files that were written, or read.
    :param sha256: hex SHA-256 of the file that was written.
    :param columns: names and Arrow types of what was written to a file.
    :param created: whether the table was made.
    """

    rows: int
    seconds: float
    files: tuple[FileInfo, ...] = ()
    sha256: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    created: bool = False


def format_of(path: str) -> FileFormat:
    """Return the format that a file's name tells: ``.csv`` or ``.parquet``.

    :raises UserErrorException: neither.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise UserErrorException(
            f"{path!r} is neither a .csv nor a .parquet file, which is what tables go to and come from"
        )
    return _FORMATS[suffix]


def database_to_file(
    database: Database,
    source: SqlSource,
    store: FileStore,
    path: str,
    *,
    file_format: FileFormat | None = None,
    job: Job = UNLIMITED,
    tell: Callable[[str], None] | None = None,
    scratch: Path | None = None,
) -> SqlTransferred:
    """Write a table, query or procedure to a file on a store, over one that is there.

    :param path: the file.
    :param file_format: its format; what its name tells for None.
    :param tell: gets a line about every ten seconds.
    :param scratch: folder with room for the file; the system's temporary folder for None.
    """
    form, begun = file_format or format_of(path), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="azureml-sql-", dir=scratch) as folder:
        local = Path(folder) / Path(path).name
        done: Exported = database.export(source, local, form, job=_telling(job, tell, "read"))
        md5, sha256 = _digests(local)
        info = store.put_file(path, local, md5=md5)
    return SqlTransferred(
        done.rows, time.monotonic() - begun, (info,), sha256, columns=tuple(done.columns.items())
    )


def files_to_table(
    store: FileStore,
    files: Sequence[FileInfo],
    database: Database,
    table: str,
    *,
    mode: LoadMode = "append",
    keys: Sequence[str] = (),
    file_format: FileFormat | None = None,
    job: Job = UNLIMITED,
    tell: Callable[[str], None] | None = None,
    scratch: Path | None = None,
) -> SqlTransferred:
    """Write the rows of files on a store to a table, all files or none.

    :param files: as a listing showed them; one that changed since ends it.
    :param file_format: the format of all of them; what their names tell for None.
    :raises UserErrorException: no files, or of both formats.
    """
    begun = time.monotonic()
    formats = {file_format or format_of(info.path) for info in files}
    if len(formats) != 1:
        raise UserErrorException(
            f"nothing to load into table {table}: no files"
            if not formats
            else f"files for table {table} are CSV and Parquet; load one format at a time"
        )
    with tempfile.TemporaryDirectory(prefix="azureml-sql-", dir=scratch) as folder:
        done: Loaded = database.load(
            _local_files(store, files, Path(folder)),
            formats.pop(),
            table,
            mode=mode,
            keys=keys,
            job=_telling(job, tell, "written"),
        )
    return SqlTransferred(done.rows, time.monotonic() - begun, tuple(files), created=done.created)


def database_to_table(
    database: Database,
    source: SqlSource,
    target: Database,
    table: str,
    *,
    mode: LoadMode = "append",
    keys: Sequence[str] = (),
    job: Job = UNLIMITED,
    tell: Callable[[str], None] | None = None,
) -> SqlTransferred:
    """Write rows of one database to a table of another, or of the same, as they come.

    :raises UserErrorException: a table is to be replaced by its own rows.
    """
    begun = time.monotonic()
    same = (
        source.kind == "table" and database.uri == target.uri and name_parts(source.text) == name_parts(table)
    )
    if same and mode == "replace":
        raise UserErrorException(f"table {table} would be replaced by itself; name another one")
    with database.read(source, replace(job, told=None)) as rows:
        done = target.write(rows, table, mode=mode, keys=keys, job=_telling(job, tell, "written"))
    return SqlTransferred(done.rows, time.monotonic() - begun, created=done.created)


def _local_files(store: FileStore, files: Sequence[FileInfo], folder: Path) -> Iterator[Path]:
    """Fetch one file after the other; the one before goes when the next is asked for."""
    if store.local_root is not None:
        for info in files:
            # Read in place; it has to be the listed one before and after.
            _check_unchanged(store, info)
            yield store.local_root / info.path
            _check_unchanged(store, info)
        return
    for number, info in enumerate(files):
        local = folder / f"{number}{Path(info.path).suffix}"
        try:
            store.get_file(info.path, local, etag=info.etag)
            yield local
        finally:
            with contextlib.suppress(FileNotFoundError):
                local.unlink()


def _check_unchanged(store: FileStore, info: FileInfo) -> None:
    found = store.stat(info.path)
    if found is None or found.version != info.version:
        raise FileChanged(
            f"file {info.path!r} changed since it was listed; another try loads it as it is then"
        )


def _telling(job: Job, tell: Callable[[str], None] | None, done: str) -> Job:
    """Return a job that says every now and then how far it is."""
    if tell is None:
        return job
    begun = time.monotonic()
    last = begun

    def told(rows: int) -> None:
        nonlocal last
        if job.told is not None:
            job.told(rows)
        now = time.monotonic()
        if now - last >= _TELLS_EVERY_S:
            last = now
            tell(f"{rows:,} rows {done}, {rows / (now - begun):,.0f} rows/s")

    return replace(job, told=told)


def _digests(path: Path) -> tuple[str, str]:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as opened:
        while piece := opened.read(_PIECE_BYTES):
            md5.update(piece)
            sha256.update(piece)
    return md5.hexdigest(), sha256.hexdigest()
