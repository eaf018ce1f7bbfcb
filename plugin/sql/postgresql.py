# ruff: noqa: S608 -- Every name put into SQL here is quoted, values never are put in.
"""PostgreSQL over ADBC: record batches straight from and into ``COPY`` in its binary form, memory flat.

What ADBC has no type for goes as text, written and read by the server. Values of parameters are bound; a query with some is
read through a cursor, because ``COPY`` takes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_azureml.model.sql_source import SqlParameter, SqlSource
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql import adbc, columns
from airflow_azureml.sql.base import BaseDatabase, fitting_columns, upsert_keys
from airflow_azureml.sql.database import UNLIMITED, Fingerprint, Job, Loaded, LoadMode, Rows
from airflow_azureml.sql.dialects import STAGING, Column, PostgreSQL, Statement
from airflow_azureml.sql.errors import Place, connecting
from airflow_azureml.sql.statements import name_parts
from airflow_azureml.sql.watching import Watch

_CURSOR = "azureml_rows"
_CURSOR_ROWS = 50_000


class PostgreSQLDatabase(BaseDatabase):
    """A PostgreSQL database.

    :param uri: what database it is, without credentials.
    :param connection_id: the Airflow connection, for messages.
    :param options: libpq's connection options, asked for at every connection, because tokens among them expire.
    """

    dialect: PostgreSQL

    def __init__(self, uri: str, connection_id: str, options: Callable[[], Mapping[str, str]]) -> None:
        super().__init__(PostgreSQL(), uri)
        self._connection_id = connection_id
        self._options = options

    @contextmanager
    def read(self, source: SqlSource, job: Job = UNLIMITED) -> Iterator[Rows]:
        """Read rows as they come, in a transaction that only reads unless it is a procedure's."""
        reading = source.kind != "procedure"
        with self._working(source.shown, job, reading=reading) as (connection, cursor, watch):
            yield watch.counted(self._rows(cursor, source, watch))
            if not reading:
                connection.commit()

    def write(
        self,
        rows: Rows,
        table: str,
        *,
        mode: LoadMode = "append",
        keys: Sequence[str] = (),
        job: Job = UNLIMITED,
    ) -> Loaded:
        """Write rows to a table in one transaction."""
        quoted = self.dialect.quoted(table)
        with self._working(f"writing to table {quoted}", job, reading=False) as (connection, cursor, watch):
            cursor.execute("SET LOCAL TIME ZONE 'UTC'")
            known, created = self._target(cursor, table, rows.schema, mode)
            names = fitting_columns(rows.schema.names, [column.name for column in known], quoted)
            columns.check_names(names, "what is to be written")
            by_name = {column.name: column for column in known}
            targets = [by_name[name] for name in names]
            staged = columns.for_ingest(watch.counted(rows))
            if mode == "upsert":
                primary_key = [name for (name,) in self._all(cursor, self.dialect.primary_key(table))]
                count = self._upsert(
                    cursor, staged, quoted, targets, upsert_keys(keys, primary_key, names, quoted)
                )
            else:
                count = self._insert(cursor, staged, table, targets, replace=mode == "replace")
            watch.check()
            connection.commit()
        return Loaded(count, quoted, created)

    def columns(self, table: str) -> Sequence[str] | None:
        """Return the names of a table's columns; None without such a table."""
        with self._working(f"table {table}", UNLIMITED, reading=True) as (_, cursor, _):
            return [column.name for column in self._catalogue(cursor, table)] or None

    def fingerprint(self, source: SqlSource, job: Job = UNLIMITED) -> Fingerprint | None:
        """Return what the rows are known by, computed by the server.

        A table's is made of where its rows lie and which transactions wrote them: one pass over the table, without looking
        at values. A view's or query's is a sum over digests of its rows, in whatever order. Procedures have none.
        """
        if source.kind == "procedure":
            return None
        with self._working(f"fingerprint of {source.shown}", job, reading=True) as (_, cursor, _):
            if source.kind == "table" and self._has_versions(cursor, source.text):
                return Fingerprint("version", self._version(cursor, source.text))
            return Fingerprint("content", self._content(cursor, source))

    # Reading

    def _rows(self, cursor: Any, source: SqlSource, watch: Watch) -> Rows:
        statement = self.dialect.select(source)
        text, bound = adbc.placed(statement, source)
        if source.kind == "procedure" and self._is_procedure(cursor, source.text):
            return self._called(cursor, "CALL " + text.removeprefix("SELECT * FROM "), bound)
        described = cursor.adbc_execute_schema(text)
        columns.check_names(described.names, source.shown)
        text = self._readable(text, described)
        if bound:
            return self._through_cursor(cursor, text, bound, watch)
        cursor.execute(text)
        reader = cursor.fetch_record_batch()
        return Rows(reader.schema, iter(reader))

    def _readable(self, text: str, described: Any) -> str:
        """Put casts around a query for the columns that ADBC has no type for."""
        casts = {field.name: cast for field in described if (cast := adbc.read_cast(field)) is not None}
        if not casts:
            return text
        taken = ", ".join(
            f"CAST({quoted} AS {casts[name]}) AS {quoted}" if name in casts else quoted
            for name in described.names
            for quoted in [self.dialect.quote(name)]
        )
        return f"SELECT {taken} FROM ({text}\n) AS q"

    def _through_cursor(self, cursor: Any, text: str, bound: Sequence[SqlParameter], watch: Watch) -> Rows:
        cursor.execute(
            f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR {text}",
            parameters=adbc.sent(bound),
        )
        cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
        first = self._fetched(cursor)

        def batches() -> Iterator[Any]:
            table = first
            while table.num_rows:
                yield from table.to_batches()
                watch.check()
                table = self._fetched(cursor)

        return Rows(first.schema, batches())

    @staticmethod
    def _fetched(cursor: Any) -> Any:
        cursor.execute(f"FETCH FORWARD {_CURSOR_ROWS} FROM {_CURSOR}")
        return cursor.fetch_arrow_table()

    def _called(self, cursor: Any, text: str, bound: Sequence[SqlParameter]) -> Rows:
        cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
        cursor.execute(text, parameters=adbc.sent(bound))
        table = cursor.fetch_arrow_table()
        if not table.column_names:
            raise UserErrorException("the procedure returns no rows; make it a function that returns a table")
        return Rows(table.schema, iter(table.to_batches()))

    def _is_procedure(self, cursor: Any, name: str) -> bool:
        *schemas, called = name_parts(name, "procedure")
        visible = "pg_function_is_visible(p.oid)"
        parameters = [SqlParameter("name", called)]
        if schemas:
            visible = "n.nspname = :schema"
            parameters.append(SqlParameter("schema", schemas[-1]))
        statement = Statement(
            "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
            f"WHERE p.proname = :name AND p.prokind = 'p' AND {visible}",
            tuple(parameters),
        )
        return bool(self._all(cursor, statement)[0][0])

    # Writing

    def _target(self, cursor: Any, table: str, schema: Any, mode: LoadMode) -> tuple[list[Column], bool]:
        known = self._catalogue(cursor, table)
        if known:
            return known, False
        quoted = self.dialect.quoted(table)
        if mode != "replace":
            raise UserErrorException(
                f"there is no table {quoted} in {self.uri}; create it, or use replace, which makes it of the rows"
            )
        wanted = [Column(field.name, self.dialect.type_of(field)) for field in schema]
        cursor.execute(self.dialect.create(quoted, wanted))
        return self._catalogue(cursor, table), True

    def _insert(
        self, cursor: Any, staged: Rows, table: str, targets: Sequence[Column], *, replace: bool
    ) -> int:
        quoted = self.dialect.quoted(table)
        direct = all(map(adbc.goes_as_it_is, staged.schema, targets))
        if not direct:
            self._stage(cursor, staged, targets)
        if replace:
            for statement in self.dialect.clear(quoted):
                cursor.execute(statement)
        if direct:
            *schemas, name = name_parts(table)
            schema = schemas[-1] if schemas else None
            return adbc.ingested(cursor, adbc.renamed(staged, targets), name, "append", schema=schema)
        return self._merge(cursor, quoted, targets, (), staged.schema)

    def _upsert(
        self, cursor: Any, staged: Rows, quoted: str, targets: Sequence[Column], keys: Sequence[str]
    ) -> int:
        self._stage(cursor, staged, targets)
        cursor.execute(self.dialect.repeated_keys(keys) + " LIMIT 1")
        if cursor.fetchone() is not None:
            raise UserErrorException(
                f"upsert into {quoted}: more than one row to write has the same {', '.join(keys)}; leave one of each"
            )
        return self._merge(cursor, quoted, targets, keys, staged.schema)

    def _stage(self, cursor: Any, staged: Rows, targets: Sequence[Column]) -> None:
        adbc.ingested(cursor, adbc.renamed(staged, targets), STAGING, "create")

    def _merge(
        self, cursor: Any, quoted: str, targets: Sequence[Column], keys: Sequence[str], schema: Any
    ) -> int:
        selected = ", ".join(
            adbc.written_cast(self.dialect.quote(target.name), field, target)
            for field, target in zip(schema, targets, strict=True)
        )
        names = [target.name for target in targets]
        cursor.execute(self.dialect.merge(quoted, names, keys, selected))
        cursor.execute(f"SELECT count(*) FROM pg_temp.{STAGING}")
        return int(cursor.fetchone()[0])

    # Looking

    def _catalogue(self, cursor: Any, table: str) -> list[Column]:
        return [Column(*row) for row in self._all(cursor, self.dialect.columns(table))]

    def _has_versions(self, cursor: Any, table: str) -> bool:
        statement = Statement(
            "SELECT relkind::text FROM pg_class WHERE oid = to_regclass(:relation)",
            (SqlParameter("relation", self.dialect.quoted(table)),),
        )
        found = self._all(cursor, statement)
        if not found:
            raise UserErrorException(f"there is no table {table} in {self.uri}")
        return found[0][0] in {"r", "p", "m"}

    def _version(self, cursor: Any, table: str) -> str:
        quoted = self.dialect.quoted(table)
        cursor.execute(
            "SELECT concat(count(*), '.', sum(hashtextextended(concat(tableoid, ctid, xmin), 0))) FROM "
            + quoted
        )
        (rows,) = cursor.fetchone()
        shape = ",".join(f"{column.name}:{column.type}" for column in self._catalogue(cursor, table))
        return f"{rows}|{shape}"

    def _content(self, cursor: Any, source: SqlSource) -> str:
        text, bound = adbc.placed(self.dialect.select(source), source)
        described = cursor.adbc_execute_schema(text)
        cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
        # Two sums: one of 64 bits alone is soon met by chance.
        cursor.execute(
            "SELECT concat(count(*), '.', sum(hashtextextended(q::text, 0)), '.', sum(hashtextextended(q::text, 1))) "
            f"FROM ({text}\n) AS q",
            parameters=adbc.sent(bound),
        )
        (rows,) = cursor.fetchone()
        shape = ",".join(f"{field.name}:{field.metadata[b'POSTGRESQL:type'].decode()}" for field in described)
        return f"{rows}|{shape}"

    def _all(self, cursor: Any, statement: Statement) -> list[tuple[Any, ...]]:
        text, bound = adbc.placed(statement, None)
        cursor.execute(text, parameters=adbc.sent(bound))
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    # Connecting

    @contextmanager
    def _working(self, what: str, job: Job, *, reading: bool) -> Iterator[tuple[Any, Any, Watch]]:
        options = self._options()
        place = Place(self._connection_id, self.uri, adbc.secrets(options))
        watch = Watch(job, what, place)
        watch.check()
        with connecting(place):
            connection = adbc.connected(options)
        cursor = connection.cursor()
        try:
            with watch.canceling(cursor.adbc_cancel):
                for statement in self.dialect.session(watch.remaining_s, reading=reading):
                    cursor.execute(statement)
                yield connection, cursor, watch
        finally:
            cursor.close()
            connection.close()
