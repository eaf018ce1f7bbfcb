# ruff: noqa: S608, ARG002 -- Every name put into SQL here is quoted, values never are put in; what a database hasn't got takes
# the arguments of those that have.
"""What the databases' SQL has of its own: quoting, types, catalogues, upserts, procedures.

Statements here say ``:name`` for values, as queries of users do (:func:`airflow_azureml.sql.statements.with_places`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_azureml.model.sql_source import SqlParameter, SqlSource
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql.statements import name_parts, one_query

STAGING = "azureml_arriving"
"""Name of the temporary table where rows wait; it is seen by its own connection only."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with its values.

    :param text: with ``:name`` for each value.
    :param parameters: the values.
    """

    text: str
    parameters: tuple[SqlParameter, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    :param name: its name.
    :param type: its type, as a cast says it.
    """

    name: str
    type: str


class Dialect:
    """SQL as the standard has it; subclasses are the databases that differ."""

    kind = "ansi"
    opening = closing = '"'
    staging = STAGING
    ddl_commits = False
    upserts_by_primary_key = False
    types = {  # noqa: RUF012 -- never changed
        "int16": "smallint",
        "int32": "integer",
        "int64": "bigint",
        "float": "real",
        "double": "double precision",
        "bool": "boolean",
        "string": "text",
        "binary": "blob",
        "date32": "date",
        "time64": "time",
        "timestamp": "timestamp",
        "timestamp_tz": "timestamp with time zone",
        "decimal": "decimal({precision}, {scale})",
        "numeric": "decimal(38, 10)",
        "uuid": "char(36)",
        "json": "text",
    }

    def quote(self, name: str) -> str:
        """Return a name as SQL writes any name."""
        if "\0" in name or not name:
            raise UserErrorException(f"{name!r} is no name in a database")
        return self.opening + name.replace(self.closing, self.closing * 2) + self.closing

    def quoted(self, name: str, what: str = "table") -> str:
        """Return the name of a table or procedure with its parts quoted."""
        return ".".join(self.quote(part) for part in name_parts(name, what))

    def listed(self, columns: Sequence[str]) -> str:
        """Return names of columns, quoted, with commas."""
        return ", ".join(self.quote(column) for column in columns)

    def select(self, source: SqlSource) -> Statement:
        """Return the statement that reads a source."""
        if source.kind == "table":
            return Statement(f"SELECT * FROM {self.quoted(source.text)}")
        if source.kind == "query":
            return Statement(one_query(source.text, self.kind), source.parameters)
        return self.call(source)

    def call(self, source: SqlSource) -> Statement:
        """Return the statement that runs a procedure and returns its rows."""
        raise UserErrorException(
            f"{source.shown}: this kind of database has no stored procedures here; give a query"
        )

    def session(self, timeout_s: float | None, *, reading: bool) -> list[str]:
        """Return statements that a transaction begins with: it only reads; a time limit."""
        return []

    def columns(self, table: str) -> Statement | None:
        """Return the statement for names and types of a table's columns, in order; None where there is none."""
        return None

    def primary_key(self, table: str) -> Statement | None:
        """Return the statement for the names of a table's key columns, in order; None where there is none."""
        return None

    def insert(self, table: str, columns: Sequence[str], places: str) -> str:
        """Return an insert of given values; ``places`` are the tuples of places."""
        return f"INSERT INTO {table} ({self.listed(columns)}) VALUES {places}"

    def create(self, table: str, columns: Sequence[Column]) -> str:
        """Return the statement that makes a table; ``table`` is quoted already."""
        listed = ", ".join(f"{self.quote(column.name)} {column.type}" for column in columns)
        return f"CREATE TABLE {table} ({listed})"

    def clear(self, table: str) -> list[str]:
        """Return the statements that remove all rows; other writers wait until the transaction's end."""
        return [f"DELETE FROM {table}"]

    def staging_like(self, table: str, columns: Sequence[str]) -> str:
        """Return the statement that makes an empty temporary table with some columns of another one."""
        raise UserErrorException(
            f"upsert into {table}: this kind of database is not known well enough for it; use append or replace"
        )

    def upsert(self, table: str, columns: Sequence[str], keys: Sequence[str]) -> str:
        """Return the statement that moves the staged rows over those of the same keys."""
        raise UserErrorException(
            f"upsert into {table}: this kind of database is not known well enough for it; use append or replace"
        )

    def repeated_keys(self, keys: Sequence[str]) -> str:
        """Return the query for keys that more than one staged row has."""
        listed = self.listed(keys)
        return f"SELECT {listed} FROM {self.staging} GROUP BY {listed} HAVING COUNT(*) > 1"

    def type_of(self, field: Any) -> str:
        """Return the type of a column that holds an Arrow field's values."""
        name, precision, scale = described_type(field)
        if name not in self.types:
            raise UserErrorException(
                f"column {field.name!r} is {field.type}, which tables don't hold; make the table, or the column text"
            )
        return self.types[name].format(precision=precision, scale=scale)


