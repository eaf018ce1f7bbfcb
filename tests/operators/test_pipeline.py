"""Both forms of a pipeline: steps declared inside ``with``, and steps handed over as v1 did."""

from datetime import timedelta

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_azureml import DefinitionError, Pipeline, PipelineData, PythonScriptStep, StepSequence, Workspace


def step(script, **arguments):
    return PythonScriptStep(script_name=f"{script}.py", **arguments)


def edges(dag):
    return {(task.task_id, after) for task in dag.tasks for after in task.downstream_task_ids}


@pytest.fixture
def chain():
    """Three steps; ``train`` reads what ``prepare`` writes, ``compare`` what ``train`` writes."""
    prepared, model = PipelineData("prepared"), PipelineData("model")
    return (
        step("prepare", outputs=[prepared]),
        step("train", inputs=[prepared], outputs=[model]),
        step("compare", inputs=[model]),
    )


class TestClosure:
    """Q1: what ``steps`` may be, and what it brings along."""

    def test_the_last_step_brings_all_steps_it_needs(self, chain):
        pipeline = Pipeline("p", steps=[chain[-1]])
        assert set(pipeline.task_ids) == {"prepare", "train", "compare"}
        assert edges(pipeline) == {("prepare", "train"), ("train", "compare")}

    def test_run_after_brings_a_step_too(self):
        first, last = step("first"), step("last")
        last.run_after(first)
        assert edges(Pipeline("p", steps=[last])) == {("first", "last")}

    def test_one_bare_step_is_enough(self, chain):
        assert len(Pipeline("p", steps=chain[-1]).tasks) == 3

    def test_an_output_stands_for_the_step_that_writes_it(self):
        data = PipelineData("data")
        step("write", outputs=[data])
        assert Pipeline("p", steps=[data]).task_ids == ["write"]

    def test_lists_and_nested_lists_impose_no_order(self):
        a, b, c = step("a"), step("b"), step("c")
        pipeline = Pipeline("p", steps=[a, [b, [c]]])
        assert pipeline.task_ids == ["a", "b", "c"]
        assert edges(pipeline) == set()

    def test_a_sequence_does(self):
        a, b, c, d = (step(name) for name in "abcd")
        pipeline = Pipeline("p", steps=StepSequence([a, [b, c], d]))
        assert edges(pipeline) == {("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")}

    def test_a_sequence_inside_a_list_orders_its_own_steps(self):
        a, b, c = step("a"), step("b"), step("c")
        pipeline = Pipeline("p", steps=[c, StepSequence([a, b])])
        assert edges(pipeline) == {("a", "b")}

    def test_a_sequence_inside_a_sequence(self):
        a, b, c = step("a"), step("b"), step("c")
        assert edges(Pipeline("p", steps=StepSequence([StepSequence([a, b]), c]))) == {("a", "b"), ("b", "c")}

    def test_a_step_named_twice_is_one_step(self, chain):
        assert len(Pipeline("p", steps=[chain[-1], [chain[-1]], chain[0]]).tasks) == 3

    def test_two_steps_of_one_name_are_two(self):
        pipeline = Pipeline("p", steps=[step("train", arguments=["--a"]), step("train", arguments=["--b"])])
        assert pipeline.task_ids == ["train", "train__1"]
        assert [found.arguments for found in pipeline.steps] == [["--a"], ["--b"]]

    def test_the_writer_may_be_named_after_the_reader(self):
        data = PipelineData("data")
        read, write = step("read", inputs=[data]), step("write", outputs=[data])
        assert edges(Pipeline("p", steps=[read, write])) == {("write", "read")}

    @pytest.mark.parametrize("last_first", [True, False])
    def test_order_said_before_there_is_a_pipeline_is_kept(self, last_first):
        a, b, c = step("a"), step("b"), step("c")
        c.run_after(b)
        b.run_after(a)
        assert edges(Pipeline("p", steps=[c, b, a] if last_first else [a, b, c])) == {("a", "b"), ("b", "c")}

    def test_without_closure_a_missing_step_is_an_error(self, chain):
        with pytest.raises(
            DefinitionError, match="'compare': needs PythonScriptStep 'train', which is not among"
        ):
            Pipeline("p", steps=[chain[-1]], resolve_closure=False)

    def test_without_closure_all_steps_named_is_fine(self, chain):
        assert len(Pipeline("p", steps=list(chain), resolve_closure=False).tasks) == 3

    @pytest.mark.parametrize("steps", [("a",), {"a": 1}, "train", 3])
    def test_anything_else_is_refused(self, steps):
        with pytest.raises(DefinitionError, match=r"Pipeline: argument steps holds a \w+; expected a step"):
            Pipeline("p", steps=steps)

    def test_so_it_is_inside_a_sequence(self):
        with pytest.raises(DefinitionError, match="argument steps holds a int"):
            Pipeline("p", steps=StepSequence([step("a"), 3]))

    def test_a_step_belongs_to_one_pipeline(self, chain):
        Pipeline("p", steps=[chain[-1]])
        with pytest.raises(
            DefinitionError, match="'train': is already a step of pipeline 'p'; declare another"
        ):
            Pipeline("q", steps=[chain[1]])


