"""Scripts in processes of their own: what they find, how they end, what becomes of their folder."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import DataReference, PipelineData
from airflow_azureml.compute import local
from airflow_azureml.model.environment import Environment
from airflow_azureml.runtime.exceptions import EnvironmentBuildError, StepFailed


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestAScriptFinds:
    def test_the_root_of_its_source_as_working_directory_and_both_folders_importable(self, lab: Any) -> None:
        lab.script("", "helper/__init__.py")
        lab.script("x = 1", "steps/beside.py")
        lab.script(
            """
            import os, sys
            import beside, helper
            assert os.listdir(".").sort() == ["helper", "logs", "outputs", "steps"].sort()
            assert os.path.samefile(os.path.dirname(os.path.abspath(helper.__file__)), "helper")
            """,
            "steps/main.py",
        )
        lab.run(script="steps/main.py")

    def test_outputs_and_logs_and_what_it_leaves_there_belongs_to_the_run(self, lab: Any) -> None:
        lab.script("""
            open("outputs/model.txt", "w").write("weights")
            open("logs/train.log", "w").write("epoch 1")
        """)
        record = lab.record(lab.run())
        assert [item["name"] for item in record["artifacts"]] == ["logs/train.log", "outputs/model.txt"]
        assert lab.workspace.store.get(record["artifacts"][1]["key"]).data == b"weights"

    def test_its_arguments_as_text_whatever_they_are(self, lab: Any) -> None:
        lab.script("""
            import json, sys
            json.dump(sys.argv[1:], open("outputs/argv", "w"))
        """)
        arguments = ["--x", 1, 2.5, True, -3, "a 'b' \"c\" {d}; $HOME", "ü\n"]
        record = lab.record(lab.run(arguments=arguments))
        import json

        assert json.loads(lab.workspace.store.get(record["artifacts"][0]["key"]).data) == [
            "--x",
            "1",
            "2.5",
            "True",
            "-3",
            "a 'b' \"c\" {d}; $HOME",
            "ü\n",
        ]

    def test_its_code_and_changes_to_it_are_its_own(self, lab: Any) -> None:
        lab.script("open('helper.py', 'a').write('x')")
        lab.script("y", "helper.py")
        lab.run()
        assert (lab.code / "helper.py").read_text() == "y"
        assert lab.run(run_id="run-2").reuse["code"] == "hit"


class TestItsLog:
    def test_goes_line_by_line_to_the_task_log_and_into_the_record(
        self, lab: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        lab.script("""
            import sys
            print("to stdout")
            print("to stderr", file=sys.stderr)
            sys.stdout.buffer.write(b"binary \\xff\\n")
        """)
        with caplog.at_level(logging.INFO):
            record = lab.record(lab.run())
        assert {"to stdout", "to stderr", "binary \\xff"} <= set(caplog.messages)
        (kept,) = record["logs"]
        assert kept["name"] == "user_logs/std_log.txt"
        text = lab.workspace.store.get(kept["key"]).data.decode()
        assert sorted(text.splitlines()) == ["binary \\xff", "to stderr", "to stdout"]
        assert kept["size_bytes"] == len(text.encode())

    def test_is_kept_of_a_script_that_failed(self, lab: Any) -> None:
        lab.script("print('before'); raise ValueError('the reason')")
        with pytest.raises(StepFailed):
            lab.run()
        record = lab.record(lab.request().identity.step_run_id)
        text = lab.workspace.store.get(record["logs"][0]["key"]).data.decode()
        assert text.startswith("before\nTraceback")
        assert text.rstrip().endswith("ValueError: the reason")


class TestAScriptThatFails:
    @pytest.mark.parametrize(
        ("script", "message", "exit_code", "signal"),
        [
            ("raise SystemExit(3)", "script main.py: exit code 3", 3, None),
            ("raise ValueError('why')", "script main.py: exit code 1", 1, None),
            ("import os; os.kill(os.getpid(), 9)", "script main.py: killed by SIGKILL", None, 9),
            ("import os; os.abort()", "script main.py: killed by SIGABRT", None, 6),
        ],
    )
    def test_says_how_and_leaves_nothing_that_counts(
        self, lab: Any, script: str, message: str, exit_code: int | None, signal: int | None
    ) -> None:
        lab.script(f"""
            import os, sys
            os.mkdir(sys.argv[1])
            open("outputs/model", "w").write("half")
            from azureml.core import Run
            Run.get_context().log("rows", 1)
            Run.get_context().parent.tag("seen", "no")
            {script}
        """)
        out = PipelineData("out")
        with pytest.raises(StepFailed) as error:
            lab.run(arguments=[out], outputs=[out])
        assert str(error.value) == message
        assert (error.value.exit_code, error.value.signal) == (exit_code, signal)
        request = lab.request(arguments=[out], outputs=[out])
        record = lab.record(request.identity.step_run_id)
        assert (record["status"], record["error"]) == ("Failed", message)
        assert not any(record[field] for field in ("outputs", "metrics", "artifacts", "parent_effects"))
        assert not (lab.datastore / "azureml").exists()
        assert not lab.workspace.runs.is_committed(record["id"])
        assert lab.workspace.runs.parent_view(record["pipeline_run_id"])["tags"] == {}

    def test_keeps_its_folder_and_says_where_and_what_to_try(
        self, lab: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        lab.script("import os, sys; os.mkdir(sys.argv[1]); raise SystemExit(1)")
        out = PipelineData("out")
        with pytest.raises(StepFailed):
            lab.run(arguments=[out], outputs=[out])
        folder = lab.services.scratch / lab.request().identity.step_run_id
        assert list(folder.glob("out/*/azureml/*/out"))
        said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert said == [
            "script main.py: exit code 1",
            f"logs and partial outputs are in {folder} for a week",
            "not kept: outputs out, metrics, artifacts and registrations of this try",
            "to try: correct the cause above and clear this task; steps that succeeded are reused",
        ]

    def test_runs_again_in_an_empty_folder(self, lab: Any) -> None:
        lab.script("import os; os.mkdir('outputs/once'); raise SystemExit(1)")
        for _ in range(2):
            with pytest.raises(StepFailed, match="exit code 1"):
                lab.run()

    def test_leaves_no_process_behind(self, lab: Any) -> None:
        pids = lab.root / "pid"
        lab.script(f"""
            import subprocess, sys
            child = subprocess.Popen(
                [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"],
                start_new_session=True,
            )
            open({str(pids)!r}, "w").write(str(child.pid))
        """)
        lab.run()
        assert not is_alive(int(pids.read_text()))

    def test_because_its_interpreter_is_not_there_says_so(self, lab: Any) -> None:
        lab.script("")
        environment = Environment.from_interpreter("lost", "/no/such/python")
        with pytest.raises(EnvironmentBuildError, match="/no/such/python"):
            lab.run(environment=environment)
        assert lab.record(lab.request().identity.step_run_id)["status"] == "Failed"


class TestAfterASuccess:
    def test_its_folder_is_gone(self, lab: Any) -> None:
        lab.script("import os; os.mkdir('locked'); os.chmod('locked', 0)")
        lab.run()
        assert os.listdir(lab.services.scratch) == []

    def test_the_record_says_with_what_it_ran(self, lab: Any) -> None:
        lab.script("")
        record = lab.record(lab.run())
        assert record["environment"]["python"] == sys.executable
        assert record["environment"]["python_version"].startswith(
            f"{sys.version_info.major}.{sys.version_info.minor}"
        )
        assert record["snapshot"] == record["properties"]["ContentSnapshotId"]
        assert record["properties"]["StepType"] == "PythonScriptStep"
        assert record["duration_s"] > 0


class TestAFullDisk:
    def test_costs_the_step_its_folder_and_says_so(
        self, lab: Any, in_process: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            usage = shutil.disk_usage(cwd)
            monkeypatch.setattr(local.shutil, "disk_usage", lambda _: usage._replace(free=1000))
            raise SystemExit(1)

        in_process(script)
        lab.script("")
        with pytest.raises(StepFailed):
            lab.run()
        assert (
            "the disk is full: the step's working directory was removed, partial outputs with it"
            in caplog.messages
        )
        assert os.listdir(lab.services.scratch) == []

    def test_met_while_results_are_kept_too(
        self, lab: Any, in_process: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from airflow_azureml.compute.staging import OutputStaging

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(OutputStaging, "publish", full)
        in_process(lambda cwd, env, argv: os.mkdir(argv[0]))
        lab.script("")
        out = PipelineData("out")
        with pytest.raises(OSError, match="No space left"):
            lab.run(arguments=[out], outputs=[out])
        assert os.listdir(lab.services.scratch) == []
        assert lab.record(lab.request().identity.step_run_id)["status"] == "Failed"


class TestALostTry:
    """Its worker was killed; the next try finds what it left."""

    def lose(self, lab: Any, in_process: Any, out: Any, where: str, monkeypatch: pytest.MonkeyPatch) -> str:
        class Killed(BaseException):
            pass

        from airflow_azureml.compute.commit import Commit
        from airflow_azureml.compute.execution import StepExecution
        from airflow_azureml.compute.staging import OutputStaging
        from airflow_azureml.workspace.runs import RunRecords

        def killed(*_: object, **__: object) -> None:
            raise Killed

        with monkeypatch.context() as patched:
            # kill -9 lets nothing clean up.
            patched.setattr(StepExecution, "_close", lambda *_: None)
            patched.setattr(OutputStaging, "withdraw", lambda *_: None)
            patched.setattr(local.LocalRun, "__exit__", lambda *_: None)
            owner = {"_register_outputs": Commit, "commit": RunRecords, "publish": OutputStaging}[where]
            patched.setattr(owner, where, killed)
            with pytest.raises(Killed):
                lab.run(arguments=[out], outputs=[out])
        return str(lab.request().identity.step_run_id)

    @pytest.mark.parametrize("where", ["publish", "_register_outputs", "commit"])
    def test_is_closed_and_what_it_left_is_removed(
        self,
        lab: Any,
        in_process: Any,
        where: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        in_process(lambda cwd, env, argv: os.mkdir(argv[0]))
        lab.script("")
        out = PipelineData("out")
        lost = self.lose(lab, in_process, out, where, monkeypatch)
        assert (lab.services.scratch / lost).exists()

        outcome = lab.run(arguments=[out], outputs=[out], try_number=2)

        record = lab.record(lost)
        assert (record["status"], record["error"]) == ("Failed", "the worker died while the step ran")
        assert record["outputs"] == {}
        assert os.listdir(lab.services.scratch) == []
        assert os.listdir(lab.datastore / "azureml") == [outcome.document["step_run_id"]]
        assert (
            "an earlier try of this step ended with its worker; what it left was removed" in caplog.messages
        )

    def test_is_not_one_that_failed_or_succeeded_by_itself(self, lab: Any, in_process: Any) -> None:
        def fails(*_: object) -> None:
            raise SystemExit(1)

        in_process(fails)
        lab.script("")
        with pytest.raises(StepFailed):
            lab.run()
        in_process(lambda *_: None)
        second = lab.run(try_number=2)
        third = lab.run(try_number=3, allow_reuse=False)
        assert lab.record(lab.request().identity.step_run_id)["error"] == "script main.py: exit code 1"
        assert lab.record(second)["status"] == lab.record(third)["status"] == "Finished"


def test_a_run_that_was_deleted_and_created_anew_has_new_step_runs(lab: Any, in_process: Any) -> None:
    in_process(lambda cwd, env, argv: Path(argv[0]).write_text(env["AZUREML_RUN_ID"]))
    lab.script("")
    out = PipelineData("out")
    one = lab.run(arguments=[out], outputs=[out], instance="1", allow_reuse=False)
    two = lab.run(arguments=[out], outputs=[out], instance="2", allow_reuse=False)
    assert one.document["step_run_id"] != two.document["step_run_id"]
    for outcome in (one, two):
        assert lab.path_of(outcome, "out").read_text() == outcome.document["step_run_id"]


def test_a_script_uploads_a_folder_it_was_only_shown(lab: Any) -> None:
    lab.datastore_file("raw/deep/a.csv", "1")
    lab.script("""
        import sys
        from azureml.core import Run
        Run.get_context().upload_folder("copied", sys.argv[1])
    """)
    raw = DataReference("workspaceblobstore", "raw", "raw")
    record = lab.record(lab.run(inputs=[raw], arguments=[raw]))
    assert [item["name"] for item in record["artifacts"]] == ["copied/deep/a.csv"]
