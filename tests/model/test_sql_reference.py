"""SqlDataReference and StoredProcedureParameter, as DAG files write them."""

import datetime
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest

from airflow_azureml.model.parameters import PipelineParameter
from airflow_azureml.model.sql_reference import (
    SqlDataReference,
    StoredProcedureParameter,
    StoredProcedureParameterType,
)
from airflow_azureml.model.sql_source import SqlParameter, SqlSource
from airflow_azureml.runtime.exceptions import DefinitionError, UserErrorException

GUID = "7f3c2b1a-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("type_name", "value", "expected"),
    [
        ("String", 5, "5"),
        ("Int", "-7", -7),
        ("Decimal", "12.50", Decimal("12.50")),
        ("Guid", GUID, uuid.UUID(GUID)),
        ("Boolean", "False", False),
        ("Boolean", True, True),
        ("Date", "2026-01-31", datetime.date(2026, 1, 31)),
        ("Date", "2026-01-31T08:00:00", datetime.datetime.fromisoformat("2026-01-31T08:00:00")),
        ("Int", None, None),
    ],
)
def test_a_parameter_has_the_value_of_its_type(type_name: str, value: object, expected: object) -> None:
    parameter = StoredProcedureParameter("@p", value, StoredProcedureParameterType[type_name])

    assert parameter.bound({}) == SqlParameter("p", expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("Int", "1.5"),
        ("Int", True),
        ("Decimal", "NaN"),
        ("Guid", "x"),
        ("Boolean", "yes"),
        ("Date", "31.1.2026"),
    ],
)
def test_a_value_of_another_type_is_refused_without_showing_it(type_name: str, value: object) -> None:
    with pytest.raises(UserErrorException, match=f"'p': the value is no {type_name}") as refused:
        StoredProcedureParameter("p", value, type_name)

    assert str(value) not in str(refused.value).replace("True or False", "")


def test_text_is_the_type_without_one() -> None:
    assert StoredProcedureParameter("p", "x").type is StoredProcedureParameterType.String


@pytest.mark.parametrize(
    ("arguments", "source"),
    [
        ({"sql_table": "dbo.t"}, SqlSource.table("dbo.t")),
        ({"sql_query": "SELECT 1"}, SqlSource.query("SELECT 1")),
        (
            {"sql_query": "SELECT :day", "sql_query_parameters": {"day": datetime.date(2026, 1, 1)}},
            SqlSource.query("SELECT :day", {"day": datetime.date(2026, 1, 1)}),
        ),
        (
            {
                "sql_stored_procedure": "p",
                "sql_stored_procedure_params": [StoredProcedureParameter("a", "1", "Int")],
            },
            SqlSource.procedure("p", [SqlParameter("a", 1)]),
        ),
    ],
)
def test_a_reference_is_a_source(arguments: dict[str, Any], source: SqlSource) -> None:
    assert SqlDataReference("db", "in", **arguments).source() == source


def test_parameters_of_the_run_take_their_places() -> None:
    day, limit = PipelineParameter("day", "2026-01-01"), PipelineParameter("limit", 5)
    reference = SqlDataReference(
        "db",
        sql_stored_procedure="p",
        sql_stored_procedure_params=[
            StoredProcedureParameter("day", day, "Date"),
            StoredProcedureParameter("limit", limit, "Int"),
        ],
    )

    found = reference.source({"day": "2026-02-02"})

    assert [parameter.value for parameter in found.parameters] == [datetime.date(2026, 2, 2), 5]
    assert reference.pipeline_parameters() == [day, limit]


def test_a_table_may_be_chosen_by_the_run() -> None:
    reference = SqlDataReference("db", sql_table=PipelineParameter("table", "a"))

    assert (reference.table(), reference.table({"table": "b"})) == ("a", "b")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "none of sql_table, sql_query, sql_stored_procedure given"),
        ({"sql_table": "t", "sql_query": "SELECT 1"}, "sql_table and sql_query given"),
        ({"sql_query": "  "}, "sql_query is '  '"),
        ({"sql_query": PipelineParameter("q", "SELECT 1")}, "with :name for what varies"),
        ({"sql_table": "t", "sql_query_parameters": {"a": 1}}, "are for sql_query"),
        (
            {"sql_table": "t", "sql_stored_procedure_params": [StoredProcedureParameter("a", 1)]},
            "sql_stored_procedure",
        ),
        ({"sql_query": "SELECT :a", "sql_query_parameters": {"a": object()}}, "parameter 'a' is a object"),
        ({"sql_query": "SELECT 1", "sql_query_parameters": {"a b": 1}}, "no name of a parameter"),
        (
            {"sql_stored_procedure": "p", "sql_stored_procedure_params": [("a", 1)]},
            "StoredProcedureParameter objects",
        ),
    ],
)
def test_what_is_declared_wrongly_is_refused(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        SqlDataReference("db", **arguments)


def test_the_name_is_the_same_each_time_and_another_one_for_another_source() -> None:
    def name(**arguments: Any) -> str:
        return SqlDataReference("db", **arguments).data_reference_name

    assert name(sql_table="a") == name(sql_table="a")
    assert name(sql_table="a") != name(sql_table="b")


@pytest.mark.parametrize("member", ["path", "as_mount", "as_download", "as_upload"])
def test_a_database_has_no_paths_as_in_v1(member: str) -> None:
    with pytest.raises(NotImplementedError):
        getattr(SqlDataReference("db", sql_table="t"), member)()


def test_a_source_survives_its_document_with_its_types() -> None:
    values = {
        "a": True,
        "b": 2**70,
        "c": 0.1,
        "d": Decimal("1.10"),
        "e": "é",
        "f": b"\xff",
        "g": datetime.date(2026, 1, 1),
        "h": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        "i": datetime.time(1, 2),
        "j": uuid.UUID(GUID),
        "k": None,
    }
    source = SqlSource.query("SELECT 1", values)

    found = SqlSource.from_document(json.loads(json.dumps(source.to_document())))

    assert found == source
    assert [type(each.value) for each in found.parameters] == [type(value) for value in values.values()]


def test_values_are_not_shown() -> None:
    assert "secret" not in repr(SqlSource.query("SELECT :a", {"a": "secret"}))
    assert "secret" not in repr(StoredProcedureParameter("a", "secret"))
