"""What all tests share: an Airflow home of their own, and the services that some of them need."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Airflow reads its home when it is first imported, so it has to be set before any test module is.
_HOME = Path(tempfile.mkdtemp(prefix="airflow-azureml-tests-"))
for _name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[_name]
os.environ.update(
    AIRFLOW_HOME=str(_HOME),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(_HOME / "dags"),
)

REPOSITORY = Path(__file__).parent.parent

# Services with fixtures of their own; see tests/services.
pytest_plugins = ["azure_files_server", "azurite_service", "dbfs_server", "postgresql_service", "s3_service"]


def _program(*names: str, also_in: str = "") -> str | None:
    folders = [str(folder) for folder in sorted(Path("/").glob(also_in), reverse=True)] if also_in else []
    search_path = os.pathsep.join([os.environ.get("PATH", ""), *folders])
    return next((found for name in names if (found := shutil.which(name, path=search_path))), None)


def _needs_program(*names: str, also_in: str = "") -> str | None:
    return None if _program(*names, also_in=also_in) else f"no {' or '.join(names)} on PATH"


def _needs_docker() -> str | None:
    socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if socket.startswith("unix://") and not Path(socket.removeprefix("unix://")).exists():
        return f"no engine at {socket}"
    return None


def _needs_fuse() -> str | None:
    from airflow_azureml.compute.mounting.kernel import why_not

    return why_not()


# What is missing, or None when the service can be used.
SERVICES = {
    "azurite": lambda: _needs_program(os.environ.get("AZURITE") or "azurite-blob"),
    "browser": lambda: _needs_program("chromium", "chromium-browser", "google-chrome"),
    "docker": _needs_docker,
    "fuse": _needs_fuse,
    "postgresql": lambda: _needs_program("initdb", also_in="usr/lib/postgresql/*/bin"),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("service"):
        (name,) = mark.args
        missing = SERVICES[name]()
        if missing is None:
            continue
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"needs {name}: {missing}", pytrace=False)
        pytest.skip(f"needs {name}: {missing}")


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """The Airflow home of this test session."""
    return _HOME


@pytest.fixture(scope="session")
def airflow_database(airflow_home: Path) -> Path:
    """An Airflow home whose SQLite database has its tables."""
    from airflow.utils.db import initdb

    initdb()
    return airflow_home


@pytest.fixture
def azureml_options(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Lets a test set ``AIRFLOW__AZUREML__…`` variables, and forgets what was read from them."""
    from airflow_azureml import config

    config.forget()
    yield monkeypatch
    config.forget()
