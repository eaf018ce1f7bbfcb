"""Run a script written for the Azure ML SDK v1 outside any pipeline: ``python -m airflow_azureml.runtime script.py …``.

``import azureml.core`` finds the runtime, in the script and in the Python processes it starts; ``Run.get_context()`` is an
offline run against the local workspace.
"""

from __future__ import annotations

import os
import runpy
import sys

from airflow_azureml.runtime.shims import install
from airflow_azureml.runtime.ship import ship

_USAGE = "usage: python -m airflow_azureml.runtime script.py [argument ...]"


def main(arguments: list[str]) -> None:
    """Run the script.

    :param arguments: its path and its own arguments.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, file=sys.stderr if not arguments else sys.stdout)
        raise SystemExit(0 if arguments else 2)
    if not os.path.isfile(arguments[0]):
        print(f"no script {arguments[0]!r}\n{_USAGE}", file=sys.stderr)  # noqa: T201 - shown on purpose
        raise SystemExit(2)
    install()
    _for_child_processes()
    sys.argv[:] = arguments
    sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
    runpy.run_path(arguments[0], run_name="__main__")


def _for_child_processes() -> None:
    # In the user's own folder: in a shared one somebody else could have put code there first.
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = str(ship(os.path.join(cache, "airflow-azureml", "runtime")))
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = folder if not inherited else folder + os.pathsep + inherited


if __name__ == "__main__":
    main(sys.argv[1:])
