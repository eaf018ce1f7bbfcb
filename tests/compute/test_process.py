"""A step's process: its output, its end, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_azureml.compute.limits import Limits
from airflow_azureml.compute.process import run_process
from airflow_azureml.compute.process_status import ExitStatus
from airflow_azureml.runtime.exceptions import DefinitionError, RunEnvironmentException

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: subreaper and /proc")
ENV = {"PATH": os.environ["PATH"]}
MARK = "AZUREML_TEST_TREE"
"""Variable by which the processes of one test are found, wherever they have gone."""


class Output:
    """Collects lines; lets a test wait for one."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.actions: dict[str, Callable[[], object]] = {}

    def __call__(self, stream: str, line: str) -> None:
        self.lines.append((stream, line))
        if line in self.actions:
            self.actions[line]()

    def of(self, stream: str) -> list[str]:
        return [line for name, line in self.lines if name == stream]


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path)
    for pid in marked(str(tmp_path)):  # only after a test has failed
        os.kill(pid, signal.SIGKILL)


def marked(value: str) -> list[int]:
    """Pids of the living processes that carry the mark in their environment."""
    wanted = f"{MARK}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something outside this process, which no event announces."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def run(code: str, output: Output, tmp_path: Path, **options: object) -> ExitStatus:
    options.setdefault("env", ENV)
    options.setdefault("grace_s", 5.0)
    return run_process([sys.executable, "-S", "-c", code], cwd=tmp_path, on_line=output, **options)  # type: ignore[arg-type]


# --- how it ends ----------------------------------------------------------------------------------------------------


def test_success(output: Output, tmp_path: Path) -> None:
    status = run("print('done')", output, tmp_path)
    assert (status.code, status.signal, status.succeeded) == (0, None, True)
    assert output.lines == [("stdout", "done")]
    assert status.duration_s > 0
    assert status.peak_memory_bytes > 1_000_000


def test_an_exit_code_is_reported_as_it_is(output: Output, tmp_path: Path) -> None:
    status = run("raise SystemExit(3)", output, tmp_path)
    assert (status.code, status.signal, status.succeeded) == (3, None, False)
    assert status.describe() == "exit code 3"


def test_an_exception_brings_its_traceback_on_stderr(output: Output, tmp_path: Path) -> None:
    status = run("raise ValueError('bad alpha')", output, tmp_path)
    assert status.code == 1
    assert output.of("stderr")[0] == "Traceback (most recent call last):"
    assert output.of("stderr")[-1] == "ValueError: bad alpha"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_is_told_apart_from_an_exit_code(number: int, output: Output, tmp_path: Path) -> None:
    status = run(f"import os; os.kill(os.getpid(), {int(number)})", output, tmp_path)
    assert (status.code, status.signal, status.succeeded) == (None, number, False)
    assert status.describe() == f"killed by {signal.Signals(number).name}"


def test_exit_code_137_is_not_a_signal(output: Output, tmp_path: Path) -> None:
    status = run("raise SystemExit(137)", output, tmp_path)
    assert (status.code, status.signal) == (137, None)


@pytest.mark.parametrize("argv", [["no-such-program"], ["/no/such/program"]])
def test_a_program_that_is_not_there_is_an_error_that_names_it(argv: list[str], tmp_path: Path) -> None:
    with pytest.raises(RunEnvironmentException, match=f"cannot start {argv[0]}: .*No such file"):
        run_process(argv, cwd=tmp_path, env=ENV, on_line=print)


def test_a_missing_working_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(RunEnvironmentException, match="nowhere"):
        run_process(["true"], cwd=tmp_path / "nowhere", env=ENV, on_line=print)


# --- what the step sees ---------------------------------------------------------------------------------------------


