"""Whatever happens, nothing of a step's process tree is left; limits and faults of the machine are told apart."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.limits import Limits
from airflow_azureml.compute.process_status import ExitStatus
from airflow_azureml.runtime.exceptions import DefinitionError

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: subreaper and /proc")
Run = Callable[..., ExitStatus]


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something outside this process, which no event announces."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


# --- nothing is left ------------------------------------------------------------------------------------------------

LEAVES_CHILDREN = """
import os, signal, sys, time
def leave(*, session):
    if os.fork() == 0:
        if session:
            os.setsid()
            if os.fork(): os._exit(0)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(pipe[1], b"x")
        time.sleep(600)
        os._exit(0)
pipe = os.pipe()
leave(session=False)
leave(session=True)
for _ in range(2): os.read(pipe[0], 1)
print("left two", flush=True)
"""


@linux
def test_children_and_daemons_that_a_script_leaves_are_killed(output: Any, tree: Any, run: Run) -> None:
    status = run(LEAVES_CHILDREN)
    assert status.succeeded
    assert status.leftovers_killed == 2
    assert tree.pids() == []
    assert output.of("stdout") == ["left two"]


@linux
def test_a_cancel_ends_the_whole_tree(output: Any, tree: Any, run: Run) -> None:
    cancelled = threading.Event()
    output.actions["left two"] = cancelled.set
    code = LEAVES_CHILDREN + "time.sleep(600)"
    status = run(code, cancelled=cancelled)
    assert (status.canceled, status.signal, status.succeeded) == (True, signal.SIGTERM, False)
    assert status.describe() == "killed by SIGTERM (it was asked to stop)"
    assert tree.pids() == []


def test_a_script_may_use_the_grace_to_clean_up(output: Any, run: Run) -> None:
    cancelled = threading.Event()
    output.actions["ready"] = cancelled.set
    code = (
        "import signal, sys, time\n"
        "def end(*_): print('cleaned up'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(600)"
    )
    status = run(code, cancelled=cancelled)
    assert output.of("stdout") == ["ready", "cleaned up"]
    assert (status.code, status.canceled, status.succeeded) == (0, True, False)


IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready', flush=True)
time.sleep(600)
"""


def test_a_script_that_ignores_sigterm_is_killed_after_the_grace(output: Any, run: Run) -> None:
    cancelled = threading.Event()
    output.actions["ready"] = cancelled.set
    status = run(IGNORES_SIGTERM, cancelled=cancelled, grace_s=0.2)
    assert (status.signal, status.canceled) == (signal.SIGKILL, True)
    assert not status.oom


def test_a_stopped_process_is_killed_too(run: Run) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    assert run(code, timeout_s=0.2, grace_s=0.1).timed_out


def test_the_time_limit(run: Run) -> None:
    status = run("import time; time.sleep(600)", timeout_s=0.3)
    assert (status.timed_out, status.canceled, status.signal) == (True, False, signal.SIGTERM)
    assert status.describe() == "killed by SIGTERM (its time was up)"


@linux
def test_an_exception_in_the_worker_stops_the_step_and_still_delivers_its_last_words(
    output: Any, tree: Any, run: Run
) -> None:
    class TaskTimeout(BaseException):
        """Stands for what Airflow raises from its alarm signal."""

    def interrupt() -> None:
        raise TaskTimeout

    output.actions["ready"] = interrupt
    code = (
        "import signal, sys, time\n"
        "def end(*_): sys.exit('last words')\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(600)"
    )
    with pytest.raises(TaskTimeout):
        run(code)
    assert output.of("stderr") == ["last words"]
    assert tree.pids() == []


@linux
@pytest.mark.parametrize("code", [LEAVES_CHILDREN + "time.sleep(600)", IGNORES_SIGTERM])
def test_a_worker_that_is_killed_takes_the_tree_with_it(code: str, tree: Any) -> None:
    worker_code = (
        "import sys; from airflow_azureml.compute.process import run_process\n"
        "run_process([sys.executable, '-S', '-c', sys.argv[1]], cwd='/', env={sys.argv[2]: sys.argv[3]},\n"
        "            on_line=lambda s, line: print(line, flush=True), grace_s=60)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", worker_code, code, tree.variable, tree.value], stdout=subprocess.PIPE
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline()  # the step runs
        assert tree.pids()
        worker.kill()
        killed_at = time.monotonic()
        wait_until(lambda: not tree.pids())
        assert time.monotonic() - killed_at < 1.5
    finally:
        worker.kill()
        worker.communicate()


@linux
def test_without_its_guard_the_step_dies_and_the_worker_says_so(tree: Any, run: Run) -> None:
    code = "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)"
    status = run(code)
    assert status.guard_lost
    assert not status.succeeded
    assert "guard" in status.describe()
    wait_until(lambda: not tree.pids())


