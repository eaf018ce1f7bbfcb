"""The runtime as a step's own interpreter meets it: old and new Pythons, nothing installed, v1's imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import sys
from azureml.core import Datastore, Experiment, Model, Run, Workspace
from azureml.core.run import _OfflineRun
from azureml.exceptions import UserErrorException, WebserviceException

run = Run.get_context(allow_offline=False)
assert not isinstance(run, _OfflineRun) and not run.id.startswith("OfflineRun")
assert "airflow" not in sys.modules
ws = run.experiment.workspace
for value in (1.5, 2, float("nan")):
    run.log("loss", value)
run.log_row("fold", index=0, score=0.5)
run.tag("python", "%d.%d" % sys.version_info[:2])
run.parent.log("best", 0.9)
with open("outputs/model.txt", "w") as file:
    file.write("ridge")
model = run.register_model("ridge", "outputs/model.txt")
print(Model(ws, "ridge").version, open(model.download("got")).read())
try:
    Model(ws, "nobody")
except WebserviceException as error:
    print(error)
try:
    Datastore.get(ws, "nobody")
except UserErrorException:
    print("no such datastore")
ws.get_default_datastore().upload_files(["outputs/model.txt"], target_path="x", show_progress=False)
child = run.child_run("fold")
child.log("score", 1)
child.complete()
print(run.get_metrics()["fold"], [c.name for c in run.get_children()], run.parent.get_metrics())
"""


def test_a_v1_script(online: Any, step_python: str, run_script: Any, working_directory: Path) -> None:
    (working_directory / "outputs").mkdir()

    done = run_script(step_python, SCRIPT)

    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [
        "1 ridge",
        "model 'nobody' isn't registered in this workspace",
        "no such datastore",
        "{'index': 0, 'score': 0.5} ['fold'] {'best': 0.9}",
    ]
    record = online.state.to_record()
    assert [metric["value"] for metric in record["metrics"]] == [1.5, 2, "NaN", {"index": 0, "score": 0.5}]
    assert record["tags"]["python"] in ("3.8", "3.12", "3.13")
    assert (online.workspace.datastores.root("workspaceblobstore") / "x" / "model.txt").read_text() == "ridge"


def test_all_modules_of_the_runtime_can_be_imported(step_python: str, run_script: Any) -> None:
    done = run_script(
        step_python,
        """
import importlib, pkgutil
import airflow_azureml.runtime as runtime
for module in pkgutil.walk_packages(runtime.__path__, runtime.__name__ + "."):
    if not module.name.endswith((".__main__", ".step_site")) and ".engine" not in module.name:
        importlib.import_module(module.name)
import airflow_azureml
for name in airflow_azureml.__all__:
    try:
        getattr(airflow_azureml, name)
    except ImportError as error:
        assert "not available inside a step" in str(error), error
        print(name)
""",
    )

    assert (done.stderr, done.returncode) == ("", 0)
    missing = set(done.stdout.split())
    assert {"Pipeline", "PythonScriptStep", "PipelineData", "Environment"} <= missing
    assert missing.isdisjoint({"Run", "Workspace", "Dataset", "Datastore", "Model", "Experiment", "DataType"})


def test_what_only_definitions_need_says_so(step_python: str, run_script: Any) -> None:
    done = run_script(step_python, "from azureml.pipeline.core import Pipeline")

    assert "Pipeline is not available inside a step" in done.stderr


def test_names_we_do_not_have_say_what_to_do(step_python: str, run_script: Any) -> None:
    done = run_script(
        step_python,
        """
import azureml.core
try:
    azureml.core.ScriptRunConfig
except AttributeError as error:
    print(error)
try:
    import azureml.train
except ModuleNotFoundError as error:
    print(error)
print(azureml.core.VERSION, sorted(n for n in dir(azureml.core) if n[0] == "R"))
from azureml.core import *
print(Run.__name__)
""",
    )

    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [
        (
            "module 'azureml.core' of airflow-azureml has no 'ScriptRunConfig'; "
            "install the real azureml SDK into the step's environment if the script needs it"
        ),
        "No module named 'azureml.train'",
        "1.62.0 ['Run', 'RunConfiguration']",
        "Run",
    ]


def test_outside_a_step_the_runtime_alone_says_what_is_missing(step_python: str, run_script: Any) -> None:
    done = run_script(step_python, "from azureml.core import Run\nRun.get_context()")

    assert "RunEnvironmentException" in done.stderr
    assert "this interpreter has only the runtime" in done.stderr


def test_child_processes_are_the_same_run(online: Any, step_python: str, run_script: Any) -> None:
    done = run_script(
        step_python,
        """
import multiprocessing, subprocess, sys, threading

def work(number):
    from azureml.core import Run
    Run.get_context().log("by process", number)

if __name__ == "__main__":
    from azureml.core import Run
    run = Run.get_context()
    run.log("by process", 0)
    for method in ("fork", "spawn"):
        process = multiprocessing.get_context(method).Process(target=work, args=(1,))
        process.start()
        process.join()
        assert process.exitcode == 0
    code = "from azureml.core import Run; Run.get_context().log('by process', 2)"
    subprocess.run([sys.executable, "-c", code], check=True)
    threads = [threading.Thread(target=work, args=(3,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.log("by process", 4)
    print(run.get_metrics())
""",
    )

    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.strip() == "{'by process': [0, 1, 1, 2, 3, 3, 4]}"


def test_an_error_in_a_script_is_the_scripts_own(online: Any, step_python: str, run_script: Any) -> None:
    done = run_script(step_python, "from azureml.core import Run\nRun.get_context().log('a', [1])")

    assert done.returncode == 1
    assert "UserErrorException: metric 'a': log takes one value, found a list; use log_list" in done.stderr