def test_the_environment_is_the_given_one_and_nothing_else(output: Output, tmp_path: Path) -> None:
    os.environ["AIRFLOW__CORE__FERNET_KEY_FOR_TEST"] = "secret"
    try:
        status = run_process(["env"], cwd=tmp_path, env={**ENV, "NAME": "wörld"}, on_line=output)
    finally:
        del os.environ["AIRFLOW__CORE__FERNET_KEY_FOR_TEST"]
    assert status.succeeded
    assert sorted(output.of("stdout")) == sorted([f"PATH={ENV['PATH']}", "NAME=wörld"])


@linux
def test_the_guard_holds_no_secret_of_the_worker_either(output: Output, tmp_path: Path) -> None:
    code = "import os; print(open(f'/proc/{os.getppid()}/environ').read().replace(chr(0), ' '))"
    os.environ["AIRFLOW__CORE__FERNET_KEY_FOR_TEST"] = "secret"
    try:
        run(code, output, tmp_path)
    finally:
        del os.environ["AIRFLOW__CORE__FERNET_KEY_FOR_TEST"]
    assert "AIRFLOW" not in output.of("stdout")[0]


@linux
def test_it_has_empty_input_two_outputs_and_no_other_descriptor(output: Output, tmp_path: Path) -> None:
    code = "import os, sys; print(os.listdir('/proc/self/fd')); print(repr(sys.stdin.read()))"
    with open(tmp_path / "file", "w") as file:
        os.set_inheritable(file.fileno(), True)
        run(code, output, tmp_path)
    assert output.of("stdout") == ["['0', '1', '2', '3']", "''"]  # 3 is the listing itself


def test_signals_that_the_interpreter_ignores_have_their_defaults(output: Output, tmp_path: Path) -> None:
    status = run_process(["sh", "-c", "kill -PIPE $$"], cwd=tmp_path, env=ENV, on_line=output)
    assert status.signal == signal.SIGPIPE


@linux
def test_it_is_a_better_victim_of_the_out_of_memory_killer_than_its_worker(output: Output, tmp_path: Path) -> None:
    run("print(open('/proc/self/oom_score_adj').read())", output, tmp_path)
    assert int(output.of("stdout")[0]) > int(Path("/proc/self/oom_score_adj").read_text())


# --- output ---------------------------------------------------------------------------------------------------------


def test_lines_come_while_the_script_runs(output: Output, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    output.actions["first"] = lambda: gate.write_text("go")  # the script cannot end before its first line is seen
    status = run("print('first', flush=True); open('gate').read(); print('second')", output, tmp_path)
    assert status.succeeded
    assert output.of("stdout") == ["first", "second"]


def test_both_streams_keep_their_order_and_their_last_unfinished_line(output: Output, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for i in range(20000): print(i); print(-i, file=sys.stderr)\n"
        "sys.stdout.write('end of stdout'); sys.stderr.write('end of stderr')"
    )
    run(code, output, tmp_path)
    assert output.of("stdout") == [*(str(i) for i in range(20000)), "end of stdout"]
    assert output.of("stderr") == [*(str(-i) for i in range(20000)), "end of stderr"]


def test_much_output_does_not_grow_memory(tmp_path: Path) -> None:
    import resource

    count = 0

    def on_line(stream: str, line: str) -> None:
        nonlocal count
        count += 1

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = "import sys; block = (b'x' * 99 + b'\\n') * 10000\nfor _ in range(50): sys.stdout.buffer.write(block)"
    run_process([sys.executable, "-S", "-c", code], cwd=tmp_path, env=ENV, on_line=on_line)
    assert count == 500_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


def test_a_closed_output_is_not_the_end(output: Output, tmp_path: Path) -> None:
    code = "import os, sys; os.close(1); os.close(2); open('written', 'w').close(); os._exit(5)"
    assert run(code, output, tmp_path).code == 5
    assert (tmp_path / "written").exists()


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
def test_children_and_daemons_that_a_script_leaves_are_killed(output: Output, tmp_path: Path, mark: str) -> None:
    status = run(LEAVES_CHILDREN, output, tmp_path, env={**ENV, MARK: mark})
    assert status.succeeded
    assert status.leftovers_killed == 2
    assert marked(mark) == []
    assert output.of("stdout") == ["left two"]


@linux
def test_a_cancel_ends_the_whole_tree(output: Output, tmp_path: Path, mark: str) -> None:
    cancelled = threading.Event()
    output.actions["left two"] = cancelled.set
    code = LEAVES_CHILDREN + "time.sleep(600)"
    status = run(code, output, tmp_path, env={**ENV, MARK: mark}, cancelled=cancelled)
    assert (status.canceled, status.signal, status.succeeded) == (True, signal.SIGTERM, False)
    assert status.describe() == "killed by SIGTERM (it was asked to stop)"
    assert marked(mark) == []


def test_a_script_may_use_the_grace_to_clean_up(output: Output, tmp_path: Path) -> None:
    cancelled = threading.Event()
    output.actions["ready"] = cancelled.set
    code = (
        "import signal, sys, time\n"
        "def end(*_): print('cleaned up'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(600)"
    )
    status = run(code, output, tmp_path, cancelled=cancelled)
    assert output.of("stdout") == ["ready", "cleaned up"]
    assert (status.code, status.canceled, status.succeeded) == (0, True, False)


IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)


