"""DataTransferStep in DAG files: declared as v1 code does, run by Airflow, read by other steps."""

import json

import pytest

from airflow_azureml.workspace.datastores import DatastoreRecord
from airflow_azureml.workspace.handle import open_workspace

READ = """
    import os, sys
    from azureml.core import Run

    found = []
    for folder, _, names in sorted(os.walk(sys.argv[1])):
        found += [os.path.relpath(os.path.join(folder, name), sys.argv[1]) for name in sorted(names)]
    Run.get_context().log("seen", " ".join(found))
"""


class TestADeclaration:
    def test_is_that_of_v1(self, dag_files):
        dag = dag_files.dag(
            """
            source = DataReference("workspaceblobstore", "raw", "raw")
            target = DataReference("workspacefilestore", "copied", "copied")
            with Pipeline("moves") as pipeline:
                copy = DataTransferStep(
                    name="copy",
                    source_data_reference=source,
                    destination_data_reference=target,
                    compute_target="adf",
                    source_reference_type="directory",
                    destination_reference_type="directory",
                )
                PythonScriptStep("train.py", arguments=[copy.get_output()], inputs=[copy.get_output()], source_directory="steps")
            """
        )
        assert dag.get_task("train").upstream_task_ids == {"copy"}
        assert dag.get_task("copy").get_output().name == "_data_transfer_output"
        assert dag.get_task("copy").get_output().datastore_name == "workspacefilestore"

    def test_takes_a_glob_in_the_sources_path(self, dag_files):
        dag = dag_files.dag(
            """
            with Pipeline("moves"):
                DataTransferStep("copy", DataReference("a", path_on_datastore="raw/*/x.csv"), DataReference("b"))
            """
        )
        assert dag.get_task("copy").source_path == "raw"
        assert dag.get_task("copy").include == ["/*/x.csv"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("", "argument source_data_reference is missing"),
            ("DataReference('a')", "argument destination_data_reference is missing"),
            ("DataReference('a'), 'b'", "argument destination_data_reference is a str"),
            (
                "DataReference('a'), DataReference('b'), None, 'folder'",
                "argument source_reference_type is 'folder'; give 'file' or 'directory'",
            ),
            ("DataReference('a'), SqlDataReference('b', sql_query='select 1')", "is no place to write to"),
            (
                "DataReference('a'), DataReference('b'), mode='sync'",
                "mode is 'sync'; give one of copy, mirror",
            ),
            ("DataReference('a'), DataReference('b'), workers=0", "workers is 0"),
        ],
    )
    def test_that_is_wrong_says_where(self, dag_files, arguments, message):
        error = dag_files.error(f"with Pipeline('moves'):\n    DataTransferStep('copy', {arguments})")
        assert message in error
        assert "copy" in error

    def test_of_sql_as_a_scripts_input_says_what_to_write(self, dag_files):
        error = dag_files.error(
            """
            with Pipeline("moves"):
                PythonScriptStep("train.py", inputs=[SqlDataReference("a", sql_query="select 1")], source_directory="steps")
            """
        )
        assert "from_sql_query" in error


@pytest.mark.airflow
@pytest.mark.filterwarnings("ignore")
def test_a_copy_is_read_by_the_next_step_and_made_once(run):
    run.files.script("train.py", READ)
    workspace = open_workspace(str(run.workspace))
    raw = workspace.datastores.root("workspaceblobstore") / "raw"
    (raw / "2026").mkdir(parents=True)
    (raw / "2026" / "a b.csv").write_text("1")
    (raw / "c.txt").write_text("2")
    text = """
        with Pipeline("moves", default_args=usual):
            copy = DataTransferStep(
                "copy",
                DataReference("workspaceblobstore", path_on_datastore="raw/**/*.csv"),
                DataReference("workspacefilestore", path_on_datastore="copied/{{ params.day }}"),
            )
            day = PipelineParameter("day", "monday")
            PythonScriptStep("train.py", "read", [copy.get_output(), day], inputs=[copy.get_output()])

            @task
            def count(result):
                return result["transfer"]["files_copied"]

            count(copy.output)
    """
    done = run(text)
    assert done.state == "success"
    assert done.printed("read") == "2026/a b.csv"
    assert done.steps["copy"]["transfer"]["files_copied"] == 1
    copied = workspace.datastores.root("workspacefilestore") / "copied/monday/2026/a b.csv"
    assert copied.read_text() == "1"

    again = run(text)
    assert again.steps["copy"]["reused_from"]

    copied.write_text("somebody else's")
    repaired = run(text)
    assert repaired.steps["copy"]["reuse"]["code"] in ("output_corrupt", "output_gone")
    assert copied.read_text() == "1"

    (raw / "2026" / "a b.csv").write_text("11")
    changed = run(text)
    assert json.loads(json.dumps(changed.steps["copy"]["reuse"]))["code"] == "input"
    assert copied.read_text() == "11"