class TestWhichAzuremlWins:
    """A real SDK, or parts of it, in the step's environment."""

    @staticmethod
    def install(folder: Path, files: dict[str, str]) -> str:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(folder)

    def run(self, run_script: Any, python: str, site: str, code: str) -> list[str]:
        # As site-packages are: behind PYTHONPATH, before what sitecustomize appends.
        prepared = f"import sys, site\nsite.addsitedir({site!r})\n"
        done = run_script(python, prepared + code)
        assert (done.stderr, done.returncode) == ("", 0)
        return list(done.stdout.split())

    @pytest.mark.parametrize(
        "init", [None, "__path__ = __import__('pkgutil').extend_path(__path__, __name__)", ""]
    )
    def test_a_real_core_wins(
        self, run_script: Any, step_python: str, tmp_path: Path, init: str | None
    ) -> None:
        files = {
            "azureml/core/__init__.py": "class Run: real = True",
            "azureml/core/run.py": "from . import Run",
        }
        if init is not None:
            files["azureml/__init__.py"] = init
        site = self.install(tmp_path / "site", files)
        # The first entry wins over what sitecustomize appended, as site-packages do.
        code = f"sys.path.insert(1, {site!r})\nfrom azureml.core.run import Run\nprint(Run.real)"

        assert self.run(run_script, step_python, site, code) == ["True"]

    def test_nothing_of_ours_shows_below_a_real_core(
        self, run_script: Any, step_python: str, tmp_path: Path
    ) -> None:
        site = self.install(tmp_path / "site", {"azureml/core/__init__.py": ""})
        code = f"""
sys.path.insert(1, {site!r})
try:
    import azureml.core.keyvault
except ModuleNotFoundError:
    print("none")
"""

        assert self.run(run_script, step_python, site, code) == ["none"]

    @pytest.mark.parametrize(
        "init", [None, "__path__ = __import__('pkgutil').extend_path(__path__, __name__)", ""]
    )
    def test_a_part_leaves_the_rest_to_us(
        self, run_script: Any, step_python: str, tmp_path: Path, init: str | None
    ) -> None:
        files = {"azureml/dataprep/__init__.py": "part = 'real'"}
        if init is not None:
            files["azureml/__init__.py"] = init
        site = self.install(tmp_path / "site", files)
        code = f"""
sys.path.insert(1, {site!r})
import azureml.dataprep, azureml.core
from azureml.core import Run
print(azureml.dataprep.part, Run.__module__)
"""

        assert self.run(run_script, step_python, site, code) == ["real", "airflow_azureml.runtime.run"]


class TestSitecustomize:
    def test_the_users_own_runs_too(self, run_script: Any, step_python: str, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "sitecustomize.py").write_text("import builtins\nbuiltins.mine = 'ran'\n")
        code = "import sys, azureml.core, sitecustomize\nprint(mine, sitecustomize.__file__)"
        first = run_script(step_python, "import os; print(os.environ['PYTHONPATH'])").stdout.strip()

        done = run_script(step_python, code, PYTHONPATH=first + os.pathsep + str(tmp_path / "mine"))

        assert done.stderr == ""
        assert done.stdout.split() == ["ran", str(tmp_path / "mine" / "sitecustomize.py")]

    def test_an_error_in_it_does_not_cost_the_run(
        self, online: Any, run_script: Any, step_python: str, tmp_path: Path
    ) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "sitecustomize.py").write_text("1 / 0\n")
        first = run_script(step_python, "import os; print(os.environ['PYTHONPATH'])").stdout.strip()

        done = run_script(
            step_python,
            "from azureml.core import Run\nprint(Run.get_context().id)",
            PYTHONPATH=first + os.pathsep + str(tmp_path / "mine"),
        )

        assert done.stdout.strip() == online.state.run_id
        assert "ZeroDivisionError" in done.stderr


def test_starting_is_cheap(run_script: Any, step_python: str) -> None:
    done = run_script(
        step_python,
        """
import sys, time
started = time.process_time()
import json, socket, threading, typing
between = time.process_time()
before = set(sys.modules)
from azureml.core import Run
Run.get_context
print((time.process_time() - between) / (between - started))
print(" ".join(sorted(set(sys.modules) - before)))
""",
    )
    ratio, loaded = done.stdout.splitlines()

    # Against what no client of a socket can do without (some 12 ms), because machines differ and are busy.
    assert float(ratio) < 4
    assert {"pandas", "tempfile", "pathlib", "uuid", "asyncio", "inspect", "airflow"}.isdisjoint(
        loaded.split()
    )


def test_a_script_outside_any_run(tmp_path: Path) -> None:
    script = tmp_path / "code" / "script.py"
    script.parent.mkdir()
    (script.parent / "beside.py").write_text("value = 5")
    script.write_text(
        "import subprocess, sys, beside\n"
        "from azureml.core import Run\n"
        "run = Run.get_context()\n"
        "run.log('a', beside.value)\n"
        "print(run.id[:10], run.get_metrics(), sys.argv[1:], __name__)\n"
        "sys.stdout.flush()\n"
        "subprocess.run([sys.executable, '-c', 'import azureml.core; print(azureml.core.Run.__name__)'], check=True)\n"
    )
    environment = {
        **os.environ,
        "AIRFLOW__AZUREML__WORKSPACE": str(tmp_path / "ws"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "airflow_azureml.runtime", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
        )

    done = run("code/script.py", "--x", "1")

    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == ["OfflineRun {'a': 5} ['--x', '1'] __main__", "Run"]
    assert len(list((tmp_path / "ws" / "experiments").rglob("OfflineRun*"))) == 1
    assert run().returncode == run("nowhere.py").returncode == 2
    assert "usage:" in run("--help").stdout
