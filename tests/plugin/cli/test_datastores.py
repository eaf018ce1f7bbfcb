"""``airflow azureml datastores …``: where data are, and the files on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.cli import cli_parser
from airflow.models import Connection
from airflow.utils.session import create_session
from azure_files_server import KEY, AzureFilesServer

from airflow_azureml import config
from airflow_azureml.cli.datastores_definition import TYPES
from airflow_azureml.storage.opening import forget
from airflow_azureml.workspace.datastores import DATABASE_TYPES, FILE_TYPES
from airflow_azureml.workspace.handle import open_workspace

pytestmark = pytest.mark.filterwarnings("ignore")


class Datastores:
    """The commands over a workspace of their own."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.workspace = open_workspace(str(home / "workspace"))
        self._capsys = capsys

    def __call__(self, *words: str) -> str:
        args = cli_parser.get_parser().parse_args(["azureml", "datastores", *words])
        args.func(args)
        return self._capsys.readouterr().out

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--output", "json"))

    def fails(self, *words: str) -> str:
        with pytest.raises(SystemExit):
            self(*words)
        return self._capsys.readouterr().err


@pytest.fixture
def datastores(
    tmp_path: Path, azureml_options: pytest.MonkeyPatch, airflow_database: Path, capsys
) -> Datastores:
    azureml_options.setenv("AIRFLOW__AZUREML__WORKSPACE", str(tmp_path / "workspace"))
    azureml_options.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
    config.forget()
    forget()
    capsys.readouterr()
    return Datastores(tmp_path, capsys)


