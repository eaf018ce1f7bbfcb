"""What Airflow keeps of a pipeline, and copies it makes."""

import copy
import json

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_azureml.reuse.controls import CONTROL_NAMES

EVERYTHING = """
    diabetes = Dataset.Tabular.from_delimited_files("steps/*.csv")
    files = Dataset.File.from_files("steps/*.py")
    environment = Environment("own")
    environment.python.conda_dependencies = CondaDependencies.create(pip_packages=["numpy"])

    with {kind}("everything", schedule=None, default_args={{"source_directory": "steps", "environment": environment}}):
        alpha = PipelineParameter("alpha", 0.5)
        folder = PipelineParameter("folder", DataPath("workspaceblobstore", "raw"))
        prepared, parts = PipelineData("prepared"), PipelineData("parts")
        scored = OutputFileDatasetConfig("scored").register_on_complete("scored")
        unnamed = OutputFileDatasetConfig()

        @task
        def choose():
            return "x"

        prepare = PythonScriptStep(
            "prepare.py",
            arguments=["--out", prepared, "--alpha", alpha, "--text=" + prepared.arg_val, choose(), "{{{{ ds }}}}", None, 1.5],
            inputs=[
                diabetes.as_named_input("raw"),
                files.as_named_input("files").as_download(),
                (folder, DataPathComputeBinding()),
                DataReference("workspaceblobstore", "reference", "raw/"),
            ],
            outputs=[prepared],
            params={{"depth": 3, "alpha_too": alpha}},
            runconfig_pipeline_params=None,
        )
        train = PythonScriptStep(
            "train.py", arguments=[scored, unnamed], inputs=[prepared.as_download()], hash_paths=["train.py"]
        )
        many = PythonScriptStep.partial(
            script_name="train.py", name="many", inputs=[files.as_named_input("files").as_mount()], outputs=[parts]
        ).expand(arguments=[["--out", parts, alpha], ["--out", parts, unnamed.as_input("unnamed")]])
        with TaskGroup("group"):
            PythonScriptStep("compare.py", arguments=[unnamed.as_input("predictions")], inputs=[parts, scored.as_input("scored")])

        @task_group
        def study(column):
            PythonScriptStep("compare.py", name="look", arguments=["--column", column])

        study.expand(column=["age", "bmi"])
"""


@pytest.fixture(params=["Pipeline", "DAG"])
def path(request, dag_files):
    (dag_files.scripts / "data.csv").write_text("a,b\n1,2\n")
    return dag_files.write(EVERYTHING.format(kind=request.param))


def dag_in(dag_files, path):
    bag = dag_files.bag(path)
    assert not bag.import_errors, "\n".join(bag.import_errors.values())
    return bag.dags["everything"]


def test_one_file_read_twice_gives_one_dag(dag_files, path, serialize):
    first, second = (json.dumps(serialize(dag_in(dag_files, path)), sort_keys=True) for _ in range(2))
    assert first == second
    assert " at 0x" not in first


def test_airflow_builds_the_same_graph_from_what_it_keeps(dag_files, path, serialize):
    dag = dag_in(dag_files, path)
    kept = DagSerialization.deserialize_dag(json.loads(json.dumps(serialize(dag))))
    assert {task.task_id: task.downstream_task_ids for task in kept.tasks} == {
        task.task_id: task.downstream_task_ids for task in dag.tasks
    }
    assert dag.get_task("group.compare").upstream_task_ids == {"train", "many"}
    assert kept.params.dump() == dag.params.dump()
    # A Pipeline has the controls of reuse in its form as well.
    own = {name: value for name, value in dag.params.dump().items() if name not in CONTROL_NAMES}
    assert own == {"alpha": 0.5, "folder": {"datastore": "workspaceblobstore", "path": "raw"}}
    assert serialize(dag) == serialize(dag_in(dag_files, path))


def test_arguments_are_readable_before_a_run(dag_files, path, serialize):
    tasks = {
        found["__var"]["task_id"]: found["__var"] for found in serialize(dag_in(dag_files, path))["tasks"]
    }
    assert tasks["prepare"]["arguments"][:5] == [
        "--out",
        "$AZUREML_DATAREFERENCE_prepared",
        "--alpha",
        "$AML_PARAMETER_alpha",
        "--text=$AZUREML_DATAREFERENCE_prepared",
    ]
    assert tasks["train"]["arguments"] == ["DatasetOutputConfig:scored", "DatasetOutputConfig:output_2"]


def test_a_deep_copy_is_a_whole_pipeline(dag_files, path):
    dag = dag_in(dag_files, path)
    copied = copy.deepcopy(dag)
    assert copied.task_ids == dag.task_ids
    assert copied.get_task("train") is not dag.get_task("train")
    assert copied.get_task("train").dag is copied
    assert copied.get_task("train").ports == dag.get_task("train").ports
    if type(dag) is not DAG:
        copied.validate()
        assert copied.default_source_directory == dag.default_source_directory


def test_a_part_of_a_pipeline_keeps_its_edges_and_knows_its_inputs(dag_files, path):
    dag = dag_in(dag_files, path)
    part = dag.partial_subset("train", include_upstream=True)
    assert set(part.task_ids) == {"choose", "prepare", "train"}
    assert part.get_task("train").upstream_task_ids == {"prepare"}
    assert part.get_task("train").input_origins()["prepared"].producer.task_id == "prepare"


def test_a_part_may_leave_out_what_it_reads(dag_files, path):
    part = dag_in(dag_files, path).partial_subset(["train"], include_upstream=False)
    assert part.task_ids == ["train"]
    assert part.get_task("train").upstream_task_ids == set()
