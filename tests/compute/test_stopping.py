"""Steps and runs that are stopped on purpose."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

from airflow_azureml import PipelineData
from airflow_azureml.compute.cancel import cancel_pipeline_run
from airflow_azureml.runtime.exceptions import StepCanceled, StepFailed


class TestAStepThatIsStopped:
    """By Airflow: its time is up, its run failed, somebody marked it."""

    def test_ends_with_all_its_processes_and_is_canceled(self, lab: Any) -> None:
        started = lab.root / "started"
        lab.script(f"""
            import signal, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            open({str(started)!r}, "w").write("x")
            time.sleep(600)
        """)

        def stop() -> None:
            while not started.exists():
                time.sleep(0.01)
            lab.stopping.set()

        thread = threading.Thread(target=stop)
        thread.start()
        with pytest.raises(StepFailed, match="killed by SIGKILL"):
            lab.run()
        thread.join()
        assert lab.record(lab.request().identity.step_run_id)["status"] == "Canceled"

    def test_while_its_environment_is_made_ends_too(self, lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        lab.script("raise SystemExit('never')")
        lab.stopping.set()
        with pytest.raises((StepFailed, StepCanceled)):
            lab.run()
        assert lab.record(lab.request().identity.step_run_id)["status"] == "Canceled"


class TestARunThatIsCanceled:
    @pytest.mark.parametrize("then", ["", "import time; time.sleep(600)", "raise SystemExit(1)"])
    def test_by_the_step_itself_ends_the_step_with_its_reason(self, lab: Any, then: str) -> None:
        lab.script(f"""
            import os, sys
            os.mkdir(sys.argv[1])
            from azureml.core import Run
            Run.get_context().cancel()
            {then}
        """)
        out = PipelineData("out")
        with pytest.raises(StepCanceled, match="the script canceled its run"):
            lab.run(arguments=[out], outputs=[out])
        record = lab.record(lab.request().identity.step_run_id)
        assert (record["status"], record["error"]) == ("Canceled", "the script canceled its run")
        assert not (lab.datastore / "azureml").exists()
        assert os.listdir(lab.services.scratch) == []
        lab.script("")
        lab.run("sibling")

    @pytest.mark.parametrize("then", ["", "import time; time.sleep(600)"])
    def test_by_a_step_as_a_whole_stops_what_would_start_after_it(self, lab: Any, then: str) -> None:
        lab.script(f"""
            from azureml.core import Run
            Run.get_context().parent.cancel()
            {then}
        """)
        with pytest.raises(StepCanceled, match="the script canceled its pipeline run"):
            lab.run()
        lab.script("")
        with pytest.raises(
            StepCanceled, match="the pipeline run was stopped: the script canceled its pipeline run"
        ):
            lab.run("sibling")
        cancel = lab.workspace.runs.get(lab.request().identity.pipeline_run_id)["cancel"]
        assert cancel["by"] == lab.request().identity.step_run_id
        lab.run("sibling", run_id="run-2")

    def test_by_a_sibling_ends_a_step_that_runs(self, lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow_azureml.compute.cancel.LOOK_AT_RUN_S", 0.1)
        started = lab.root / "started"
        lab.script(f"import time; open({str(started)!r}, 'w').write('x'); time.sleep(600)")
        identity = lab.request().identity

        def sibling() -> None:
            while not started.exists():
                time.sleep(0.01)
            cancel_pipeline_run(lab.workspace, identity.pipeline_run_id, "enough", "sibling")

        thread = threading.Thread(target=sibling)
        thread.start()
        with pytest.raises(StepCanceled, match="enough"):
            lab.run()
        thread.join()

    def test_may_run_again_once_it_had_ended_and_was_cleared(self, lab: Any) -> None:
        lab.script("")
        request = lab.request()
        lab.execute(request)
        runs, run_id = lab.workspace.runs, request.identity.pipeline_run_id
        cancel_pipeline_run(lab.workspace, run_id, "enough", "somebody")
        with pytest.raises(StepCanceled):
            lab.run("sibling")
        # What the listener writes when Airflow says that the run has ended.
        runs.update(
            run_id, lambda record: {**record, "status": "Canceled", "end": "2026-01-01T00:00:00+00:00"}
        )
        lab.run("sibling", try_number=2)
        record = runs.get(run_id)
        assert (record["status"], record["end"], record["cancel"]) == ("Running", None, None)
