"""The same behaviour in a step's interpreter of 2022: Python 3.8 with pandas 1.5 and numpy 1.23.

The other tests of this folder are run there, but for those that need a workspace around them.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REQUIREMENTS = ["pandas==1.5.3", "numpy==1.23.5", "pyarrow==17.0.0", "pytest>=8", "hypothesis>=6"]
NOT_THERE = {"test_old_libraries.py", "test_workspace_datasets.py"}
IS_38 = "import sys; sys.exit(sys.version_info[:2] != (3, 8))"


def unavailable(reason):
    message = "needs Python 3.8 with pandas 1.5: " + reason
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="module")
def uv():
    """The uv program."""
    from uv import find_uv_bin

    return find_uv_bin()


@pytest.fixture(scope="module")
def python38(uv):
    """A Python 3.8 that is on this machine already."""
    found = subprocess.run(
        [uv, "python", "find", "--no-python-downloads", "3.8"], capture_output=True, text=True, check=False
    )
    homes = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    candidates = [found.stdout.strip(), shutil.which("python3.8")]
    candidates += [str(path) for home in homes for path in sorted(home.glob("3.8*/bin/python"), reverse=True)]
    for candidate in filter(None, candidates):
        # A shim of pyenv is found on PATH also when it leads nowhere.
        if subprocess.run([candidate, "-c", IS_38], capture_output=True, check=False).returncode == 0:
            return candidate
    return unavailable("no python3.8 on this machine")


@pytest.fixture(scope="module")
def old_python(uv, python38, tmp_path_factory):
    """An interpreter with the libraries of 2022."""
    environment = tmp_path_factory.mktemp("old") / "venv"
    python = environment / "bin" / "python"
    for command in (
        ["venv", "--python", python38, environment],
        ["pip", "install", "--python", python, *REQUIREMENTS],
    ):
        done = subprocess.run([uv, "--quiet", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            unavailable(f"uv {command[0]} failed: {done.stderr.strip()[-300:]}")
    return python


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A folder with what a step's interpreter gets of the package: its root and the runtime."""
    import airflow_azureml

    package = tmp_path_factory.mktemp("shipped") / "airflow_azureml"
    installed = Path(airflow_azureml.__file__).parent
    shutil.copytree(installed / "runtime", package / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(installed / "__init__.py", package)
    return package.parent


@pytest.mark.timeout(600)
def test_everything_behaves_the_same_with_old_libraries(old_python, shipped, tmp_path):
    modules = sorted(str(path) for path in HERE.glob("test_*.py") if path.name not in NOT_THERE)
    settings = tmp_path / "pytest.ini"
    settings.write_text(
        "[pytest]\nfilterwarnings = error\naddopts = --import-mode=importlib -q -p no:cacheprovider\n"
    )
    # The properties have been tried with many examples already.
    profile = "from hypothesis import settings\nsettings.register_profile('few', max_examples=10)\n"
    (shipped / "few_examples.py").write_text(profile + "settings.load_profile('few')\n")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(shipped), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-c", settings, "--rootdir", tmp_path, "--confcutdir", HERE, "-p", "few_examples"]
    command = [old_python, "-m", "pytest", *options, *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