class TestV1:
    def test_arguments_by_position(self):
        train = PythonScriptStep("train.py", "train", ["--alpha", 0.5], "local")
        assert (train.script_name, train.name, train.arguments, train.compute_target) == (
            "train.py",
            "train",
            ["--alpha", 0.5],
            "local",
        )

    def test_the_workspace_comes_first(self):
        workspace = Workspace.from_config()
        pipeline = Pipeline(workspace, [step("train")])
        assert pipeline.workspace is workspace
        assert pipeline.task_ids == ["train"]

    def test_a_pipeline_without_a_name_can_be_built_and_looked_at(self):
        pipeline = Pipeline(workspace=Workspace.from_config(), steps=[step("train")])
        assert not pipeline.is_named
        assert [found.name for found in pipeline.steps] == ["train.py"]

    def test_but_airflow_needs_one(self):
        with pytest.raises(
            DefinitionError, match=r'no name, and Airflow needs one.*Pipeline\(name="my_pipeline"'
        ):
            Pipeline(steps=[step("train")]).validate()

    def test_too_many_positional_arguments(self):
        with pytest.raises(TypeError, match="takes at most 13 positional arguments, got 14"):
            PythonScriptStep(*range(14))

    def test_an_argument_given_twice(self):
        with pytest.raises(TypeError, match="argument script_name is given twice"):
            PythonScriptStep("train.py", script_name="other.py")


class TestAirflow:
    """A pipeline is a DAG, a step an operator: what Airflow offers works."""

    def test_a_pipeline_is_a_dag_that_runs_when_triggered(self):
        pipeline = Pipeline("p", description="what for", tags=["a"], max_active_runs=1)
        assert isinstance(pipeline, DAG)
        assert (pipeline.dag_id, pipeline.description, pipeline.tags, pipeline.schedule) == (
            "p",
            "what for",
            {"a"},
            None,
        )

    def test_a_schedule_is_passed_on(self):
        assert Pipeline("p", schedule="@daily").schedule == "@daily"

    def test_what_operators_take_steps_take(self):
        with Pipeline("p", continue_on_step_failure=True):
            train = step(
                "train",
                retries=3,
                retry_delay=timedelta(seconds=5),
                pool="gpu",
                queue="big",
                trigger_rule="all_done",
                execution_timeout=timedelta(hours=1),
                doc_md="Trains.",
            )
        assert (train.retries, train.pool, train.queue, train.trigger_rule) == (3, "gpu", "big", "all_done")
        assert train.execution_timeout == timedelta(hours=1)

    @pytest.mark.parametrize("form", ["with", "steps"])
    def test_default_args_reach_steps_in_both_forms(self, form):
        called = []
        default_args = {
            "retries": 2,
            "owner": "team",
            "allow_reuse": False,
            "on_failure_callback": called.append,
        }
        if form == "with":
            with Pipeline("p", default_args=default_args):
                train, own = step("train"), step("own", retries=0, allow_reuse=True)
        else:
            train, own = step("train"), step("own", retries=0, allow_reuse=True)
            Pipeline("p", steps=[train, own], default_args=default_args)
        assert (train.retries, train.owner, train.allow_reuse) == (2, "team", False)
        assert train.on_failure_callback == [called.append]
        assert (own.retries, own.owner, own.allow_reuse) == (0, "team", True)

    def test_what_is_set_on_a_step_before_it_joins_stays(self):
        train = step("train")
        train.retries = 7
        Pipeline("p", steps=[train], default_args={"retries": 2})
        assert train.retries == 7

    def test_ordinary_tasks_live_beside_steps(self):
        with Pipeline("p") as pipeline:
            EmptyOperator(task_id="start") >> step("train")
        assert pipeline.task_ids == ["start", "train"]
        assert [found.task_id for found in pipeline.steps] == ["train"]

    @pytest.mark.parametrize(("go_on", "fail_fast"), [(False, True), (True, False)])
    def test_the_first_failure_stops_the_run_unless_it_may_go_on(self, go_on, fail_fast):
        assert Pipeline("p", continue_on_step_failure=go_on).fail_fast is fail_fast

    def test_a_plain_dag_decides_that_itself(self):
        assert DAG("p", schedule=None).fail_fast is False

    def test_the_file_that_declares_the_pipeline_is_the_dags_file(self):
        assert Pipeline("p").fileloc == __file__


class TestParams:
    """v1's ``params`` are variables of the script; Airflow's are parameters of the run."""

    def test_a_plain_dict_is_v1s(self):
        with Pipeline("p"):
            train = step("train", params={"depth": 3})
        assert train.step_params == {"depth": 3}
        assert train.ports.parameter_variables({}) == {"AML_PARAMETER_depth": "3"}
        assert dict(train.params) == {}

    def test_params_of_the_dag_are_airflows(self):
        with Pipeline("p", params={"limit": 10}) as pipeline:
            train = step("train", params={"depth": 3})
        assert dict(pipeline.params) == {"limit": 10}
        assert train.step_params == {"depth": 3}

    def test_airflows_own_class_says_that_airflows_are_meant(self):
        from airflow.sdk import Param

        with Pipeline("p"):
            train = step("train", params={"limit": Param(10, type="integer")})
        assert dict(train.params) == {"limit": 10}
        assert train.step_params is None


def test_the_workspace_comes_first_as_in_v1_beside_a_name(tmp_path):
    workspace = object()
    pipeline = Pipeline(workspace, [], name="named")
    assert (pipeline.dag_id, pipeline.workspace) == ("named", workspace)
