"""The connection types of this package: their forms, and what Airflow's form tests."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import airflow
import jsonschema
import pytest
from azure_files_server import AzureFilesServer
from dbfs_server import DbfsServer

from airflow_azureml.connection_types import CONNECTION_TYPES
from airflow_azureml.hooks.storage import AzureStorageHook, DbfsHook, GoogleCloudStorageHook, S3Hook
from airflow_azureml.storage.connection_forms import labels


@pytest.mark.parametrize("described", CONNECTION_TYPES, ids=lambda described: described["connection-type"])
class TestForms:
    def test_its_hook_is_of_that_type(self, described) -> None:
        module, _, name = described["hook-class-name"].rpartition(".")
        hook = getattr(importlib.import_module(module), name)
        assert (hook.conn_type, hook.hook_name) == (described["connection-type"], described["hook-name"])

    def test_messages_name_fields_as_the_form_does(self, described) -> None:
        shown = dict(described["ui-field-behaviour"]["relabeling"])
        shown |= {name: field["label"] for name, field in described["conn-fields"].items()}
        assert labels(described["connection-type"]) == shown

    def test_secrets_are_not_shown_while_they_are_typed(self, described) -> None:
        for name, field in described["conn-fields"].items():
            secret = any(word in name for word in ("secret", "token", "keyfile", "connection_string"))
            assert (field["schema"].get("format") == "password") == secret, name

    def test_airflow_takes_it(self, described) -> None:
        folder = Path(airflow.__file__).parent
        schema = json.loads((folder / "provider_info.schema.json").read_text())
        jsonschema.validate([described], schema["properties"]["connection-types"])
        behaviour = {name.replace("-", "_"): value for name, value in described["ui-field-behaviour"].items()}
        fields = json.loads((folder / "customized_form_field_behaviours.schema.json").read_text())
        jsonschema.validate(behaviour, fields)


class TestTestingAConnection:
    @pytest.mark.service("azurite")
    def test_a_storage_account_that_answers(self, azurite, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", azurite.connection())
        works, said = AzureStorageHook("lake").test_connection()
        assert works, said
        assert said == "Account 'devstoreaccount1' answers; signed in by account key."

    def test_a_refused_key_is_said_without_showing_it(
        self, azure_files: AzureFilesServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(azure_files.connection(password="aHVudGVyMg==")))
        works, said = AzureStorageHook("lake").test_connection()
        assert not works
        assert "AuthenticationFailed" in said
        assert "aHVudGVyMg" not in said

    def test_a_workspace_of_databricks(self, dbfs: DbfsServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_BRICKS", json.dumps(dbfs.connection()))
        assert DbfsHook("bricks").test_connection() == (True, f"{dbfs.url} answers.")
        monkeypatch.setenv("AIRFLOW_CONN_BRICKS", json.dumps({**dbfs.connection(), "password": "x"}))
        assert not DbfsHook("bricks").test_connection()[0]

    @pytest.mark.parametrize("hook", [S3Hook, GoogleCloudStorageHook])
    def test_buckets_are_not_looked_at(self, hook, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_BUCKETS", json.dumps({"conn_type": hook.conn_type}))
        works, said = hook("buckets").test_connection()
        assert works
        assert "when a datastore is registered" in said

    def test_a_missing_field_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "azureml_storage"}))
        works, said = AzureStorageHook("lake").test_connection()
        assert not works
        assert "'Storage account'" in said
