"""What a query may be, and where its values go."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_azureml.model.sql_source import SqlParameter
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql.dialects import DIALECTS
from airflow_azureml.sql.statements import name_parts, one_query, pieces, with_places


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("postgresql", "SELECT 1"),
        ("postgresql", "  ( select 1 )"),
        ("postgresql", "-- what it is\nWITH a AS (SELECT 1) SELECT * FROM a"),
        ("postgresql", "SELECT ';', \";\", $$;$$, $tag$ ; $$ ; $tag$, E'\\';' /* ; /* ; */ ; */ -- ;"),
        ("mssql", "SELECT [a;b], [Update] FROM [dbo].[Delete] WHERE x = 'DROP TABLE t'"),
        ("mssql", "SELECT * FROM a INNER MERGE JOIN b ON a.x = b.x OPTION (USE HINT('FORCE_LEGACY'))"),
        ("mysql", 'SELECT `a;b`, \'it\\\'s;\', "x"";" # ; a comment'),
        ("ansi", "VALUES (1)"),
    ],
)
def test_one_reading_statement_is_a_query(kind: str, text: str) -> None:
    assert one_query(text, kind).strip() == text.strip()


@pytest.mark.parametrize("after", [";", " ; ", ";\n-- the end\n", "; ;"])
def test_a_semicolon_at_the_end_is_left_out(after: str) -> None:
    assert one_query("SELECT 1" + after, "postgresql").strip() == "SELECT 1"


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("postgresql", "SELECT 1; SELECT 2", "more than one statement"),
        ("postgresql", "SELECT 1; 'x'", "more than one statement"),
        ("mysql", "SELECT '\\'; DROP TABLE t; -- ", "without an end"),
        ("ansi", "SELECT '\\'; DROP TABLE t; -- '", "more than one statement"),
        ("postgresql", "DELETE FROM t", "starts with DELETE"),
        ("postgresql", "", "starts with nothing"),
        ("postgresql", "-- only a comment", "starts with nothing"),
        ("postgresql", "SELECT 'x", "without an end"),
        ("postgresql", "SELECT 1 /* /* */", "without an end"),
        ("mssql", "SELECT 1 DELETE FROM t", "says DELETE"),
        ("mssql", "SELECT * INTO other FROM t", "says INTO"),
        ("mssql", "WITH a AS (SELECT 1 AS x) UPDATE t SET x = 1", "says UPDATE"),
        ("mysql", "SELECT 1 /*! ; DROP TABLE t */", "MySQL executes"),
    ],
)
def test_anything_else_is_refused(kind: str, text: str, reason: str) -> None:
    with pytest.raises(UserErrorException, match=reason):
        one_query(text, kind)


def test_a_query_that_ends_in_a_comment_leaves_room_for_what_follows() -> None:
    assert one_query("SELECT 1 -- one", "postgresql").endswith("\n")


def places(
    text: str, percent: bool = False, kind: str = "postgresql", **values: object
) -> tuple[str, list[object]]:
    parameters = [SqlParameter(name, value) for name, value in values.items()]  # type: ignore[arg-type]
    written, bound = with_places(text, parameters, kind, lambda number, _: f"${number}", percent=percent)
    return written, [parameter.value for parameter in bound]


def test_values_get_places_and_stay_beside_the_text() -> None:
    assert places("SELECT :a, :b, :a", a="x'; DROP TABLE t", b=2) == (
        "SELECT $1, $2, $3",
        ["x'; DROP TABLE t", 2, "x'; DROP TABLE t"],
    )


def test_only_code_has_places() -> None:
    text = "SELECT x::a, ':a', \":a\", list[1:a], $$ :a $$ -- :a\n, :a"

    assert places(text, a=1)[0] == text.removesuffix(":a") + "$1"


def test_no_value_is_written_as_null_because_it_has_no_type() -> None:
    assert places("SELECT :a, :b", a=None, b=1) == ("SELECT NULL, $1", [1])


def test_percent_signs_are_doubled_for_drivers_that_read_them() -> None:
    assert places("SELECT '%', x % :a", percent=True, a=1)[0] == "SELECT '%%', x %% $1"
    assert places("SELECT '%'", percent=True)[0] == "SELECT '%'"


def test_a_parameter_that_the_query_does_not_use_is_an_error() -> None:
    with pytest.raises(UserErrorException, match="does not use parameter b; write :b"):
        places("SELECT :a", a=1, b=2)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("orders", ("orders",)),
        ("dbo.orders", ("dbo", "orders")),
        ("[dbo].[my ]] orders]", ("dbo", "my ] orders")),
        ('"a.b"."c""d"', ("a.b", 'c"d')),
        ("`a`.`b``c`", ("a", "b`c")),
        ("db.dbo.Größe", ("db", "dbo", "Größe")),
    ],
)
def test_names_of_tables_have_parts(name: str, parts: tuple[str, ...]) -> None:
    assert name_parts(name) == parts


@pytest.mark.parametrize(
    "name", ["", "a b", "a;b", "a.", ".a", "a'b", '"a', "a.b.c.d", "t; DROP TABLE x", "a--b c"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UserErrorException, match="table name"):
        name_parts(name)


@given(name=st.text(min_size=1).filter(lambda name: "\0" not in name), kind=st.sampled_from(sorted(DIALECTS)))
@settings(max_examples=200, deadline=None)
def test_any_name_can_be_quoted_and_is_one_quoted_piece(name: str, kind: str) -> None:
    quoted = DIALECTS[kind].quote(name)

    assert [piece.kind for piece in pieces(quoted, kind)] == ["quoted"]
    assert name_parts(quoted) == (name,)


@given(text=st.text(alphabet="ab'\"`[]$;-/*\\#\n ", max_size=40), kind=st.sampled_from(sorted(DIALECTS)))
@settings(max_examples=300, deadline=None)
def test_pieces_put_together_are_the_text(text: str, kind: str) -> None:
    try:
        found = list(pieces(text, kind))
    except UserErrorException:
        return

    assert "".join(piece.text for piece in found) == text
