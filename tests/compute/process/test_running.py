"""A step's process: what it sees, its output, and how it ended."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.guard_process import GuardProcess
from airflow_azureml.compute.process import run_process
from airflow_azureml.compute.process_status import ExitStatus
from airflow_azureml.runtime.exceptions import RunEnvironmentException

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: subreaper and /proc")
Run = Callable[..., ExitStatus]
ENV = {"PATH": os.environ["PATH"]}

# --- how it ends ----------------------------------------------------------------------------------------------------


def test_success(output: Any, run: Run) -> None:
    status = run("print('done')")
    assert (status.code, status.signal, status.succeeded) == (0, None, True)
    assert output.lines == [("stdout", "done")]
    assert status.duration_s > 0
    assert status.peak_memory_bytes > 1_000_000


def test_an_exit_code_is_reported_as_it_is(run: Run) -> None:
    status = run("raise SystemExit(3)")
    assert (status.code, status.signal, status.succeeded) == (3, None, False)
    assert status.describe() == "exit code 3"


def test_an_exception_brings_its_traceback_on_stderr(output: Any, run: Run) -> None:
    status = run("raise ValueError('bad alpha')")
    assert status.code == 1
    assert output.of("stderr")[0] == "Traceback (most recent call last):"
    assert output.of("stderr")[-1] == "ValueError: bad alpha"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_is_told_apart_from_an_exit_code(number: int, run: Run) -> None:
    status = run(f"import os; os.kill(os.getpid(), {int(number)})")
    assert (status.code, status.signal, status.succeeded) == (None, number, False)
    assert status.describe() == f"killed by {signal.Signals(number).name}"


def test_exit_code_137_is_not_a_signal(run: Run) -> None:
    status = run("raise SystemExit(137)")
    assert (status.code, status.signal) == (137, None)


@pytest.mark.parametrize("argv", [["no-such-program"], ["/no/such/program"]])
def test_a_program_that_is_not_there_is_an_error_that_names_it(argv: list[str], tmp_path: Path) -> None:
    with pytest.raises(RunEnvironmentException, match=f"cannot start {argv[0]}: .*No such file"):
        run_process(argv, cwd=tmp_path, env=ENV, on_line=print)


def test_a_missing_working_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(RunEnvironmentException, match="nowhere"):
        run_process(["true"], cwd=tmp_path / "nowhere", env=ENV, on_line=print)


# --- what the step sees ---------------------------------------------------------------------------------------------


def test_the_environment_is_the_given_one_and_nothing_else(output: Any, tmp_path: Path) -> None:
    os.environ["AIRFLOW__CORE__FERNET_KEY_FOR_TEST"] = "secret"
    try:
        status = run_process(["env"], cwd=tmp_path, env={**ENV, "NAME": "wörld"}, on_line=output)
    finally:
        del os.environ["AIRFLOW__CORE__FERNET_KEY_FOR_TEST"]
    assert status.succeeded
    assert sorted(output.of("stdout")) == sorted([f"PATH={ENV['PATH']}", "NAME=wörld"])


@linux
def test_the_guard_holds_no_secret_of_the_worker_either(output: Any, run: Run) -> None:
    code = "import os; print(open(f'/proc/{os.getppid()}/environ').read().replace(chr(0), ' '))"
    os.environ["AIRFLOW__CORE__FERNET_KEY_FOR_TEST"] = "secret"
    try:
        run(code)
    finally:
        del os.environ["AIRFLOW__CORE__FERNET_KEY_FOR_TEST"]
    assert "AIRFLOW" not in output.of("stdout")[0]


@linux
def test_it_has_empty_input_two_outputs_and_no_other_descriptor(
    output: Any, tmp_path: Path, run: Run
) -> None:
    code = "import os, sys; print(os.listdir('/proc/self/fd')); print(repr(sys.stdin.read()))"
    with (tmp_path / "file").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        run(code)
    assert output.of("stdout") == ["['0', '1', '2', '3']", "''"]  # 3 is the listing itself


def test_signals_that_the_interpreter_ignores_have_their_defaults(output: Any, tmp_path: Path) -> None:
    status = run_process(["sh", "-c", "kill -PIPE $$"], cwd=tmp_path, env=ENV, on_line=output)
    assert status.signal == signal.SIGPIPE


@linux
def test_it_is_a_better_victim_of_the_out_of_memory_killer_than_its_worker(output: Any, run: Run) -> None:
    run("print(open('/proc/self/oom_score_adj').read())")
    assert int(output.of("stdout")[0]) > int(Path("/proc/self/oom_score_adj").read_text())


# --- output ---------------------------------------------------------------------------------------------------------


def test_lines_come_while_the_script_runs(output: Any, tmp_path: Path, run: Run) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    output.actions["first"] = lambda: gate.write_text("go")  # until then the script cannot end
    status = run("print('first', flush=True); open('gate').read(); print('second')")
    assert status.succeeded
    assert output.of("stdout") == ["first", "second"]


def test_both_streams_keep_their_order_and_their_last_unfinished_line(output: Any, run: Run) -> None:
    code = (
        "import sys\n"
        "for i in range(20000): print(i); print(-i, file=sys.stderr)\n"
        "sys.stdout.write('end of stdout'); sys.stderr.write('end of stderr')"
    )
    run(code)
    assert output.of("stdout") == [*(str(i) for i in range(20000)), "end of stdout"]
    assert output.of("stderr") == [*(str(-i) for i in range(20000)), "end of stderr"]


def test_much_output_does_not_grow_memory(tmp_path: Path) -> None:
    count = 0

    def on_line(stream: str, line: str) -> None:
        nonlocal count
        count += 1

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = (
        "import sys; block = (b'x' * 99 + b'\\n') * 10000\nfor _ in range(50): sys.stdout.buffer.write(block)"
    )
    run_process([sys.executable, "-S", "-c", code], cwd=tmp_path, env=ENV, on_line=on_line)
    assert count == 500_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


def test_a_closed_output_is_not_the_end(tmp_path: Path, run: Run) -> None:
    code = "import os, sys; os.close(1); os.close(2); open('written', 'w').close(); os._exit(5)"
    assert run(code).code == 5
    assert (tmp_path / "written").exists()


# --- a guard started early -------------------------------------------------------------------------------------------


def test_a_guard_that_gets_no_plan_ends_with_its_block() -> None:
    with GuardProcess() as guard:
        pass
    assert guard._process.returncode == 0
    assert guard.outputs == {}


def test_a_guard_started_early_runs_the_program(tmp_path: Path, output: Any) -> None:
    with GuardProcess() as guard:
        status = run_process(["echo", "hello"], cwd=tmp_path, env=ENV, on_line=output, guard=guard)
    assert status.succeeded
    assert output.lines == [("stdout", "hello")]