class PostgreSQL(Dialect):
    """PostgreSQL."""

    kind = "postgresql"
    types = {  # noqa: RUF012 -- never changed
        **Dialect.types,
        "binary": "bytea",
        "timestamp_tz": "timestamptz",
        "numeric": "numeric",
        "uuid": "uuid",
        "json": "jsonb",
    }

    def call(self, source: SqlSource) -> Statement:
        """Return a call of a function by parameter names."""
        given = ", ".join(f"{self.quote(each.name)} => :{each.name}" for each in source.parameters)
        return Statement(f"SELECT * FROM {self.quoted(source.text, 'procedure')}({given})", source.parameters)

    def session(self, timeout_s: float | None, *, reading: bool) -> list[str]:
        """Return statements that a transaction begins with: it only reads; a time limit."""
        limit = [] if timeout_s is None else [f"SET LOCAL statement_timeout = {_milliseconds(timeout_s)}"]
        return [*(["SET TRANSACTION READ ONLY"] if reading else []), *limit]

    def columns(self, table: str) -> Statement:
        """Return names and types; generated columns are left out, nobody can write them."""
        return Statement(
            "SELECT a.attname::text, quote_ident(n.nspname) || '.' || quote_ident(t.typname) FROM pg_attribute a "
            "JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace "
            "WHERE a.attrelid = to_regclass(:relation) AND a.attnum > 0 AND NOT a.attisdropped "
            "AND a.attgenerated = '' ORDER BY a.attnum",
            (SqlParameter("relation", self.quoted(table)),),
        )

    def primary_key(self, table: str) -> Statement:
        """Return the names of the key columns."""
        return Statement(
            "SELECT a.attname::text FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY k(attnum, place) "
            "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum "
            "WHERE i.indisprimary AND i.indrelid = to_regclass(:relation) ORDER BY k.place",
            (SqlParameter("relation", self.quoted(table)),),
        )

    def clear(self, table: str) -> list[str]:
        """Return the statements that remove all rows; other writers wait, readers go on seeing the old rows."""
        return [f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE", f"DELETE FROM {table}"]

    def staging_like(self, table: str, columns: Sequence[str]) -> str:
        """Return the statement that makes an empty temporary table with some columns of another one."""
        return f"CREATE TEMPORARY TABLE {self.staging} AS SELECT {self.listed(columns)} FROM {table} WITH NO DATA"

    def upsert(self, table: str, columns: Sequence[str], keys: Sequence[str]) -> str:
        """Return an insert that updates on conflict; the keys need a unique index."""
        return self.merge(table, columns, keys, self.listed(columns))

    def merge(self, table: str, columns: Sequence[str], keys: Sequence[str], selected: str) -> str:
        """Return the insert from the staging table, ``selected`` being what is taken of it."""
        insert = f"INSERT INTO {table} ({self.listed(columns)}) SELECT {selected} FROM {self.staging}"
        if not keys:
            return insert
        others = [self.quote(column) for column in columns if column not in keys]
        changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in others)
        action = f"DO UPDATE SET {changes}" if others else "DO NOTHING"
        return f"{insert} ON CONFLICT ({self.listed(keys)}) {action}"


class _InformationSchema(Dialect):
    """Databases whose catalogue is looked at through the standard's views."""

    current_schema = ""

    def columns(self, table: str) -> Statement:
        """Return names and types."""
        where, parameters = self._where(table, "")
        return Statement(
            f"SELECT COLUMN_NAME, DATA_TYPE FROM {self._views(table)}COLUMNS WHERE {where} ORDER BY ORDINAL_POSITION",
            parameters,
        )

    def primary_key(self, table: str) -> Statement:
        """Return the names of the key columns."""
        where, parameters = self._where(table, "k.")
        views = self._views(table)
        return Statement(
            f"SELECT k.COLUMN_NAME FROM {views}KEY_COLUMN_USAGE k JOIN {views}TABLE_CONSTRAINTS c "
            "ON c.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND c.TABLE_SCHEMA = k.TABLE_SCHEMA AND c.TABLE_NAME = k.TABLE_NAME "
            f"WHERE c.CONSTRAINT_TYPE = 'PRIMARY KEY' AND {where} ORDER BY k.ORDINAL_POSITION",
            parameters,
        )

    def _views(self, table: str) -> str:
        parts = name_parts(table)
        catalogue = f"{self.quote(parts[0])}." if len(parts) == 3 else ""
        return f"{catalogue}INFORMATION_SCHEMA."

    def _where(self, table: str, alias: str) -> tuple[str, tuple[SqlParameter, ...]]:
        *schemas, name = name_parts(table)
        parameters = [SqlParameter("name", name)]
        schema = self.current_schema
        if schemas:
            schema = ":schema"
            parameters.append(SqlParameter("schema", schemas[-1]))
        return f"{alias}TABLE_NAME = :name AND {alias}TABLE_SCHEMA = {schema}", tuple(parameters)


