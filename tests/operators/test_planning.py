"""Plans: what a run would reuse, found before there is a run."""

import json
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_azureml import UserErrorException, config
from airflow_azureml.compute.execution import StepExecution
from airflow_azureml.operators.planning import Plan, PlanDecision, plan
from airflow_azureml.reuse.controls import RunControls
from airflow_azureml.reuse.leases import Holder, LeaseStore
from airflow_azureml.workspace.handle import WorkspaceHandle, open_workspace

# What the libraries under Airflow warn of while a script runs is not ours.
pytestmark = pytest.mark.filterwarnings("ignore")

HERE = f"""
here = Environment("here")
here.python.user_managed_dependencies = True
here.python.interpreter_path = {sys.executable!r}
usual = {{"environment": here, "source_directory": "steps"}}
"""
WRITE = """
    import os, sys

    os.makedirs(sys.argv[1])
    with open(os.path.join(sys.argv[1], "part.txt"), "w") as file:
        file.write(" ".join(sys.argv[2:]))
"""
CHAIN = """
    with Pipeline("chain", default_args=usual):
        alpha = PipelineParameter("alpha", 0.5)
        prepared, model = PipelineData("prepared"), PipelineData("model")
        PythonScriptStep("prepare.py", arguments=[prepared], outputs=[prepared])
        PythonScriptStep("train.py", arguments=[model, prepared, "--alpha", alpha], inputs=[prepared], outputs=[model])
        PythonScriptStep("compare.py", arguments=[model], inputs=[model])
"""


