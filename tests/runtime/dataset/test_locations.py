"""The forms of ``path``, and what a relative path is relative to."""

import importlib.util
from pathlib import Path

import pytest

from airflow_azureml.runtime.dataset import Dataset
from airflow_azureml.runtime.dataset.locations import clean_datastore_path, datastore_target, path_entries
from airflow_azureml.runtime.exceptions import UserErrorException


class DataPath:
    def __init__(self, datastore, path):
        self.datastore_name = datastore.name
        self.path_on_datastore = path


class DataReference:
    def __init__(self, datastore, path):
        self.datastore = datastore
        self.path_on_datastore = path


def test_local_forms():
    assert path_entries(
        ["/data/a b.csv", Path("/data/b/"), "file:///data/a%20b.csv", "file://localhost/c"]
    ) == [
        {"local": "/data/a b.csv"},
        {"local": "/data/b"},
        {"local": "/data/a b.csv"},
        {"local": "/c"},
    ]


def test_datastore_forms(datastore):
    entry = {"datastore": "store", "path": "in/a*.csv"}
    forms = [
        (datastore, "/in/a*.csv"),
        DataPath(datastore, "./in//a*.csv"),
        DataReference(datastore, "in/a*.csv"),
    ]
    assert path_entries(forms) == [entry, entry, entry]
    assert path_entries(DataReference(datastore, None)) == [{"datastore": "store", "path": ""}]


def test_urls_are_accepted_and_left_for_the_service():
    assert path_entries("https://example.org/a.csv") == [{"url": "https://example.org/a.csv"}]
    assert path_entries("abfss://c@a.dfs.core.windows.net/x") == [
        {"url": "abfss://c@a.dfs.core.windows.net/x"}
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ([], "path is an empty list"),
        ("", "path is an empty text"),
        (7, "path is 7; give a local path"),
        (("store", "a.csv"), r"path is \('store', 'a.csv'\); give"),
        ("ftp://example.org/a", "the scheme of a URL is one of file, http"),
        ("file://elsewhere/a", "no URL of a file on this machine"),
        ("a\0b", "NUL"),
        ("https://a.blob.core.windows.net/c/x.csv?sv=1&sig=hush", "carries a signature"),
        ("https://user:hush@example.org/x", "carries a password"),
        (["/a", "https://example.org/a"], "not several of these; found local, url"),
    ],
)
def test_other_forms_are_refused(path, message):
    with pytest.raises(UserErrorException, match=message) as caught:
        path_entries(path)
    assert "hush" not in str(caught.value)


def test_local_files_and_datastores_do_not_mix(datastore):
    with pytest.raises(UserErrorException, match=r"found datastore, local"):
        path_entries(["/a", (datastore, "a")])


@pytest.mark.parametrize("path", ["../a", "a/../../b", "a/.."])
def test_a_datastore_path_cannot_leave_its_datastore(datastore, path):
    with pytest.raises(UserErrorException, match=r"would leave the datastore"):
        path_entries((datastore, path))


def test_an_upload_goes_to_a_datastore(datastore):
    assert datastore_target(datastore) == ("store", "")
    assert datastore_target((datastore, "a/b/")) == ("store", "a/b")
    assert datastore_target(DataPath(datastore, "a")) == ("store", "a")
    for wrong in ("store", "/local", None, 3):
        with pytest.raises(UserErrorException, match=r"target is a datastore"):
            datastore_target(wrong)


def test_datastore_paths_have_one_spelling():
    assert clean_datastore_path("./a//b/./c/") == "a/b/c"


def load(path):
    spec = importlib.util.spec_from_file_location("some_dag", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.dataset.definition["source"]["paths"][0]["local"]


@pytest.fixture
def dag_file(tmp_path):
    path = tmp_path / "dags" / "dag.py"
    path.parent.mkdir()
    path.write_text(
        "from airflow_azureml.runtime.dataset import Dataset\n"
        "dataset = Dataset.Tabular.from_delimited_files('data/*.csv')\n"
    )
    (tmp_path / "cwd").mkdir()
    return path


@pytest.mark.parametrize(
    ("present", "expected"),
    [(("dags", "cwd"), "dags"), (("dags",), "dags"), (("cwd",), "cwd"), ((), "dags")],
)
def test_a_relative_path_is_looked_for_beside_the_calling_file_first(
    dag_file, tmp_path, monkeypatch, present, expected
):
    for folder in present:
        (tmp_path / folder / "data").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    assert load(dag_file) == str(tmp_path / expected / "data" / "*.csv")


def test_inside_a_step_a_relative_path_is_below_the_working_directory(dag_file, tmp_path, monkeypatch):
    (tmp_path / "dags" / "data").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("AZUREML_RUN_SOCKET", "/run/x.sock")
    source = dag_file.read_text().replace("'data/*.csv'", "'data/*.csv', validate=False")
    dag_file.write_text(source)
    assert load(dag_file) == str(tmp_path / "cwd" / "data" / "*.csv")


def test_data_that_is_not_there_does_not_keep_a_dag_file_from_parsing():
    assert Dataset.Tabular.from_delimited_files("/no/such/file.csv").definition
    assert Dataset.File.from_files("no/such/folder").definition