@pytest.fixture
def shared(datastores: Datastores, azure_files: AzureFilesServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a datastore on a file share."""
    monkeypatch.setenv("AIRFLOW_CONN_SHARES", json.dumps(azure_files.connection()))
    share = azure_files.share()
    datastores("register", "shared", "--type", "AzureFile", "--connection", "shares", "--container", share)
    return "shared"


def test_the_types_are_those_there_are() -> None:
    assert sorted(TYPES) == sorted([*FILE_TYPES, *DATABASE_TYPES])


class TestLooking:
    def test_a_list(self, datastores: Datastores, shared: str) -> None:
        said = datastores("list", "--output", "plain").splitlines()
        assert said[0].split() == ["name", "type", "connection", "place"]
        assert said[1].split()[:3] == ["shared", "AzureFile", "shares"]
        assert said[2].split()[0] == "workspaceblobstore"
        assert said[2].endswith("default")
        assert [each["default"] for each in datastores.json("list")] == [False, True, False]

    def test_one_with_what_its_connection_says(
        self, datastores: Datastores, shared: str, azure_files: AzureFilesServer
    ) -> None:
        said = datastores("show", shared)
        assert f"account filesaccount at {azure_files.endpoint}, signed in by account key" in said
        assert KEY not in said

    def test_one_whose_connection_is_gone(
        self, datastores: Datastores, shared: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AIRFLOW_CONN_SHARES")
        assert "not usable: there is no Airflow connection 'shares'" in datastores("show", shared)

    def test_an_unknown_one(self, datastores: Datastores) -> None:
        assert "no datastore 'nobody'" in datastores.fails("show", "nobody")


class TestRegistering:
    def test_a_folder(self, datastores: Datastores, tmp_path: Path) -> None:
        datastores(
            *("register", "here", "--type", "Local", "--root", str(tmp_path), "--description", "mine"),
            *("--tag", "team=a", "--tag", "x=1=2", "--default"),
        )
        found = datastores.json("show", "here")
        assert (found["root"], found["default"], found["description"]) == (str(tmp_path), True, "mine")
        assert found["tags"] == {"team": "a", "x": "1=2"}

    def test_a_share_that_is_not_there_unless_it_is_made(
        self, datastores: Datastores, shared: str, azure_files: AzureFilesServer
    ) -> None:
        words = (
            "register",
            "other",
            "--type",
            "AzureFile",
            "--connection",
            "shares",
            "--container",
            "made-here",
        )
        assert "no such share" in datastores.fails(*words)
        datastores(*words, "--create")
        assert "made-here" in azure_files.shares

    def test_a_connection_of_airflows_database(self, datastores: Datastores) -> None:
        with create_session() as session:
            session.add(Connection("azureml_raw", conn_type="azureml_storage", login="lake", password=KEY))
        words = ("register", "raw", "--type", "AzureBlob", "--container", "c", "--no-check")
        try:
            assert "account_name is 'pond'" in datastores.fails(*words, "--account", "pond")
            datastores(*words, "--account", "lake")
        finally:
            with create_session() as session:
                session.query(Connection).filter_by(conn_id="azureml_raw").delete()
        assert datastores.workspace.datastores.get("raw").connection_id == "azureml_raw"

    def test_without_a_connection_the_command_that_makes_it_is_said(self, datastores: Datastores) -> None:
        said = datastores.fails(
            "register", "raw", "--type", "AzureBlob", "--container", "c", "--account", "lake"
        )
        assert "airflow connections add azureml_raw --conn-type azureml_storage --conn-login lake" in said

    def test_the_replacement_of_a_gen1_account(
        self, datastores: Datastores, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(
            "AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "adls", "host": "lake", "password": KEY})
        )
        datastores(
            *("register", "new", "--type", "AzureDataLakeGen2", "--connection", "lake", "--container", "fs"),
            *("--replaces", "oldlake", "--no-check"),
        )
        datastores("register", "old", "--type", "AzureDataLake", "--account", "oldlake")
        assert datastores.json("show", "old")["container"] == "fs"

    def test_the_default_and_forgetting(self, datastores: Datastores, shared: str) -> None:
        datastores("set-default", shared)
        assert "is the default" in datastores.fails("unregister", shared)
        datastores("set-default", "workspaceblobstore")
        datastores("unregister", shared)
        assert len(datastores.json("list")) == 2


class TestFiles:
    def test_they_go_there_and_back(self, datastores: Datastores, shared: str, tmp_path: Path) -> None:
        source = tmp_path / "source"
        (source / "deep").mkdir(parents=True)
        (source / "a.csv").write_text("a")
        (source / "deep" / "b.csv").write_text("bb")
        assert datastores("upload", shared, str(source), "--target", "data").startswith("2 files copied, 3 B")
        (source / "a.csv").write_text("changed")
        said = datastores("upload", shared, str(source / "a.csv"), "--target", "data")
        assert said.startswith("0 files copied, 0 B; 1 file stayed")

        listed = datastores("browse", shared, "data").splitlines()
        assert listed[0].split() == ["name", "size", "modified", "(UTC)"]
        assert listed[1].split()[0] == "deep/"
        assert listed[2].split()[:3] == ["a.csv", "1", "B"]
        assert listed[3] == "1 folder, 1 file"
        assert datastores("browse", shared, "nowhere") == "nothing is there\n"

        datastores("download", shared, "data", "--to", str(tmp_path / "got"))
        assert (tmp_path / "got" / "data" / "a.csv").read_text() == "a"
        datastores("upload", shared, str(source / "a.csv"), "--target", "data", "--overwrite")
        assert "1 file stayed" in datastores("download", shared, "data/a.csv", "--to", str(tmp_path / "got"))
        datastores("download", shared, "data/a.csv", "--to", str(tmp_path / "got"), "--overwrite")
        assert (tmp_path / "got" / "data" / "a.csv").read_text() == "changed"

    def test_what_is_not_there(self, datastores: Datastores, shared: str, tmp_path: Path) -> None:
        assert "no file or folder 'nowhere'" in datastores.fails("upload", shared, "nowhere")
        said = datastores.fails("download", shared, "nowhere", "--to", str(tmp_path))
        assert "nothing at 'nowhere'" in said