class Pipelines:
    """Plans the DAGs of a folder, and computes their steps without Airflow's scheduling."""

    def __init__(self, files: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files = files
        self.folder = workspace
        self._monkeypatch = monkeypatch

    @property
    def workspace(self) -> WorkspaceHandle:
        """The workspace of the pipelines."""
        return open_workspace(str(self.folder))

    def dag(self, text: str) -> DAG:
        """Return the one DAG of a file."""
        return self.files.dag(HERE + textwrap.dedent(text))

    def compute(self, dag: DAG, parameters: dict[str, Any] | None = None, **options: Any) -> Plan:
        """Run every step that a plan comes to, and return what was planned after each."""
        look = StepExecution.look

        def run_first(execution: StepExecution) -> Any:
            execution.run()
            request, services = execution._request, execution._services
            return look(StepExecution(request, services, execution._log, execution._stopping))

        with self._monkeypatch.context() as patch:
            patch.setattr(StepExecution, "look", run_first)
            return plan(dag, parameters or {}, **options)


@pytest.fixture
def pipelines(dag_files: Any, azureml_options: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Pipelines]:
    """Pipelines with scripts that write what they are given."""
    for option in ("workspace", "scratch_directory", "cache_directory", "environments_directory"):
        azureml_options.setenv(f"AIRFLOW__AZUREML__{option.upper()}", str(tmp_path / "home" / option))
    config.forget()
    for name in ("prepare.py", "train.py"):
        dag_files.script(name, WRITE)
    yield Pipelines(dag_files, tmp_path / "home" / "workspace", azureml_options)
    config.forget()


def decisions(planned: Plan) -> dict[str, str]:
    return {step.label: step.decision.value for step in planned.steps}


def messages(planned: Plan) -> dict[str, str]:
    return {step.label: step.message for step in planned.steps}


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_pipeline_that_never_ran_runs_from_its_first_step_on(pipelines):
    planned = plan(pipelines.dag(CHAIN), {})
    assert decisions(planned) == {"prepare": "run", "train": "depends", "compare": "depends"}
    assert messages(planned) == {
        "prepare": "ran for the first time",
        "train": "prepare has to run first; reused if it writes the same as before",
        "compare": "train has to run first; reused if it writes the same as before",
    }
    assert planned.steps[0].reuse["code"] == "new"
    assert [step.takes_s for step in planned.steps] == [None, None, None]
    assert planned.without_estimate == 3


def test_a_pipeline_that_ran_is_reused_to_its_end(pipelines):
    dag = pipelines.dag(CHAIN)
    computed = pipelines.compute(dag)
    planned = plan(dag, {})
    assert decisions(planned) == {"prepare": "reuse", "train": "reuse", "compare": "reuse"}
    assert [step.key for step in planned.steps] == [step.key for step in computed.steps]
    prepare, train, _ = planned.steps
    assert prepare.saves_s == prepare.reuse["saved_s"] > 0
    assert prepare.takes_s is None
    assert train.document["outputs"]["model"]["digest"]
    assert (planned.reused, planned.takes_s) == (3, 0)
    assert planned.saves_s == pytest.approx(sum(step.saves_s for step in planned.steps))


def test_another_value_of_a_parameter_runs_the_steps_that_use_it(pipelines):
    dag = pipelines.dag(CHAIN)
    pipelines.compute(dag)
    planned = plan(dag, {"alpha": 0.7})
    assert decisions(planned) == {"prepare": "reuse", "train": "run", "compare": "depends"}
    train = planned.steps[1]
    assert [item["what"] for item in train.reuse["differences"]] == ["parameter alpha: 0.5 → 0.7"]
    # What it took last is the best guess there is.
    assert train.takes_s > 0
    assert planned.without_estimate == 0


def test_a_changed_script_runs_its_step_and_leaves_those_above(pipelines):
    dag = pipelines.dag(CHAIN)
    pipelines.compute(dag)
    pipelines.files.script("compare.py", "print('another comparison')\n")
    planned = plan(dag, {})
    assert decisions(planned) == {"prepare": "reuse", "train": "reuse", "compare": "run"}
    assert planned.steps[2].reuse["code"] == "code"


def test_what_templates_say_of_parameters_and_dates_is_known(pipelines):
    dag = pipelines.dag("""
        with Pipeline("dates", default_args=usual):
            alpha = PipelineParameter("alpha", 0.5)
            PythonScriptStep("compare.py", arguments=["{{ params.alpha }}", "{{ ds }}", "{{ ts }} {{ dag.dag_id }}", alpha])
    """)
    day, next_day = datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)
    pipelines.compute(dag, logical_date=day)
    assert decisions(plan(dag, {}, logical_date=day)) == {"compare": "reuse"}
    assert decisions(plan(dag, {}, logical_date=next_day)) == {"compare": "run"}
    assert decisions(plan(dag, {"alpha": 1}, logical_date=day)) == {"compare": "run"}


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("'{{ run_id }}'", "run_id"),
        ("'{{ run_id[:6] }}'", "run_id"),
        ("'{{ ti.run_id }}'", "id of the run"),
        ("'{{ ti.start_date }}'", "ti.start_date"),
        ("'{{ dag_run.queued_at }}'", "dag_run.queued_at"),
        ("'{{ prev_start_date_success }}'", "prev_start_date_success"),
        ("'{{ ti.xcom_pull(\"number\") }}'", "'number'"),
        ("number()", "'number'"),
        ("pairs['left']", "'left'"),
        ("'{{ nothing_of_the_sort }}'", "nothing_of_the_sort"),
    ],
)
def test_what_only_a_run_knows_is_named(pipelines, argument, named):
    dag = pipelines.dag(f"""
        with Pipeline("unknown", default_args=usual):
            @task
            def number():
                return 3

            @task(multiple_outputs=True)
            def two():
                return {{"left": 1}}

            pairs = two()
            PythonScriptStep("compare.py", arguments=["--value", {argument}])
    """)
    (step,) = plan(dag, {}).steps
    assert step.decision is PlanDecision.UNKNOWN
    assert named in step.message
    assert step.reuse is None


def test_steps_below_tasks_that_are_no_steps_are_planned(pipelines):
    dag = pipelines.dag("""
        with DAG("plain", default_args=usual, schedule=None):
            EmptyOperator(task_id="before") >> PythonScriptStep("compare.py") >> EmptyOperator(task_id="after")
    """)
    pipelines.compute(dag)
    assert decisions(plan(dag, {})) == {"compare": "reuse"}


def test_instances_of_mapped_steps_are_planned_one_by_one(pipelines):
    text = """
        with Pipeline("mapped", default_args=usual):
            part = PipelineData("part")
            PythonScriptStep.partial(script_name="prepare.py", outputs=[part]).expand(
                arguments=[[part, "age"], [part, "{other}"]]
            )
            PythonScriptStep("compare.py", arguments=[part], inputs=[part])
    """
    dag = pipelines.dag(text.replace("{other}", "bmi"))
    pipelines.compute(dag)
    assert decisions(plan(dag, {})) == {"prepare[0]": "reuse", "prepare[1]": "reuse", "compare": "reuse"}
    changed = pipelines.dag(text.replace("{other}", "bp"))
    assert decisions(plan(changed, {})) == {
        "prepare[0]": "reuse",
        "prepare[1]": "run",
        "compare": "depends",
    }


