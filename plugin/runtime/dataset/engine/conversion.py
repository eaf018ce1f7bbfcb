"""Writing tabular datasets as files: what ``to_csv_files`` and ``to_parquet_files`` stand for."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from airflow_azureml.runtime.dataset.definition import digest, has_relative_times
from airflow_azureml.runtime.dataset.engine.evaluate import evaluate
from airflow_azureml.runtime.dataset.engine.parquet import write_parquet
from airflow_azureml.runtime.dataset.resolve import ResolvedFile


def converted_file(source: dict[str, Any], files: list[ResolvedFile], scratch: str | None) -> ResolvedFile:
    """Return the file that a ``converted`` source stands for, written when it isn't there yet.

    :param source: the source document.
    :param files: the files of the tabular dataset inside it.
    :param scratch: folder for the written files; by default one that belongs to this user alone.
    """
    folder = scratch or _private_folder()
    stamp = [[file.path, file.size_bytes, file.modified] for file in files]
    key = digest([source, stamp])
    name = "part-00000.%s" % source["target"]
    path = os.path.join(folder, key, name)
    if not os.path.exists(path) or has_relative_times(source["tabular"]):
        _write(source, files, path)
    status = os.stat(path)
    return ResolvedFile(path, name, "/" + name, status.st_size, status.st_mtime)


def write_file(frame: Any, target: str, path: str, separator: str = ",") -> None:
    """Write rows as a CSV or Parquet file, without their index.

    :param frame: the rows.
    :param target: ``"csv"`` or ``"parquet"``.
    :param path: the file.
    """
    if target == "parquet":
        write_parquet(frame, path)
    else:
        frame.to_csv(path, index=False, sep=separator, encoding="utf-8")


def _write(source: dict[str, Any], files: list[ResolvedFile], path: str) -> None:
    frame = evaluate(source["tabular"], files)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".", suffix=".arriving")
    os.close(handle)
    try:
        write_file(frame, source["target"], temporary, source.get("separator", ","))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _private_folder() -> str:
    folder = os.path.join(tempfile.gettempdir(), "airflow-azureml-datasets-%d" % os.getuid())
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.stat(folder).st_uid != os.getuid():
        # Somebody else made it first and could put files of theirs into it.
        return tempfile.mkdtemp(prefix="airflow-azureml-datasets-")
    return folder
