"""What makes one step run after another."""

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, task

from airflow_azureml import (
    DataReference,
    OutputFileDatasetConfig,
    Pipeline,
    PipelineData,
    PythonScriptStep,
    StepSequence,
)


def step(script, **arguments):
    return PythonScriptStep(script_name=f"{script}.py", **arguments)


@pytest.fixture(params=["Pipeline", "DAG"])
def dag(request):
    """Both kinds of DAG; everything below holds in either."""
    with Pipeline("edges") if request.param == "Pipeline" else DAG("edges", schedule=None) as found:
        yield found


def edges(dag):
    return {(task.task_id, after) for task in dag.tasks for after in task.downstream_task_ids}


class TestData:
    def test_who_reads_an_output_runs_after_who_writes_it(self, dag):
        data = PipelineData("data")
        step("write", outputs=[data])
        step("read", inputs=[data])
        assert edges(dag) == {("write", "read")}

    def test_the_reader_may_be_declared_first(self, dag):
        data = PipelineData("data")
        step("read", inputs=[data])
        step("write", outputs=[data])
        assert edges(dag) == {("write", "read")}

    @pytest.mark.parametrize("form", ["as_mount", "as_download", "as_dataset"])
    def test_in_whatever_form_it_is_read(self, dag, form):
        data = PipelineData("data")
        step("write", outputs=[data])
        step("read", inputs=[getattr(data, form)()])
        assert edges(dag) == {("write", "read")}

    def test_a_dataset_output_named_in_arguments_only_makes_the_edge_too(self, dag):
        scored = OutputFileDatasetConfig("scored")
        step("write", arguments=["--out", scored])
        step("read", arguments=["--in", scored.as_input("scored")])
        assert edges(dag) == {("write", "read")}

    def test_one_output_may_have_many_readers_in_different_ways(self, dag):
        data = PipelineData("data")
        step("write", outputs=[data])
        step("mount", inputs=[data.as_mount()])
        step("download", inputs=[data.as_download()])
        assert edges(dag) == {("write", "mount"), ("write", "download")}

    def test_data_that_no_step_writes_makes_no_edge(self, dag):
        step("read", inputs=[DataReference("workspaceblobstore", "raw", "raw/")])
        step("other")
        assert edges(dag) == set()


class TestOrderWithoutData:
    def test_run_after(self, dag):
        first, second = step("first"), step("second")
        second.run_after(first)
        assert edges(dag) == {("first", "second")}

    def test_run_after_an_ordinary_task(self, dag):
        start = EmptyOperator(task_id="start")
        step("work").run_after(start)
        assert edges(dag) == {("start", "work")}

    def test_run_after_may_be_said_again(self, dag):
        first, second, third = step("first"), step("second"), step("third")
        third.run_after(first)
        third.run_after(second)
        third.run_after(first)
        assert edges(dag) == {("first", "third"), ("second", "third")}

    def test_shifts(self, dag):
        step("first") >> step("second") << step("other")
        assert edges(dag) == {("first", "second"), ("other", "second")}

    def test_shifts_between_steps_and_ordinary_tasks(self, dag):
        (
            EmptyOperator(task_id="start")
            >> step("work")
            >> [EmptyOperator(task_id="a"), EmptyOperator(task_id="b")]
        )
        assert edges(dag) == {("start", "work"), ("work", "a"), ("work", "b")}

    def test_a_sequence_of_steps_with_a_parallel_group_in_it(self, dag):
        a, b, c, d = (step(name) for name in "abcd")
        StepSequence([a, [b, c], d])
        assert edges(dag) == {("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")}

    def test_all_of_them_together(self, dag):
        data = PipelineData("data")
        start = EmptyOperator(task_id="start")
        write, read, report, tidy = (
            step("write", outputs=[data]),
            step("read", inputs=[data]),
            step("report"),
            step("tidy"),
        )
        start >> write
        report.run_after(read)
        StepSequence([report, tidy])
        assert edges(dag) == {("start", "write"), ("write", "read"), ("read", "report"), ("report", "tidy")}

    def test_an_order_said_twice_is_one_edge(self, dag):
        data = PipelineData("data")
        write = step("write", outputs=[data])
        read = step("read", inputs=[data])
        read.run_after(write)
        write >> read
        assert edges(dag) == {("write", "read")}


class TestXCom:
    def test_a_task_whose_value_is_an_argument_runs_before(self, dag):
        @task
        def choose():
            return "progression"

        step("train", arguments=["--target", choose()])
        assert edges(dag) == {("choose", "train")}

    def test_so_does_one_whose_value_is_all_arguments(self, dag):
        @task
        def arguments():
            return ["--target", "x"]

        step("train", arguments=arguments())
        assert edges(dag) == {("arguments", "train")}

    def test_so_does_one_whose_value_is_one_of_the_scripts_variables(self, dag):
        @task
        def choose():
            return "progression"

        step("train", params={"target": choose()})
        assert edges(dag) == {("choose", "train")}

    def test_a_task_may_take_what_a_step_returns(self, dag):
        @task
        def show(result):
            return result

        show(step("train").output)
        assert edges(dag) == {("train", "show")}


class TestTaskGroups:
    def test_a_step_in_a_group_has_the_groups_prefix_and_keeps_its_data_edges(self, dag):
        data = PipelineData("data")
        with TaskGroup("first"):
            step("write", outputs=[data])
        with TaskGroup("second"):
            step("read", inputs=[data])
        assert edges(dag) == {("first.write", "second.read")}

    def test_groups_can_be_ordered_like_any_others(self, dag):
        with TaskGroup("first") as first:
            step("work")
        with TaskGroup("second") as second:
            step("work")
        first >> second
        assert edges(dag) == {("first.work", "second.work")}

    def test_steps_of_one_name_in_one_group_get_ids_of_their_own(self, dag):
        with TaskGroup("group"):
            steps = [step("work"), step("work")]
        assert [one.task_id for one in steps] == ["group.work", "group.work__1"]


class TestNames:
    def test_two_steps_may_share_a_name(self, dag):
        first, second = step("train", name="train"), step("train", name="train")
        assert [first.task_id, second.task_id] == ["train", "train__1"]
        assert [first.name, second.name] == ["train", "train"]
        assert second.task_display_name == "train"

    @pytest.mark.parametrize(
        ("name", "task_id"),
        [("train the model", "train_the_model"), ("v1.2", "v1_2"), ("étape 1", "_tape_1"), ("a/b", "a_b")],
    )
    def test_a_name_may_be_any_text(self, dag, name, task_id):
        named = step("train", name=name)
        assert named.task_id == task_id
        assert named.name == named.task_display_name == name

    def test_without_a_name_it_is_called_like_its_script(self, dag):
        unnamed = PythonScriptStep(script_name="train/model.py")
        assert (unnamed.name, unnamed.task_id) == ("train/model.py", "train_model")

    def test_a_task_id_of_the_users_own_stays(self, dag):
        assert step("train", name="Train it", task_id="t1").task_id == "t1"