def test_a_script_that_ignores_sigterm_is_killed_after_the_grace(output: Output, tmp_path: Path) -> None:
    cancelled = threading.Event()
    output.actions["ready"] = cancelled.set
    status = run(IGNORES_SIGTERM, output, tmp_path, cancelled=cancelled, grace_s=0.2)
    assert (status.signal, status.canceled) == (signal.SIGKILL, True)
    assert not status.oom


def test_a_stopped_process_is_killed_too(output: Output, tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    assert run(code, output, tmp_path, timeout_s=0.2, grace_s=0.1).timed_out


def test_the_time_limit(output: Output, tmp_path: Path) -> None:
    status = run("import time; time.sleep(600)", output, tmp_path, timeout_s=0.3)
    assert (status.timed_out, status.canceled, status.signal) == (True, False, signal.SIGTERM)
    assert status.describe() == "killed by SIGTERM (its time was up)"


@linux
def test_an_exception_in_the_worker_stops_the_step_and_still_delivers_its_last_words(
    output: Output, tmp_path: Path, mark: str
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
        run(code, output, tmp_path, env={**ENV, MARK: mark})
    assert output.of("stderr") == ["last words"]
    assert marked(mark) == []


@linux
@pytest.mark.parametrize("code", [LEAVES_CHILDREN + "time.sleep(600)", IGNORES_SIGTERM])
def test_a_worker_that_is_killed_takes_the_tree_with_it(code: str, tmp_path: Path, mark: str) -> None:
    worker_code = (
        "import sys; from airflow_azureml.compute.process import run_process\n"
        "run_process([sys.executable, '-S', '-c', sys.argv[1]], cwd='/', env={sys.argv[2]: sys.argv[3]},\n"
        "            on_line=lambda s, line: print(line, flush=True), grace_s=60)"
    )
    worker = subprocess.Popen([sys.executable, "-c", worker_code, code, MARK, mark], stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline()  # the step runs
        assert marked(mark)
        worker.kill()
        killed_at = time.monotonic()
        wait_until(lambda: not marked(mark))
        assert time.monotonic() - killed_at < 1.5
    finally:
        worker.kill()
        worker.communicate()


@linux
def test_without_its_guard_the_step_dies_and_the_worker_says_so(output: Output, tmp_path: Path, mark: str) -> None:
    code = "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)"
    status = run(code, output, tmp_path, env={**ENV, MARK: mark})
    assert status.guard_lost
    assert not status.succeeded
    assert "guard" in status.describe()
    wait_until(lambda: not marked(mark))


def test_output_held_open_by_somebody_else_does_not_hang(output: Output, tmp_path: Path) -> None:
    """A step may hand its stdout to a process that is not its child; the end of file then never comes."""
    import array
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        code = (
            "import array, socket; s = socket.socket(socket.AF_UNIX); s.connect('socket')\n"
            "s.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [1]))]); print('handed over')"
        )
        status = run(code, output, tmp_path)
        taker, _ = server.accept()
        _, ancillary, _, _ = taker.recvmsg(1, socket.CMSG_SPACE(4))
        for fd in array.array("i", ancillary[0][2]):
            os.close(fd)
        taker.close()
    assert status.succeeded
    assert output.of("stdout") == ["handed over"]


@linux
def test_a_descriptor_kept_by_the_guard_stays_open_until_the_tree_is_gone(tmp_path: Path, mark: str) -> None:
    import fcntl

    lock = tmp_path / "lock"
    worker_code = (
        "import fcntl, os, sys; from airflow_azureml.compute.process import run_process\n"
        "fd = os.open(sys.argv[4], os.O_CREAT | os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "run_process([sys.executable, '-S', '-c', sys.argv[1]], cwd='/', env={sys.argv[2]: sys.argv[3]},\n"
        "            on_line=lambda s, line: print(line, flush=True), keep_fds=[fd])"
    )
    argv = [sys.executable, "-c", worker_code, IGNORES_SIGTERM, MARK, mark, str(lock)]
    worker = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline()
        worker.kill()
        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
        assert marked(mark) == []
    finally:
        worker.kill()
        worker.communicate()


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [("memory_bytes", 0), ("cpus", -1), ("cpus", 1.5), ("cpus", True)])
def test_a_limit_that_makes_no_sense_is_refused(name: str, value: object) -> None:
    with pytest.raises(DefinitionError, match=f"Limits: {name} is"):
        Limits(**{name: value})  # type: ignore[arg-type]


@linux
def test_the_memory_limit_is_a_memory_error_with_the_scripts_own_traceback(output: Output, tmp_path: Path) -> None:
    status = run("b = bytearray(300_000_000)", output, tmp_path, limits=Limits(memory_bytes=200_000_000))
    assert status.code == 1
    assert output.of("stderr")[-1] == "MemoryError"


@linux
def test_the_memory_limit_holds_for_all_processes_together(output: Output, tmp_path: Path, mark: str) -> None:
    code = (
        "import os, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        block = b'x' * 80_000_000\n"
        "        time.sleep(600)\n"
        "time.sleep(600)"
    )
    status = run(code, output, tmp_path, limits=Limits(memory_bytes=200_000_000), env={**ENV, MARK: mark})
    assert status.signal == signal.SIGKILL
    assert status.memory_exceeded_bytes > 200_000_000
    assert "more than the memory limit" in status.describe()
    assert marked(mark) == []


@linux
def test_the_cpu_limit_is_an_affinity_that_libraries_see(output: Output, tmp_path: Path) -> None:
    run("import os; print(len(os.sched_getaffinity(0)))", output, tmp_path, limits=Limits(cpus=1))
    run("import os; print(len(os.sched_getaffinity(0)))", output, tmp_path, limits=Limits(cpus=10_000))
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
def test_the_kernels_out_of_memory_killer_is_recognised(output: Output, tmp_path: Path, small_group: Path) -> None:
    enter = f"open('{small_group}/cgroup.procs', 'w').write('0')"
    status = run(f"{enter}; block = b'x' * 300_000_000", output, tmp_path)
    assert (status.code, status.signal, status.oom) == (None, signal.SIGKILL, True)
    assert status.describe() == "killed by SIGKILL (the machine, or the worker's container, ran out of memory)"


@linux
def test_a_full_disk_is_the_scripts_own_error(output: Output, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True)
    code = "open('small/file', 'wb', buffering=0).write(b'x' * 1_000_000); open('small/two', 'wb', buffering=0).write(b'x')"
    if mounted.returncode:
        code = "open('/dev/full', 'wb', buffering=0).write(b'x')"
    try:
        status = run(code, output, tmp_path)
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", small], check=True)
    assert status.code == 1
    assert "No space left on device" in output.of("stderr")[-1]
