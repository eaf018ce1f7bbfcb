"""A wrong definition is an import error of the DAG file: one line that names step and argument and says what to do."""

import re

import pytest

from airflow_azureml import config

BOTH = pytest.mark.parametrize("kind", ["Pipeline", "DAG"])

# What is wrong: the steps; and what the last line of the import error says.
WRONG = {
    "missing script": (
        'PythonScriptStep("lost.py", name="train")',
        r"PythonScriptStep 'train': script 'lost.py' is not in the source directory .*/steps; correct script_name or source_dir",
    ),
    "missing source directory": (
        'PythonScriptStep("train.py", source_directory="lost")',
        r"PythonScriptStep 'train': argument source_directory is .*/lost, which is no folder; a relative one starts",
    ),
    "script outside the directory": (
        'PythonScriptStep("../pipeline.py", name="train")',
        r"PythonScriptStep 'train': argument script_name is '../pipeline.py'; give a path inside the source directory",
    ),
    "script by absolute path": (
        'PythonScriptStep("/etc/passwd", name="train")',
        r"PythonScriptStep 'train': argument script_name is '/etc/passwd'; give a path inside the source directory",
    ),
    "no script": (
        'PythonScriptStep("", name="train")',
        r"PythonScriptStep 'train': argument script_name is ''; give a file name",
    ),
    "unknown compute": (
        'PythonScriptStep("train.py", compute_target="gpu-cluster")',
        r"PythonScriptStep 'train': argument compute_target: .*'gpu-cluster'.*local",
    ),
    "raw dataset as argument": (
        'PythonScriptStep("train.py", arguments=["--in", Dataset.File.from_files("steps/*.py")])',
        r"PythonScriptStep 'train': argument arguments\[1\] is a FileDataset; .*dataset.as_named_input\(\"files\"\)",
    ),
    "raw dataset as input": (
        'PythonScriptStep("train.py", inputs=[Dataset.Tabular.from_delimited_files("steps/*.csv")])',
        r"PythonScriptStep 'train': argument inputs\[0\] is a TabularDataset; .*dataset.as_named_input\(\"raw\"\)",
    ),
    "output in arguments only": (
        'PythonScriptStep("train.py", arguments=["--out", PipelineData("model")])',
        r"PythonScriptStep 'train': argument arguments\[1\] is PipelineData 'model', which is neither in inputs nor in outputs",
    ),
    "two producers": (
        """
        model = PipelineData("model")
        PythonScriptStep("train.py", outputs=[model])
        PythonScriptStep("compare.py", outputs=[model])
        """,
        r"PythonScriptStep 'compare': argument outputs has PipelineData 'model', which PythonScriptStep 'train' writes already; ",
    ),
    "input never produced": (
        'PythonScriptStep("train.py", inputs=[PipelineData("prepared")])',
        r"PythonScriptStep 'train': input 'prepared' is never produced; list PipelineData 'prepared' in the outputs of the step",
    ),
    "unnamed input never produced": (
        'PythonScriptStep("train.py", inputs=[OutputFileDatasetConfig().as_input("raw")])',
        r"PythonScriptStep 'train': input 'raw' is never produced; list an unnamed OutputFileDatasetConfig in the outputs",
    ),
    "reserved name": (
        'PythonScriptStep("train.py", outputs=[PipelineData("AZUREML_RUN_ID")])',
        r"PipelineData: argument name is 'AZUREML_RUN_ID', which is reserved for the step's environment variables; choose",
    ),
    "bad name": (
        'PythonScriptStep("train.py", outputs=[PipelineData("the model")])',
        r"PipelineData: argument name is 'the model', which is no valid name; use letters, digits and underscores",
    ),
    "parameter of no proper type": (
        'PythonScriptStep("train.py", arguments=[PipelineParameter("columns", ["a"])])',
        r"PipelineParameter 'columns': argument default_value is a list; use an int, float, str, bool, None, a DataPath or",
    ),
    "parameter with two defaults": (
        """
        PythonScriptStep("train.py", arguments=[PipelineParameter("alpha", 0.5)])
        PythonScriptStep("compare.py", arguments=[PipelineParameter("alpha", 0.7)])
        """,
        r"PythonScriptStep 'compare': parameter 'alpha' has default 0.7 here and 0.5 elsewhere in the pipeline; use one",
    ),
    "parameter that nobody declares": (
        'PythonScriptStep("train.py", arguments=["--alpha=$AML_PARAMETER_alpha"])',
        r"PythonScriptStep 'train': argument arguments names parameter 'alpha', which the pipeline does not have; declare it",
    ),
    "cycle through data": (
        """
        a, b = PipelineData("a"), PipelineData("b")
        PythonScriptStep("train.py", inputs=[a], outputs=[b])
        PythonScriptStep("compare.py", inputs=[b], outputs=[a])
        """,
        r"closes a circle: (train → compare → train|compare → train → compare)",
    ),
    "cycle through run_after": (
        """
        a, b, c = PythonScriptStep("train.py"), PythonScriptStep("compare.py"), PythonScriptStep("prepare.py")
        b.run_after(a)
        c.run_after(b)
        a.run_after(c)
        """,
        r"PythonScriptStep 'train': running after 'prepare' closes a circle: train → compare → prepare → train",
    ),
    "cycle through an ordinary task": (
        """
        data, middle = PipelineData("data"), EmptyOperator(task_id="middle")
        write, read = PythonScriptStep("prepare.py", outputs=[data]), PythonScriptStep("train.py", inputs=[data])
        read >> middle
        middle >> write
        """,
        r"PythonScriptStep 'prepare': running after 'middle' closes a circle: prepare → train → middle → prepare",
    ),
    "step after itself": (
        """
        a = PythonScriptStep("train.py")
        a.run_after(a)
        """,
        r"PythonScriptStep 'train': running after 'train' closes a circle: train → train",
    ),
    "runconfig_pipeline_params": (
        'PythonScriptStep("train.py", runconfig_pipeline_params={"NodeCount": PipelineParameter("nodes", 2)})',
        r"PythonScriptStep 'train': argument runconfig_pipeline_params sets node counts, but a step here is one process",
    ),
    "environment and runconfig": (
        'PythonScriptStep("train.py", environment=Environment("a"), runconfig=RunConfiguration())',
        r"PythonScriptStep 'train': arguments environment and runconfig are both given; set runconfig.environment instead",
    ),
    "inputs that are no list": (
        'PythonScriptStep("train.py", inputs=PipelineData("a"))',
        r"PythonScriptStep 'train': argument inputs is a PipelineData; give a list",
    ),
    "hash_paths that are not there": (
        'PythonScriptStep("train.py", hash_paths=["lost.csv"])',
        r"PythonScriptStep 'train': .*hash_paths names 'lost.csv', but there is no file or folder",
    ),
}