class MSSQL(_InformationSchema):
    """Azure SQL Database and SQL Server."""

    kind = "mssql"
    opening, closing = "[", "]"
    staging = f"#{STAGING}"
    current_schema = "SCHEMA_NAME()"
    types = {  # noqa: RUF012 -- never changed
        **Dialect.types,
        "int32": "int",
        "double": "float",
        "bool": "bit",
        "string": "nvarchar(max)",
        "binary": "varbinary(max)",
        "timestamp": "datetime2",
        "timestamp_tz": "datetimeoffset",
        "uuid": "uniqueidentifier",
        "json": "nvarchar(max)",
    }

    def call(self, source: SqlSource) -> Statement:
        """Return a call by parameter names; counts of rows that it changes on its way are no result."""
        given = ", ".join(f"@{each.name} = :{each.name}" for each in source.parameters)
        call = f"SET NOCOUNT ON; EXEC {self.quoted(source.text, 'procedure')} {given}".rstrip()
        return Statement(call, source.parameters)

    def clear(self, table: str) -> list[str]:
        """Return the statements that remove all rows; other writers wait until the transaction's end."""
        return [f"DELETE FROM {table} WITH (TABLOCKX, HOLDLOCK)"]

    def staging_like(self, table: str, columns: Sequence[str]) -> str:
        """Return the statement that makes an empty temporary table with some columns of another one."""
        # A union, because selecting into a table alone would make its identity columns ones, too.
        empty = f"SELECT TOP 0 {self.listed(columns)} FROM {table}"
        return f"SELECT * INTO {self.staging} FROM ({empty} UNION ALL {empty}) AS nothing"

    def upsert(self, table: str, columns: Sequence[str], keys: Sequence[str]) -> str:
        """Return a merge that holds its ranges until the end, so that nobody inserts the same keys between."""
        same = " AND ".join(f"t.{self.quote(key)} = s.{self.quote(key)}" for key in keys)
        others = [self.quote(column) for column in columns if column not in keys]
        update = ", ".join(f"t.{name} = s.{name}" for name in others)
        matched = f" WHEN MATCHED THEN UPDATE SET {update}" if others else ""
        values = ", ".join(f"s.{self.quote(column)}" for column in columns)
        return (
            f"MERGE INTO {table} WITH (HOLDLOCK) AS t USING {self.staging} AS s ON {same}{matched} "
            f"WHEN NOT MATCHED BY TARGET THEN INSERT ({self.listed(columns)}) VALUES ({values});"
        )


class MySQL(_InformationSchema):
    """Azure Database for MySQL, MySQL and MariaDB."""

    kind = "mysql"
    opening = closing = "`"
    current_schema = "DATABASE()"
    ddl_commits = True
    upserts_by_primary_key = True
    types = {  # noqa: RUF012 -- never changed
        **Dialect.types,
        "int32": "int",
        "double": "double",
        "string": "longtext",
        "binary": "longblob",
        "time64": "time(6)",
        "timestamp": "datetime(6)",
        "timestamp_tz": "datetime(6)",
        "json": "json",
    }

    def call(self, source: SqlSource) -> Statement:
        """Return a call; MySQL takes parameters by their order only."""
        given = ", ".join(f":{each.name}" for each in source.parameters)
        return Statement(f"CALL {self.quoted(source.text, 'procedure')}({given})", source.parameters)

    def session(self, timeout_s: float | None, *, reading: bool) -> list[str]:
        """Return statements that a transaction begins with: a time limit, which MySQL has for reading only."""
        if not reading:
            return []
        limit = [] if timeout_s is None else [f"SET SESSION max_execution_time = {_milliseconds(timeout_s)}"]
        return [*limit, "START TRANSACTION READ ONLY"]

    def staging_like(self, table: str, columns: Sequence[str]) -> str:
        """Return the statement that makes an empty temporary table with some columns of another one."""
        return f"CREATE TEMPORARY TABLE {self.staging} SELECT {self.listed(columns)} FROM {table} LIMIT 0"

    def upsert(self, table: str, columns: Sequence[str], keys: Sequence[str]) -> str:
        """Return an insert that updates where a unique key is there already."""
        listed = self.listed(columns)
        changed = [self.quote(column) for column in columns if column not in keys] or [self.quote(keys[0])]
        changes = ", ".join(f"{name} = VALUES({name})" for name in changed)
        return f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {self.staging} ON DUPLICATE KEY UPDATE {changes}"


DIALECTS: dict[str, Dialect] = {each.kind: each for each in (Dialect(), PostgreSQL(), MSSQL(), MySQL())}


def described_type(field: Any) -> tuple[str, int, int]:
    """Return the word for an Arrow field's type in :attr:`Dialect.types`, and precision and scale of a decimal."""
    name = str(field.type)
    if name.startswith("decimal"):
        return "decimal", field.type.precision, field.type.scale
    if name.startswith("timestamp"):
        return ("timestamp" if field.type.tz is None else "timestamp_tz"), 0, 0
    extension = getattr(field.type, "extension_name", "")
    if extension == "arrow.opaque":
        return field.type.type_name, 0, 0
    if extension:
        return extension.removeprefix("arrow."), 0, 0
    word = name.partition("[")[0]
    return {"large_string": "string", "large_binary": "binary", "null": "string"}.get(word, word), 0, 0


def _milliseconds(seconds: float) -> int:
    # Zero would mean no limit at all.
    return max(1, int(seconds * 1000))
