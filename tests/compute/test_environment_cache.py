"""A step's interpreter is built once, shared, kept while it is used, and says clearly why it cannot be built."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.environments import EnvironmentCache, builder
from airflow_azureml.runtime.exceptions import (
    ConditionFailed,
    EnvironmentBuildError,
    ObjectNotFound,
    StepCanceled,
    StoreError,
)


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
        from types import SimpleNamespace

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


def environment(wheels: Path, *pip: str, **more: Any) -> Environment:
    return Environment(pip=["--no-index", *pip], index={"find_links": [str(wheels)]}, **more)


def output_of(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


# --- building -------------------------------------------------------------------------------------------------------


def test_an_environment_has_its_packages_and_none_of_the_workers(
    cache: EnvironmentCache, wheels: Path, lines: list[str]
) -> None:
    wanted = environment(wheels, "stem", "leaf<1.1", environment_variables={"MODE": "test"})
    interpreter = cache.ensure(wanted, lines.append)
    assert output_of(interpreter.python, "import leaf, stem; print(leaf.version, stem.version)") == "1.0 2.0"
    assert output_of(interpreter.python, "import importlib.util as u; print(u.find_spec('airflow'))") == "None"
    assert interpreter.lock == "leaf==1.0\nstem==2.0\n"
    assert interpreter.digest == wanted.digest
    assert interpreter.variables == {"VIRTUAL_ENV": str(interpreter.python.parent.parent), "MODE": "test"}
    subprocess.run([interpreter.bin / "leaf"], check=True)  # scripts know where their interpreter is


def test_progress_is_told_with_the_environments_short_digest(
    cache: EnvironmentCache, wheels: Path, lines: list[str]
) -> None:
    wanted = environment(wheels, "stem")
    interpreter = cache.ensure(wanted, lines.append)
    prefix = f"environment {wanted.digest[:8]}: "
    assert lines[0] == f"{prefix}resolving 1 requirement for Python {interpreter.version}"
    assert lines[-1].startswith(f"{prefix}installed 2 packages in ")


def test_an_environment_that_is_there_is_used_at_once_and_in_silence(
    cache: EnvironmentCache, wheels: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cache.ensure(environment(wheels, "leaf"), lines.append)
    lines.clear()
    monkeypatch.setattr(subprocess, "Popen", None)  # no process is started
    started = time.perf_counter()
    for _ in range(20):
        cache.ensure(environment(wheels, "leaf"), lines.append).release()
    assert (time.perf_counter() - started) / 20 < 0.005  # 0.2 ms on an idle machine
    assert cache.ensure(environment(wheels, "leaf"), lines.append) == first
    assert lines == []


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.13"])
def test_other_python_versions(version: str, cache: EnvironmentCache, wheels: Path, lines: list[str]) -> None:
    from airflow_azureml.compute.environments.pythons import find_python

    if find_python(version) is None:
        pytest.skip(f"Python {version} is not on this machine")
    interpreter = cache.ensure(environment(wheels, "leaf", python_version=version), lines.append)
    assert output_of(interpreter.python, "import leaf, sys; print('%d.%d' % sys.version_info[:2])") == version
    assert interpreter.version.startswith(version + ".")


def test_a_python_that_has_gone_is_found_anew(
    cache: EnvironmentCache, wheels: Path, lines: list[str], tmp_path: Path
) -> None:
    first = cache.ensure(environment(wheels, "leaf"), lines.append)
    first.release()
    first.python.unlink()
    first.python.symlink_to(tmp_path / "uninstalled")
    assert output_of(cache.ensure(environment(wheels, "leaf"), lines.append).python, "import leaf") == ""


def test_requirements_files_are_read(cache: EnvironmentCache, wheels: Path, lines: list[str], tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# ours\nleaf==1.0\n")
    interpreter = cache.ensure(environment(wheels, f"-r {tmp_path}/requirements.txt"), lines.append)
    assert interpreter.lock == "leaf==1.0\n"


# --- failing --------------------------------------------------------------------------------------------------------


def test_the_tools_own_error_comes_first_then_advice(
    cache: EnvironmentCache, wheels: Path, lines: list[str], tmp_path: Path
) -> None:
    with pytest.raises(EnvironmentBuildError) as caught:
        cache.ensure(environment(wheels, "leaf==7"), lines.append)
    message = str(caught.value).splitlines()
    assert "No solution found" in message[0]
    assert "leaf==7" in str(caught.value)
    assert message[-1] == "relax or correct the requirements, or choose another python_version"
    assert "leaf==7" in caught.value.log_tail
    assert [p for p in (tmp_path / "environments").iterdir() if not p.name.startswith(".")] == []


def test_a_version_nobody_has_is_an_error_that_lists_what_there_is(
    cache: EnvironmentCache, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(EnvironmentBuildError, match=r"Python 3\.4 is not on this machine and uv cannot get it. Found: ") as caught:
        cache.ensure(Environment(python_version="3.4", pip=[]), lines.append)
    assert f"{sys.version_info[0]}.{sys.version_info[1]}." in str(caught.value)


def test_a_python_version_that_is_none_is_refused(cache: EnvironmentCache, lines: list[str]) -> None:
    with pytest.raises(EnvironmentBuildError, match="'three' is not understood; give one such as '3.8'"):
        cache.ensure(Environment(python_version="three"), lines.append)


def test_credentials_of_an_index_are_never_shown(
    cache: EnvironmentCache, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    secret = "s3cr3t"  # noqa: S105
    address = f"http://user:{secret}@127.0.0.1:9/simple"  # nothing answers on the discard port
    with pytest.raises(EnvironmentBuildError) as caught:
        cache.ensure(Environment(pip=[f"--index-url {address}", f"leaf @ {address}/leaf-1.0-py3-none-any.whl"]), lines.append)
    assert "127.0.0.1" in str(caught.value)
    assert str(caught.value).endswith("and the proxy")
    assert secret not in f"{caught.value}{caught.value.log_tail}{lines}"


def test_a_full_disk_is_told_and_leaves_nothing(wheels: Path, lines: list[str], tmp_path: Path) -> None:
    make_wheel(tmp_path, "heavy", "1.0", payload=os.urandom(4_000_000))
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        with pytest.raises(EnvironmentBuildError, match="No space left.*\n(.*\n)*free space on the disk"):
            EnvironmentCache(small).ensure(environment(tmp_path, "heavy"), lines.append)
        assert [p for p in small.iterdir() if not p.name.startswith(".")] == []
    finally:
        subprocess.run(["umount", small], check=True)


# --- the published lock ---------------------------------------------------------------------------------------------


def test_the_first_machine_publishes_its_versions_and_others_install_the_same(
    wheels: Path, lines: list[str], tmp_path: Path
) -> None:
    old = tmp_path / "wheels"
    old.mkdir()
    store = Store()
    wanted = environment(wheels, "leaf")
    make_wheel(old, "leaf", "1.0")
    key = f"environments/{wanted.digest}/"
    published = EnvironmentCache(tmp_path / "one", locks=store).ensure(wanted, lines.append)  # type: ignore[arg-type]
    assert [name.startswith(key) and name.endswith(".lock") for name in store.objects] == [True]
    assert list(store.objects.values()) == [b"leaf==1.1\n"]
    store.objects = dict.fromkeys(store.objects, b"leaf==1.0\n")
    lines.clear()
    other = EnvironmentCache(tmp_path / "two", locks=store).ensure(wanted, lines.append)  # type: ignore[arg-type]
    assert (published.lock, other.lock) == ("leaf==1.1\n", "leaf==1.0\n")
    assert not any("resolving" in line for line in lines)


def test_a_published_version_that_cannot_be_had_says_where_it_comes_from(
    wheels: Path, lines: list[str], tmp_path: Path
) -> None:
    store = Store()
    wanted = environment(wheels, "leaf")
    EnvironmentCache(tmp_path / "one", locks=store).ensure(wanted, lines.append)  # type: ignore[arg-type]
    store.objects = dict.fromkeys(store.objects, b"leaf==0.1\n")
    with pytest.raises(EnvironmentBuildError, match="leaf==0.1"):
        EnvironmentCache(tmp_path / "two", locks=store).ensure(wanted, lines.append)  # type: ignore[arg-type]


def test_a_store_that_is_down_costs_no_build(wheels: Path, lines: list[str], tmp_path: Path) -> None:
    store = Store()
    store.fails = True
    interpreter = EnvironmentCache(tmp_path / "one", locks=store).ensure(environment(wheels, "leaf"), lines.append)  # type: ignore[arg-type]
    assert interpreter.lock == "leaf==1.1\n"
    assert any("cannot be read" in line for line in lines)


def test_a_lock_that_names_files_of_this_machine_is_not_published(
    wheels: Path, lines: list[str], tmp_path: Path
) -> None:
    store = Store()
    wanted = environment(wheels, f"leaf @ file://{wheels}/leaf-1.0-py3-none-any.whl")
    interpreter = EnvironmentCache(tmp_path / "one", locks=store).ensure(wanted, lines.append)  # type: ignore[arg-type]
    assert interpreter.lock is not None
    assert interpreter.lock.startswith("leaf @ file:")
    assert store.objects == {}


# --- several processes ----------------------------------------------------------------------------------------------

WORKER = """
import json, sys
from pathlib import Path
from airflow_azureml.compute.environments import EnvironmentCache, builder
class Environment:
    digest = sys.argv[2]
    def specification(self): return json.loads(sys.argv[3])
