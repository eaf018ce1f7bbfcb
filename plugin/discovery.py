"""Lets Airflow see that a file defines a pipeline.

To save time Airflow opens only files that contain both the words "airflow" and "dag". A file that says ``Pipeline`` and
``airflow_azureml`` may contain no "dag" at all, and would be passed over without a word. Opening a file means running it,
so step scripts, which may name this package too, must not be taken for one.

Airflow's parts are imported in the functions: Airflow imports this module while it is itself still being imported.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

SECTION, OPTION = "core", "might_contain_dag_callable"
_PACKAGE = b"airflow_azureml"

PIPELINE_WORD = re.compile(rb"\bPipeline\b")
"""What a file that defines a pipeline says, and neither ``PipelineData`` nor ``run.pipeline`` are."""


def might_contain_pipeline(file_path: str, zip_file: zipfile.ZipFile | None = None) -> bool:
    """Whether Airflow should open a file: by its own rule, or because the file defines a pipeline of ours.

    :param file_path: the file, or its name inside ``zip_file``.
    """
    from airflow.utils.file import might_contain_dag_via_default_heuristic

    if might_contain_dag_via_default_heuristic(file_path, zip_file):
        return True
    content = zip_file.read(file_path) if zip_file is not None else Path(file_path).read_bytes()
    return _PACKAGE in content and PIPELINE_WORD.search(content) is not None


def install() -> None:
    """Make :func:`might_contain_pipeline` Airflow's rule, unless somebody has chosen another one."""
    from airflow.configuration import conf
    from airflow.utils.file import might_contain_dag_via_default_heuristic

    default = might_contain_dag_via_default_heuristic
    if conf.get(SECTION, OPTION) == f"{default.__module__}.{default.__name__}":
        conf.set(SECTION, OPTION, f"{__name__}.{might_contain_pipeline.__name__}")
