"""Mapped steps: one declaration, many instances."""

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TaskGroup, task, task_group

from airflow_azureml import (
    DefinitionError,
    OutputFileDatasetConfig,
    Pipeline,
    PipelineData,
    PipelineParameter,
    PythonScriptStep,
)


def mapped(script="map", **arguments):
    return PythonScriptStep.partial(script_name=f"{script}.py", **arguments)


def step(script, **arguments):
    return PythonScriptStep(script_name=f"{script}.py", **arguments)


def edges(dag):
    return {(task.task_id, after) for task in dag.tasks for after in task.downstream_task_ids}


@pytest.fixture
def dag():
    with Pipeline("mapped") as pipeline:
        yield pipeline


def test_it_is_called_like_any_other_step(dag):
    assert mapped("train").expand(arguments=[["a"]]).task_id == "train"
    assert mapped("train", name="Train it").expand(arguments=[["a"]]).task_id == "Train_it"
    assert mapped("train").expand(arguments=[["a"]]).task_id == "train__1"
    with TaskGroup("group"):
        assert mapped("train").expand(arguments=[["a"]]).task_id == "group.train"


class TestEdges:
    def test_from_what_it_reads_and_to_who_reads_it(self, dag):
        raw, parts = PipelineData("raw"), PipelineData("parts")
        step("read", inputs=[parts])
        mapped(inputs=[raw], outputs=[parts]).expand(arguments=[["a"], ["b"]])
        step("write", outputs=[raw])
        step("read too", inputs=[parts])
        assert edges(dag) == {("write", "map"), ("map", "read"), ("map", "read_too")}

    def test_a_dataset_output_in_the_shared_arguments(self, dag):
        parts = OutputFileDatasetConfig("parts")
        mapped(arguments=["--out", parts]).expand(params=[{"depth": 1}, {"depth": 2}])
        step("read", inputs=[parts.as_input("parts")])
        assert edges(dag) == {("map", "read")}

    def test_from_data_that_only_some_instances_read(self, dag):
        one, two = PipelineData("one"), PipelineData("two")
        step("first", outputs=[one])
        step("second", outputs=[two])
        mapped().expand(inputs=[[one], [two]])
        assert edges(dag) == {("first", "map"), ("second", "map")}

    def test_from_data_in_expand_kwargs(self, dag):
        one, two = PipelineData("one"), PipelineData("two")
        step("first", outputs=[one])
        step("second", outputs=[two])
        mapped().expand_kwargs([{"inputs": [one], "arguments": [one]}, {"inputs": [two], "arguments": [two]}])
        assert edges(dag) == {("first", "map"), ("second", "map")}

    def test_from_the_task_that_says_how_many_there_are(self, dag):
        @task
        def columns():
            return [["--column", "age"]]

        mapped().expand(arguments=columns())
        assert edges(dag) == {("columns", "map")}

    def test_run_after_and_shifts(self, dag):
        many = mapped().expand(arguments=[["a"]])
        step("after").run_after(many)
        EmptyOperator(task_id="start") >> many
        assert edges(dag) == {("start", "map"), ("map", "after")}

    def test_one_mapped_step_reads_another(self, dag):
        parts = PipelineData("parts")
        mapped("first", outputs=[parts]).expand(arguments=[["a"]])
        mapped("second", inputs=[parts]).expand(arguments=[["a"]])
        assert edges(dag) == {("first", "second")}

    def test_steps_in_a_mapped_task_group(self, dag):
        @task_group
        def study(column):
            part = PipelineData("part")
            step("cut", arguments=["--column", column], outputs=[part])
            step("look", inputs=[part])

        study.expand(column=["age", "bmi"])
        assert edges(dag) == {("study.cut", "study.look")}


class TestDefinition:
    def test_parameters_of_any_instance_are_parameters_of_the_dag(self, dag):
        mapped(params={"shared": PipelineParameter("shared", 1)}).expand(
            arguments=[[PipelineParameter("own", 2)], []]
        )
        assert dict(dag.params) == {"shared": 1, "own": 2}

    def test_an_output_has_one_producer(self, dag):
        parts = PipelineData("parts")
        mapped("first", outputs=[parts]).expand(arguments=[["a"]])
        with pytest.raises(
            DefinitionError,
            match=r"'second': argument outputs has PipelineData 'parts', which .*'first' writes",
        ):
            mapped("second", outputs=[parts]).expand(arguments=[["a"]])

    def test_an_argument_that_is_wrong_in_one_instance(self, dag):
        with pytest.raises(
            DefinitionError, match=r"'map': argument arguments\[1\] is PipelineData 'lost', which is neither"
        ):
            mapped().expand(arguments=[["fine"], ["--in", PipelineData("lost")]])

    def test_every_instance_is_checked_with_the_pipeline(self, dag):
        mapped(inputs=[PipelineData("lost")]).expand(arguments=[["a"]])
        with pytest.raises(DefinitionError, match="'map': input 'lost' is never produced"):
            dag.validate()

    def test_so_are_the_scripts_that_it_is_mapped_over(self, dag_files):
        error = dag_files.error("""
            with Pipeline("p", default_source_directory="steps"):
                PythonScriptStep.partial(task_id="many").expand(script_name=["train.py", "lost.py"])
        """)
        assert "PythonScriptStep 'many': script 'lost.py' is not in the source directory" in error

    def test_what_the_graph_depends_on_has_to_be_known_when_the_file_is_read(self, dag):
        @task
        def scripts():
            return ["train.py"]

        with pytest.raises(
            DefinitionError, match="'many': missing keyword argument 'script_name'; give it to partial"
        ):
            PythonScriptStep.partial(task_id="many").expand(script_name=scripts())

    def test_it_needs_its_pipeline_when_it_is_declared(self):
        with pytest.raises(
            DefinitionError, match="'map': a mapped step is declared inside its pipeline: with Pipeline"
        ):
            mapped().expand(arguments=[["a"]])

    def test_an_argument_that_steps_do_not_have(self, dag):
        with pytest.raises(TypeError, match="unexpected keyword argument 'script'"):
            PythonScriptStep.partial(task_id="map", script="train.py")

    def test_v1s_params_are_the_scripts_variables_here_too(self, dag):
        many = mapped(params={"depth": 3}).expand(arguments=[["a"]])
        assert many.partial_kwargs["step_params"] == {"depth": 3}
        assert dict(many.params) == {}

    def test_also_where_they_are_mapped(self, dag):
        one = mapped("one").expand(params=[{"depth": 1}, {"depth": 2}])
        two = mapped("two").expand_kwargs([{"params": {"depth": 1}}])
        assert one.expand_input.value == {"step_params": [{"depth": 1}, {"depth": 2}]}
        assert two.expand_input.value == [{"step_params": {"depth": 1}}]