def test_output_held_open_by_somebody_else_does_not_hang(output: Any, tmp_path: Path, run: Run) -> None:
    """A step may hand its stdout to a process that is not its child; the end of file then never comes."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        code = (
            "import array, socket; s = socket.socket(socket.AF_UNIX); s.connect('socket')\n"
            "s.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [1]))]); print('handed over')"
        )
        status = run(code)
        taker, _ = server.accept()
        _, ancillary, _, _ = taker.recvmsg(1, socket.CMSG_SPACE(4))
        for fd in array.array("i", ancillary[0][2]):
            os.close(fd)
        taker.close()
    assert status.succeeded
    assert output.of("stdout") == ["handed over"]


@linux
def test_a_descriptor_kept_by_the_guard_stays_open_until_the_tree_is_gone(tmp_path: Path, tree: Any) -> None:
    lock = tmp_path / "lock"
    worker_code = (
        "import fcntl, os, sys; from airflow_azureml.compute.guard_process import GuardProcess; "
        "from airflow_azureml.compute.process import run_process\n"
        "fd = os.open(sys.argv[4], os.O_CREAT | os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "run_process([sys.executable, '-S', '-c', sys.argv[1]], cwd='/', env={sys.argv[2]: sys.argv[3]},\n"
        "            on_line=lambda s, line: print(line, flush=True), guard=GuardProcess([fd]))"
    )
    argv = [sys.executable, "-c", worker_code, IGNORES_SIGTERM, tree.variable, tree.value, str(lock)]
    worker = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline()
        worker.kill()
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
        assert tree.pids() == []
    finally:
        worker.kill()
        worker.communicate()


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"), [("memory_bytes", 0), ("cpus", -1), ("cpus", 1.5), ("cpus", True)]
)
def test_a_limit_that_makes_no_sense_is_refused(name: str, value: object) -> None:
    with pytest.raises(DefinitionError, match=f"Limits: {name} is"):
        Limits(**{name: value})  # type: ignore[arg-type]


@linux
def test_the_memory_limit_is_a_memory_error_with_the_scripts_own_traceback(output: Any, run: Run) -> None:
    status = run("b = bytearray(300_000_000)", limits=Limits(memory_bytes=200_000_000))
    assert status.code == 1
    assert output.of("stderr")[-1] == "MemoryError"


@linux
def test_the_memory_limit_holds_for_all_processes_together(tree: Any, run: Run) -> None:
    code = (
        "import os, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        block = b'x' * 80_000_000\n"
        "        time.sleep(600)\n"
        "time.sleep(600)"
    )
    status = run(code, limits=Limits(memory_bytes=200_000_000))
    assert status.signal == signal.SIGKILL
    assert status.memory_exceeded_bytes > 200_000_000
    assert "more than the memory limit" in status.describe()
    assert tree.pids() == []


@linux
def test_the_cpu_limit_is_an_affinity_that_libraries_see(output: Any, run: Run) -> None:
    run("import os; print(len(os.sched_getaffinity(0)))", limits=Limits(cpus=1))
    run("import os; print(len(os.sched_getaffinity(0)))", limits=Limits(cpus=10_000))
    assert output.of("stdout") == ["1", str(len(os.sched_getaffinity(0)))]


# --- faults of the machine ------------------------------------------------------------------------------------------


@pytest.fixture
def small_group(tmp_path: Path) -> Iterator[Path]:
    """A control group with 64 MiB of memory."""
    group = Path("/sys/fs/cgroup/memory") / f"airflow-azureml-{os.getpid()}"
    limit = group / "memory.limit_in_bytes"
    try:
        group.mkdir()
        limit.write_text(str(64 * 1024 * 1024))
    except OSError:
        pytest.skip("no control group can be made here")
    yield group
    wait_until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


@linux
def test_the_kernels_out_of_memory_killer_is_recognised(small_group: Path, run: Run) -> None:
    enter = f"open('{small_group}/cgroup.procs', 'w').write('0')"
    status = run(f"{enter}; block = b'x' * 300_000_000")
    assert (status.code, status.signal, status.oom) == (None, signal.SIGKILL, True)
    assert (
        status.describe() == "killed by SIGKILL (the machine, or the worker's container, ran out of memory)"
    )


@linux
def test_a_full_disk_is_the_scripts_own_error(output: Any, tmp_path: Path, run: Run) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True)
    code = "open('small/file', 'wb', buffering=0).write(b'x' * 1_000_000); open('small/two', 'wb', buffering=0).write(b'x')"
    if mounted.returncode:
        code = "open('/dev/full', 'wb', buffering=0).write(b'x')"
    try:
        status = run(code)
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", small], check=True)
    assert status.code == 1
    assert "No space left on device" in output.of("stderr")[-1]