@pytest.mark.airflow
@pytest.mark.service("azurite")
@pytest.mark.filterwarnings("ignore")
def test_data_goes_to_azure_between_containers_and_back(run, azurite_connection, azurite_server):
    workspace = open_workspace(str(run.workspace))
    raw = workspace.datastores.root("workspaceblobstore") / "raw"
    raw.mkdir(parents=True)
    (raw / "ä b%20.csv").write_text("x\n1\n")
    for name in ("landing", "archive"):
        container = azurite_server.container()
        workspace.datastores.register(
            DatastoreRecord(name, "AzureBlob", azurite_connection, container=container.container)
        )
    run.files.script("train.py", READ)
    done = run(
        """
        with Pipeline("moves", default_args=usual):
            up = DataTransferStep("up", DataReference("workspaceblobstore", path_on_datastore="raw"), DataReference("landing"))
            across = DataTransferStep("across", up.get_output(), DataReference("archive", path_on_datastore="2026/sales"))
            down = DataTransferStep("down", across.get_output(), PipelineData("copied", "workspacefilestore"))
            PythonScriptStep("train.py", "read_there", [across.get_output()], inputs=[across.get_output()])
            PythonScriptStep("train.py", "read_here", [down.get_output()], inputs=[down.get_output()])
        """
    )
    assert done.state == "success"
    assert done.printed("read_there") == done.printed("read_here") == "ä b%20.csv"
    assert [
        step["transfer"]["files_copied"] for name, step in sorted(done.steps.items()) if "transfer" in step
    ] == [1, 1, 1]


@pytest.mark.airflow
@pytest.mark.service("postgresql")
@pytest.mark.filterwarnings("ignore")
def test_rows_go_to_a_file_and_back_to_another_table(run, postgresql_database):
    workspace = open_workspace(str(run.workspace))
    workspace.datastores.register(
        DatastoreRecord("sales", "AzurePostgreSql", "postgresql", container=postgresql_database.name)
    )
    postgresql_database.execute(
        "create table raw (id int primary key, name text); insert into raw values (1, 'a'), (2, 'ä')"
    )
    text = """
        with Pipeline("moves", default_args=usual):
            least = PipelineParameter("least", 2)
            out = DataTransferStep(
                "out",
                SqlDataReference(
                    "sales", sql_query="select * from raw where id >= :least", sql_query_parameters={"least": least}
                ),
                DataReference("workspaceblobstore", path_on_datastore="export/rows.parquet"),
            )
            back = DataTransferStep("back", out.get_output(), SqlDataReference("sales", sql_table="copied"), table_mode="replace")
            after = PythonScriptStep("train.py", inputs=[back.get_output()])
            direct = DataTransferStep(
                "direct",
                SqlDataReference("sales", sql_table="raw"),
                SqlDataReference("sales", sql_table="all_of_it"),
                table_mode="replace",
            )
    """
    done = run(text)
    assert done.state == "success"
    assert postgresql_database.rows("select * from copied") == [(2, "ä")]
    assert postgresql_database.rows("select count(*) from all_of_it") == [(2,)]
    assert done.steps["out"]["transfer"]["rows"] == 1
    assert all(run(text).steps[name]["reused_from"] for name in ("out", "back", "direct"))

    postgresql_database.execute("insert into raw values (3, 'c')")
    changed = run(text)
    assert changed.steps["out"]["reuse"]["code"] == "input"
    assert postgresql_database.rows("select count(*) from copied") == [(2,)]

    postgresql_database.execute("delete from copied")
    assert run(text).steps["back"]["reuse"]["code"] in ("output_corrupt", "output_gone")
    assert postgresql_database.rows("select count(*) from copied") == [(2,)]