@BOTH
@pytest.mark.parametrize(("steps", "message"), WRONG.values(), ids=WRONG)
def test_it_says_what_is_wrong_and_what_to_do(dag_files, kind, steps, message):
    body = "\n".join("    " + line for line in steps.strip().splitlines())
    body = re.sub(r"(?m)^ {8,}", "    ", body)
    default = 'default_args={"source_directory": "steps"}'
    error = dag_files.error(f'with {kind}("p", schedule=None, {default}):\n{body}\n')
    assert re.search(message, error)
    assert len(error) < 500


class TestOutsideAPipeline:
    @BOTH
    def test_a_producer_in_another_dag(self, dag_files, kind):
        error = dag_files.error(f"""
            data = PipelineData("data")
            with {kind}("first", schedule=None, default_args={{"source_directory": "steps"}}):
                PythonScriptStep("prepare.py", outputs=[data])
            with {kind}("second", schedule=None, default_args={{"source_directory": "steps"}}):
                PythonScriptStep("train.py", inputs=[data])
        """)
        assert (
            "PythonScriptStep 'train': needs 'prepare', which is in another DAG, 'first'; register its output"
            in error
        )

    @BOTH
    def test_a_producer_in_no_dag(self, dag_files, kind):
        error = dag_files.error(f"""
            data = PipelineData("data")
            PythonScriptStep("prepare.py", outputs=[data])
            with {kind}("second", schedule=None, default_args={{"source_directory": "steps"}}):
                PythonScriptStep("train.py", inputs=[data])
        """)
        assert (
            "PythonScriptStep 'train': needs 'prepare', which is in no pipeline; declare it in the same one"
            in error
        )

    @BOTH
    def test_running_after_a_step_in_no_dag(self, dag_files, kind):
        error = dag_files.error(f"""
            first = PythonScriptStep("prepare.py")
            with {kind}("second", schedule=None, default_args={{"source_directory": "steps"}}):
                PythonScriptStep("train.py").run_after(first)
        """)
        assert "PythonScriptStep 'train': needs 'prepare', which is in no pipeline" in error

    def test_work_after_a_failure_where_the_first_one_ends_the_run(self, dag_files):
        error = dag_files.error("""
            with Pipeline("p"):
                EmptyOperator(task_id="tidy", trigger_rule="all_done")
        """)
        assert (
            "EmptyOperator 'tidy': argument trigger_rule is 'all_done', but the pipeline ends at the first failure"
            in error
        )
        assert "Pipeline(…, continue_on_step_failure=True)" in error

    def test_a_pipeline_without_a_name(self, dag_files):
        error = dag_files.error(
            'pipeline = Pipeline(steps=[PythonScriptStep("train.py", source_directory="steps")])'
        )
        assert error.startswith(
            "DefinitionError: this Pipeline has no name, and Airflow needs one for its DAG id"
        )