def test_instances_of_mapped_groups_are_planned_one_by_one(pipelines):
    dag = pipelines.dag("""
        with Pipeline("groups", default_args=usual):
            part = PipelineData("part")

            @task_group
            def study(column):
                PythonScriptStep("prepare.py", arguments=[part, column], outputs=[part])
                PythonScriptStep("compare.py", arguments=[part], inputs=[part])

            study.expand(column=["age", "bmi"])
            PythonScriptStep("train.py", arguments=["out", part], inputs=[part])
    """)
    computed = pipelines.compute(dag)
    planned = plan(dag, {})
    assert decisions(planned) == {
        "study.prepare[0]": "reuse",
        "study.prepare[1]": "reuse",
        "study.compare[0]": "reuse",
        "study.compare[1]": "reuse",
        "train": "reuse",
    }
    assert [step.key for step in planned.steps] == [step.key for step in computed.steps]


def test_how_often_a_step_is_mapped_over_a_task_is_not_known(pipelines):
    dag = pipelines.dag("""
        with Pipeline("counted", default_args=usual):
            part = PipelineData("part")

            @task
            def columns():
                return [["age"], ["bmi"]]

            PythonScriptStep.partial(script_name="prepare.py", outputs=[part]).expand(arguments=columns())
            PythonScriptStep("compare.py", arguments=[part], inputs=[part])
    """)
    planned = plan(dag, {})
    assert decisions(planned) == {"prepare": "unknown", "compare": "depends"}
    assert "as many instances as another task says" in planned.steps[0].message


@pytest.mark.parametrize(
    ("controls", "expected"),
    [
        (RunControls(regenerate=True), ["run", "run", "run"]),
        (RunControls(regenerate=("train",)), ["reuse", "run", "depends"]),
        (RunControls(regenerate=("train.py",)), ["reuse", "run", "depends"]),
        (RunControls(regenerate=("train",), regenerate_downstream=True), ["reuse", "run", "run"]),
        (RunControls(max_staleness_s=0.0), ["run", "depends", "depends"]),
        (RunControls(max_staleness_s=3600.0), ["reuse", "reuse", "reuse"]),
        (RunControls.from_conf({"reuse": "off"}), ["run", "run", "run"]),
        (RunControls.from_conf({"reuse": "read"}), ["reuse", "reuse", "reuse"]),
    ],
)
def test_controls_of_the_run_are_honoured(pipelines, controls, expected):
    dag = pipelines.dag(CHAIN)
    pipelines.compute(dag)
    assert list(decisions(plan(dag, {}, controls=controls)).values()) == expected


def test_steps_that_always_run_run_and_others_wait_for_what_they_write(pipelines):
    dag = pipelines.dag(CHAIN.replace("outputs=[prepared])", "outputs=[prepared], allow_reuse=False)"))
    pipelines.compute(dag)
    planned = plan(dag, {})
    assert decisions(planned) == {"prepare": "run", "train": "depends", "compare": "depends"}
    assert planned.steps[0].reuse["code"] == "bypassed_by_step"


def test_a_result_that_somebody_else_computes_is_waited_for(pipelines):
    dag = pipelines.dag(CHAIN)
    key = plan(dag, {}).steps[0].key
    store = pipelines.workspace.store
    lease = LeaseStore(store, 60.0).take(key, Holder("another", dag_id="chain", run_id="nightly"))
    planned = plan(dag, {})
    assert decisions(planned) == {"prepare": "wait", "train": "depends", "compare": "depends"}
    assert "run nightly of chain" in planned.steps[0].message
    lease.release()
    assert decisions(plan(dag, {}))["prepare"] == "run"


def test_a_plan_goes_only_as_far_as_it_is_asked_to(pipelines):
    dag = pipelines.dag(CHAIN)
    assert list(decisions(plan(dag, {}, until="train"))) == ["prepare", "train"]
    with pytest.raises(
        UserErrorException, match="'chain' has no step 'tran'; it has compare, prepare, train"
    ):
        plan(dag, {}, until="tran")