if sys.argv[4]: builder.uv_program = lambda: sys.argv[4]
print("ready", flush=True); sys.stdin.readline()
with EnvironmentCache(Path(sys.argv[1])).ensure(Environment(), lambda line: print(line, flush=True)) as interpreter:
    print("python", interpreter.python, flush=True)
"""


def worker(root: Path, wanted: Environment, uv: Path | str = "") -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", WORKER, str(root), wanted.digest, json.dumps(wanted.specification()), str(uv)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def fake_uv(tmp_path: Path) -> Path:
    """A uv that begins an environment and never ends."""
    program = tmp_path / "uv"
    program.write_text(
        "#!/bin/sh\n"
        'for folder; do :; done; mkdir -p "$folder"; echo half > "$folder/file"; echo $$ > "$(dirname "$0")/pid"\n'
        "echo 'Building it'; trap '' TERM; while :; do read -t 60 line; sleep 60; done\n"
    )
    program.chmod(0o755)
    return program


def test_eight_processes_at_the_same_moment_make_one_build(wheels: Path, tmp_path: Path) -> None:
    wanted = environment(wheels, "stem")
    processes = [worker(tmp_path / "environments", wanted) for _ in range(8)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate()[0] for process in processes]
    assert sum("resolving" in output for output in outputs) == 1
    assert len({output.splitlines()[-1] for output in outputs}) == 1
    assert all(output.splitlines()[-1].startswith("python /") for output in outputs)


def test_after_kill_9_of_the_builder_nothing_writes_any_more_and_the_next_one_builds(
    wheels: Path, tmp_path: Path, lines: list[str]
) -> None:
    wanted = environment(wheels, "leaf")
    builder_process = worker(tmp_path / "environments", wanted, fake_uv(tmp_path))
    assert builder_process.stdin is not None
    assert builder_process.stdout is not None
    builder_process.stdin.write("go\n")
    builder_process.stdin.flush()
    assert "Building it" in builder_process.stdout.readline()
    builder_process.kill()
    interpreter = EnvironmentCache(tmp_path / "environments").ensure(wanted, lines.append)
    tool = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(tool, 0)
    assert output_of(interpreter.python, "import leaf; print(leaf.version)") == "1.1"
    assert not (interpreter.python.parent.parent / "file").exists()
    builder_process.communicate()


def test_a_cancel_during_the_build_ends_the_tool_and_leaves_nothing(
    cache: EnvironmentCache, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = threading.Event()
    program = fake_uv(tmp_path)
    monkeypatch.setattr(builder, "uv_program", lambda: str(program))

    def report(line: str) -> None:
        if "Building it" in line:
            cancelled.set()

    with pytest.raises(StepCanceled):
        cache.ensure(environment(wheels, "leaf"), report, cancelled)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert [p for p in (tmp_path / "environments").iterdir() if not p.name.startswith(".")] == []


def test_a_cancel_ends_the_wait_for_another_builder(wheels: Path, tmp_path: Path, lines: list[str]) -> None:
    wanted = environment(wheels, "leaf")
    other = worker(tmp_path / "environments", wanted, fake_uv(tmp_path))
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdin.write("go\n")
    other.stdin.flush()
    other.stdout.readline()
    cancelled = threading.Event()

    def report(line: str) -> None:
        lines.append(line)
        cancelled.set()

    try:
        with pytest.raises(StepCanceled):
            EnvironmentCache(tmp_path / "environments").ensure(wanted, report, cancelled)
        assert lines == [f"environment {wanted.digest[:8]}: waiting for another process that builds it"]
    finally:
        other.kill()
        other.communicate()


# --- pruning --------------------------------------------------------------------------------------------------------


def test_pruning_removes_the_longest_unused_first(
    cache: EnvironmentCache, wheels: Path, lines: list[str], tmp_path: Path
) -> None:
    old, recent = environment(wheels, "leaf==1.0"), environment(wheels, "leaf==1.1")
    for wanted in (old, recent):
        cache.ensure(wanted, lines.append).release()
    old_again = cache.ensure(old, lines.append)
    old_again.release()
    sizes = cache.prune(10**12)
    assert (len(sizes.kept), sizes.removed, sizes.freed_bytes) == (2, (), 0)
    report = cache.prune(_size(tmp_path / "environments" / sizes.kept[0]))
    assert report.kept == (old_again.python.parent.parent.name,)
    assert len(report.removed) == 1
    assert report.freed_bytes > 0
    assert cache.prune(0).kept == ()
    lines.clear()
    cache.ensure(recent, lines.append)
    assert lines  # it was built again


def _size(folder: Path) -> int:
    from airflow_azureml.compute.environments.prune import folder_bytes

    return folder_bytes(folder)


def test_pruning_never_removes_what_is_in_use(cache: EnvironmentCache, wheels: Path, lines: list[str]) -> None:
    with cache.ensure(environment(wheels, "leaf"), lines.append) as interpreter:
        report = cache.prune(0)
        assert report.in_use == (interpreter.python.parent.parent.name,)
        assert report.removed == ()
        assert output_of(interpreter.python, "import leaf") == ""
    assert cache.prune(0).in_use == ()


def test_pruning_removes_what_an_interrupted_build_has_left(cache: EnvironmentCache, tmp_path: Path) -> None:
    half = tmp_path / "environments" / "0123-half-built"
    half.mkdir(parents=True)
    (half / "file").write_text("x")
    assert cache.prune(10**12).removed == (half.name,)
    assert not half.exists()


def test_pruning_an_empty_cache(cache: EnvironmentCache) -> None:
    assert cache.prune(0).removed == ()


# --- conda ----------------------------------------------------------------------------------------------------------


def test_conda_packages_without_a_conda_tool_are_an_error_that_names_them(
    cache: EnvironmentCache, lines: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MAMBA_EXE", raising=False)
    monkeypatch.delenv("CONDA_EXE", raising=False)
    with pytest.raises(EnvironmentBuildError, match=r"conda packages \(scipy, gdal\).*install micromamba"):
        cache.ensure(Environment(conda=["scipy", "gdal"], pip=[]), lines.append)


def test_conda_packages_come_through_the_conda_tool_and_pip_packages_on_top(
    cache: EnvironmentCache, wheels: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a stand-in for micromamba that makes a virtual environment and notes how it was called."""
    program = tmp_path / "bin" / "micromamba"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/called\nwhile [ "$1" != --prefix ]; do shift; done\n'
        f'{sys.executable} -m venv --without-pip "$2" && mkdir "$2/conda-meta" && rm "$2/pyvenv.cfg.none" 2>/dev/null; true\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    wanted = environment(wheels, "leaf", conda=["scipy"], conda_channels=["internal"], python_version="3.12")
    interpreter = cache.ensure(wanted, lines.append)
    called = (tmp_path / "called").read_text()
    assert called.endswith("--override-channels --channel internal python=3.12 scipy\n")
    assert interpreter.variables == {"CONDA_PREFIX": str(interpreter.python.parent.parent)}
    assert interpreter.lock == "leaf==1.1\n"