class TestSourceDirectory:
    """Q28: the folder of the DAG file takes the place of v1's current directory, unless it is no folder for one step."""

    STEP = 'with {kind}("p", schedule=None):\n    PythonScriptStep("train.py")\n'

    @pytest.fixture
    def flat(self, dag_files):
        """Scripts beside the DAG file."""
        (dag_files.folder / "train.py").write_text("print('done')\n")
        return dag_files

    @BOTH
    def test_scripts_may_lie_beside_the_dag_file(self, flat, kind):
        assert flat.dag(self.STEP.format(kind=kind)).task_ids == ["train"]

    @BOTH
    @pytest.mark.parametrize(
        "other",
        ["from airflow.sdk import DAG\n", "from airflow_azureml import Pipeline\nPipeline('q')\n"],
        ids=["DAG", "Pipeline"],
    )
    @pytest.mark.parametrize("where", ["other.py", "team/other.py"])
    def test_but_not_among_other_dags(self, flat, kind, other, where):
        (flat.folder / where).parent.mkdir(exist_ok=True)
        (flat.folder / where).write_text(other)
        error = flat.error(self.STEP.format(kind=kind))
        assert re.search(
            rf"PythonScriptStep 'train': no source_directory is given, and the folder .* holds other DAGs \({where}\); "
            r"move the scripts to a folder of their own and name it: source_directory=…",
            error,
        )

    def test_step_scripts_are_not_taken_for_dags(self, flat):
        (flat.folder / "helper.py").write_text("from airflow_azureml.runtime import Run\n")
        assert flat.dag(self.STEP.format(kind="Pipeline")).task_ids == ["train"]

    def test_who_names_the_folder_means_it(self, flat):
        (flat.folder / "other.py").write_text("from airflow.sdk import DAG\n")
        assert flat.dag(
            'with Pipeline("p", default_source_directory="."):\n    PythonScriptStep("train.py")\n'
        ).task_ids == ["train"]

    @BOTH
    def test_one_that_is_too_large(self, dag_files, azureml_options, kind):
        azureml_options.setenv("AIRFLOW__AZUREML__SNAPSHOT_LIMIT_MB", "1")
        config.forget()
        dag_files.script("big.bin", "x" * 2_000_000)
        error = dag_files.error(f"""
            with {kind}("p", schedule=None):
                PythonScriptStep("train.py", source_directory="steps")
        """)
        assert re.search(
            r"PythonScriptStep 'train': argument source_directory: .*more than the 1.0 MiB allowed. Largest: big.bin.*amlignore",
            error,
        )

    @BOTH
    def test_one_with_a_link_out_of_it(self, dag_files, kind):
        (dag_files.scripts / "passwd").symlink_to("/etc/passwd")
        error = dag_files.error(f"""
            with {kind}("p", schedule=None):
                PythonScriptStep("train.py", source_directory="steps")
        """)
        assert re.search(r"PythonScriptStep 'train': argument source_directory: .*passwd", error)