def test_results_that_the_run_has_already_are_not_planned_again(pipelines):
    dag = pipelines.dag(CHAIN)
    document = pipelines.compute(dag).steps[0].document
    pipelines.files.script("prepare.py", WRITE + "\n    # changed\n")
    assert decisions(plan(dag, {}))["prepare"] == "run"
    planned = plan(dag, {}, known={("prepare", -1): document})
    assert decisions(planned) == {"train": "reuse", "compare": "reuse"}


def test_an_input_that_is_not_there_is_said_and_the_rest_is_planned(pipelines):
    dag = pipelines.dag("""
        with Pipeline("missing", default_args=usual):
            raw = DataReference(datastore="workspaceblobstore", data_reference_name="raw", path_on_datastore="raw.csv")
            PythonScriptStep("compare.py", "reader", inputs=[raw])
            PythonScriptStep("compare.py", "other")
    """)
    planned = plan(dag, {})
    assert decisions(planned) == {"reader": "unknown", "other": "run"}
    assert messages(planned)["reader"].startswith("cannot be planned: input 'raw'")


def test_a_plan_writes_nothing_into_the_workspace(pipelines, tmp_path):
    (tmp_path / "raw.csv").write_text("a,b\n1,2\n")
    text = """
        raw = Dataset.Tabular.from_delimited_files("raw.csv")
        with Pipeline("quiet", default_args=usual):
            prepared = PipelineData("prepared")
            PythonScriptStep(
                "prepare.py", arguments=[prepared, "{word}"], inputs=[raw.as_named_input("raw")], outputs=[prepared]
            )
            PythonScriptStep("compare.py", arguments=[prepared], inputs=[prepared])
    """
    nothing = plan(pipelines.dag(text.replace("{word}", "one")), {})
    assert decisions(nothing) == {"prepare": "run", "compare": "depends"}
    assert not pipelines.folder.exists() or not files_in(pipelines.folder)
    pipelines.compute(pipelines.dag(text.replace("{word}", "one")))
    before = files_in(pipelines.folder)
    for word in ("one", "two"):
        plan(pipelines.dag(text.replace("{word}", word)), {})
    assert files_in(pipelines.folder) == before


def test_names_and_types_of_parameters_are_checked(pipelines):
    dag = pipelines.dag(CHAIN)
    with pytest.raises(UserErrorException) as unknown:
        plan(dag, {"alpah": 0.7})
    assert str(unknown.value) == "parameter 'alpah' is not one of: alpha (float, default 0.5)"
    with pytest.raises(UserErrorException, match="parameter 'alpha' is 'much'"):
        plan(dag, {"alpha": "much"})
    with pytest.raises(UserErrorException, match="has no step 'tran' to regenerate"):
        plan(dag, {}, controls=RunControls(regenerate=("tran",)))
    with pytest.raises(UserErrorException, match="pipeline 'none' has no parameters"):
        plan(
            pipelines.dag('with Pipeline("none", default_args=usual): PythonScriptStep("compare.py")'),
            {"x": 1},
        )


def test_a_plan_is_a_document(pipelines):
    dag = pipelines.dag(CHAIN)
    pipelines.compute(dag)
    document = json.loads(json.dumps(plan(dag, {"alpha": 0.7}).to_document()))
    assert document["dag_id"] == "chain"
    assert document["parameters"] == {"alpha": 0.7}
    assert [step["decision"] for step in document["steps"]] == ["reuse", "run", "depends"]
    assert document["totals"]["reused"] == 1
    assert document["totals"]["without_reuse_s"] > document["totals"]["takes_s"] > 0


@pytest.mark.airflow
def test_what_is_planned_is_what_happens(run):
    for name in ("prepare.py", "train.py"):
        run.files.script(name, WRITE)
    assert run(CHAIN).state == "success"
    run.files.script("compare.py", "print('another comparison')\n")
    planned = plan(run.files.dag(HERE + textwrap.dedent(CHAIN)), {})
    done = run(CHAIN)
    assert {step.label: step.key for step in planned.steps} == {
        name: record["reuse"]["key"] for name, record in done.steps.items()
    }
    assert decisions(planned) == {name: record["reuse"]["decision"] for name, record in done.steps.items()}