# --- user-managed ---------------------------------------------------------------------------------------------------


def test_a_user_managed_interpreter_is_checked_and_used_as_it_is(cache: EnvironmentCache, lines: list[str]) -> None:
    wanted = Environment(user_managed=True, interpreter_path=sys.executable, environment_variables={"A": "b"})
    interpreter = cache.ensure(wanted, lines.append)
    assert interpreter.python == Path(sys.executable)
    assert interpreter.lock is None
    assert interpreter.variables["A"] == "b"
    assert interpreter.version == "%d.%d.%d" % sys.version_info[:3]


def test_its_digest_follows_the_installed_packages(
    cache: EnvironmentCache, wheels: Path, lines: list[str], tmp_path: Path
) -> None:
    prefix = tmp_path / "mine"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
    wanted = Environment(user_managed=True, interpreter_path=str(prefix / "bin" / "python"))
    before = cache.ensure(wanted, lines.append)
    assert cache.ensure(wanted, lines.append) == before
    assert before.variables == {"VIRTUAL_ENV": str(prefix)}
    site = next(prefix.glob("lib/*/site-packages"))
    (site / "leaf-1.0.dist-info").mkdir()
    assert cache.ensure(wanted, lines.append).digest != before.digest


def test_asking_again_starts_no_interpreter(
    cache: EnvironmentCache, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Environment(user_managed=True, interpreter_path=sys.executable)
    first = cache.ensure(wanted, lines.append)
    monkeypatch.setattr(subprocess, "run", None)
    assert cache.ensure(wanted, lines.append) == first


def test_a_name_is_looked_up_on_path_past_programs_that_do_not_work(
    cache: EnvironmentCache, lines: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, text in (("shims", "#!/bin/sh\nexit 127\n"), ("good", f'#!/bin/sh\nexec {sys.executable} "$@"\n')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mypython").write_text(text)
        (tmp_path / name / "mypython").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/shims:{tmp_path}/good:/usr/bin:/bin")
    interpreter = cache.ensure(Environment(user_managed=True, interpreter_path="mypython"), lines.append)
    assert interpreter.python == Path(sys.executable)


@pytest.mark.parametrize("wanted", ["/no/such/python", "no-such-python", "relative/python", "/bin/true"])
def test_a_user_managed_interpreter_that_does_not_run_is_an_error(
    wanted: str, cache: EnvironmentCache, lines: list[str]
) -> None:
    with pytest.raises(EnvironmentBuildError, match=f"the interpreter '{wanted}' does not run on this machine"):
        cache.ensure(Environment(user_managed=True, interpreter_path=wanted), lines.append)

