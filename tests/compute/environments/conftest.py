"""Environments of tiny packages, built without network."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_azureml.compute.environments import EnvironmentCache
from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, StoreError


class Environment:
    """What the cache needs of an environment."""

    def __init__(self, **specification: Any) -> None:
        self._specification = specification

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self._specification, sort_keys=True).encode()).hexdigest()

    def specification(self) -> dict[str, Any]:
        return self._specification


class Store:
    """The two methods of an object store that the cache uses."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.fails = False

    def get(self, key: str) -> Any:
        if self.fails:
            raise StoreError("the store is down")
        if key not in self.objects:
            raise ObjectNotFound(key)
        return SimpleNamespace(data=self.objects[key], tag="")

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if self.fails:
            raise StoreError("the store is down")
        if if_absent and key in self.objects:
            raise ConditionFailed(key)
        self.objects[key] = data
        return ""


def make_wheel(folder: Path, name: str, version: str, *, requires: str = "", payload: bytes = b"") -> None:
    """A package that needs no network and no build."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\ndef main(): pass\n".encode(),
        f"{name}.dat": payload,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n".encode(),
    }
    record = []
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(content)}")
            wheel.writestr(path, content)
        wheel.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "leaf", "1.0")
    make_wheel(folder, "leaf", "1.1")
    make_wheel(folder, "stem", "2.0", requires="Requires-Dist: leaf\n")
    return folder


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path) -> EnvironmentCache:
    return EnvironmentCache(tmp_path / "environments")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture(scope="session")
def wheel_maker() -> Callable[..., None]:
    return make_wheel


@pytest.fixture
def environment(wheels: Path) -> Callable[..., Environment]:
    """Makes an environment of packages from the folder of wheels, and from nowhere else."""

    def make(*pip: str, find_links: Path = wheels, **more: Any) -> Environment:
        if pip:
            more |= {"pip": ["--no-index", *pip], "index": {"find_links": [str(find_links)]}}
        return Environment(**more)

    return make


@pytest.fixture
def output_of() -> Callable[[Path, str], str]:
    """Runs code with an interpreter and returns what it prints."""

    def run(python: Path, code: str) -> str:
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    return run


@pytest.fixture
def endless_uv(tmp_path: Path) -> Path:
    """A uv that begins an environment and never ends; its process id is in a file beside it."""
    program = tmp_path / "uv"
    program.write_text(
        "#!/bin/sh\n"
        'for folder; do :; done; mkdir -p "$folder"; echo half > "$folder/file"; echo $$ > "$(dirname "$0")/pid"\n'
        "trap '' TERM; echo 'Building it'; while :; do sleep 60; done\n"
    )
    program.chmod(0o755)
    return program
