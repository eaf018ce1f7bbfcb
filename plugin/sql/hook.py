# ruff: noqa: S608 -- Every name put into SQL here is quoted, values never are put in.
"""Any database that Airflow has a hook for (``DbApiHook``): rows as Python values, chunk by chunk."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from airflow_azureml.model.sql_source import SqlSource, SqlValue
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql import columns
from airflow_azureml.sql.base import BaseDatabase, fitting_columns, upsert_keys
from airflow_azureml.sql.database import UNLIMITED, Job, Loaded, LoadMode, Rows
from airflow_azureml.sql.dialects import Column, Dialect, Statement
from airflow_azureml.sql.drivers import canceler, limit_statements, streaming_cursor
from airflow_azureml.sql.errors import Place, connecting, is_driver_error
from airflow_azureml.sql.inference import typed
from airflow_azureml.sql.statements import with_places
from airflow_azureml.sql.watching import Watch

_FETCHED_ROWS = 10_000
# SQL Server takes 1000 rows and 2100 values in one statement.
_INSERTED_ROWS = 1000
_INSERTED_VALUES = 2000


@dataclass(frozen=True, slots=True)
class _Session:
    connection: Any
    watch: Watch
    placeholder: str
    kind: str

    def execute(self, cursor: Any, statement: Statement) -> None:
        """Run a statement with its values beside it."""
        percent = self.placeholder == "%s"
        text, bound = with_places(
            statement.text, statement.parameters, self.kind, lambda *_: self.placeholder, percent=percent
        )
        if bound:
            cursor.execute(text, tuple(_sent(each.value) for each in bound))
        else:
            cursor.execute(text)


class HookDatabase(BaseDatabase):
    """A database behind one of Airflow's hooks.

    :param dialect: its SQL.
    :param uri: what database it is, without credentials.
    :param connection_id: the Airflow connection, for messages.
    :param hook: makes the hook.
    :param secrets: texts that no message may hold.
    """

    def __init__(
        self,
        dialect: Dialect,
        uri: str,
        connection_id: str,
        hook: Callable[[], Any],
        secrets: tuple[str, ...] = (),
    ) -> None:
        super().__init__(dialect, uri)
        self._hook = hook
        self._place = Place(connection_id, uri, secrets)

    @contextmanager
    def read(self, source: SqlSource, job: Job = UNLIMITED) -> Iterator[Rows]:
        """Read rows chunk by chunk; they all have been fetched before the first one is given, see ``inference``."""
        with self._reading(source, job) as (cursor, watch):
            names = [column[0] for column in cursor.description]
            columns.check_names(names, source.shown)
            with typed(names, _chunks(cursor, watch)) as rows:
                yield watch.counted(rows)

    def preview(self, source: SqlSource, limit: int = 20, job: Job = UNLIMITED) -> list[dict[str, Any]]:
        """Return the first rows."""
        with self._reading(source, job) as (cursor, _):
            names = [column[0] for column in cursor.description]
            columns.check_names(names, source.shown)
            found = cursor.fetchmany(limit)
            return [
                dict(row) if isinstance(row, dict) else dict(zip(names, row, strict=True)) for row in found
            ]

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
        with self._working(f"writing to table {quoted}", job, reading=False) as session:
            known = self._known(session, table)
            created = known is None
            if known is None:
                known = self._created(session, quoted, rows.schema, mode)
            ending = session.watch.canceling(canceler(self._connect, session.connection, None))
            with self._undone(session, quoted, created=created), ending:
                names = fitting_columns(rows.schema.names, known, quoted)
                columns.check_names(names, "what is to be written")
                counted = session.watch.counted(rows)
                if mode == "upsert":
                    primary_key = self._primary_key(session, table)
                    wanted = upsert_keys(keys, primary_key, names, quoted)
                    count = self._upsert(session, counted, quoted, names, wanted, primary_key)
                else:
                    if mode == "replace" and not created:
                        for text in self.dialect.clear(quoted):
                            self._run(session, text)
                    count = self._insert(session, counted, quoted, names)
                session.watch.check()
                session.connection.commit()
        return Loaded(count, quoted, created)

    def columns(self, table: str) -> Sequence[str] | None:
        """Return the names of a table's columns; None without such a table."""
        with self._working(f"table {table}", UNLIMITED, reading=True) as session:
            return self._known(session, table)

    # Reading

    @contextmanager
    def _reading(self, source: SqlSource, job: Job) -> Iterator[tuple[Any, Watch]]:
        reading = source.kind != "procedure"
        with self._working(source.shown, job, reading=reading) as session:
            connection = session.connection
            # A procedure's rows can't be declared a cursor's.
            cursor = streaming_cursor(connection) if reading else connection.cursor()
            with closing(cursor), session.watch.canceling(canceler(self._connect, connection, cursor)):
                session.execute(cursor, self.dialect.select(source))
                _to_rows(cursor, source)
                yield cursor, session.watch
            if not reading:
                connection.commit()

    # Writing

    def _created(self, session: _Session, quoted: str, schema: Any, mode: LoadMode) -> list[str]:
        if mode != "replace":
            raise UserErrorException(
                f"there is no table {quoted} in {self.uri}; create it, or use replace, which makes it of the rows"
            )
        wanted = [Column(field.name, self.dialect.type_of(field)) for field in schema]
        self._run(session, self.dialect.create(quoted, wanted))
        return [column.name for column in wanted]

    @contextmanager
    def _undone(self, session: _Session, quoted: str, *, created: bool) -> Iterator[None]:
        """Take away a new table that a failure leaves, where making it couldn't be part of the transaction."""
        try:
            yield
        except BaseException:
            session.connection.rollback()
            if created and self.dialect.ddl_commits:
                self._run(session, f"DROP TABLE {quoted}")
            raise

    def _insert(self, session: _Session, rows: Rows, target: str, names: Sequence[str]) -> int:
        at_once = max(1, min(_INSERTED_ROWS, _INSERTED_VALUES // len(names)))
        place = f"({', '.join([session.placeholder] * len(names))})"
        count = 0
        with closing(session.connection.cursor()) as cursor:
            for values in columns.values_of(rows):
                for start in range(0, len(values), at_once):
                    some = values[start : start + at_once]
                    text = self.dialect.insert(target, names, "")
                    if session.placeholder == "%s":
                        text = text.replace("%", "%%")
                    cursor.execute(
                        text + ", ".join([place] * len(some)), tuple(value for row in some for value in row)
                    )
                    count += len(some)
                    session.watch.check()
        return count

    def _upsert(
        self,
        session: _Session,
        rows: Rows,
        quoted: str,
        names: Sequence[str],
        keys: Sequence[str],
        primary_key: Sequence[str],
    ) -> int:
        if self.dialect.upserts_by_primary_key and sorted(keys) != sorted(primary_key):
            raise UserErrorException(
                f"upsert into {quoted}: this database tells rows apart by the primary key "
                f"({', '.join(primary_key) or 'there is none'}), not by {', '.join(keys)}; leave keys out"
            )
        self._run(session, self.dialect.staging_like(quoted, names))
        count = self._insert(session, rows, self.dialect.staging, names)
        with closing(session.connection.cursor()) as cursor:
            cursor.execute(self.dialect.repeated_keys(keys))
            if cursor.fetchone() is not None:
                raise UserErrorException(
                    f"upsert into {quoted}: more than one row to write has the same {', '.join(keys)}; leave one of each"
                )
            cursor.execute(self.dialect.upsert(quoted, names, keys))
        return count

    # Looking

    def _known(self, session: _Session, table: str) -> list[str] | None:
        statement = self.dialect.columns(table)
        if statement is not None:
            return [row[0] for row in self._all(session, statement)] or None
        with closing(session.connection.cursor()) as cursor:
            try:
                cursor.execute(f"SELECT * FROM {self.dialect.quoted(table)} WHERE 1 = 0")
            except Exception as error:
                # This kind of database is not known well enough to ask its catalogue.
                if not is_driver_error(error):
                    raise
                session.connection.rollback()
                return None
            return [column[0] for column in cursor.description]

    def _primary_key(self, session: _Session, table: str) -> list[str]:
        statement = self.dialect.primary_key(table)
        return [] if statement is None else [row[0] for row in self._all(session, statement)]

    def _all(self, session: _Session, statement: Statement) -> list[Any]:
        with closing(session.connection.cursor()) as cursor:
            session.execute(cursor, statement)
            return list(cursor.fetchall())

    @staticmethod
    def _run(session: _Session, text: str) -> None:
        with closing(session.connection.cursor()) as cursor:
            cursor.execute(text)

    # Connecting

    @contextmanager
    def _working(self, what: str, job: Job, *, reading: bool) -> Iterator[_Session]:
        watch = Watch(job, what, self._place)
        watch.check()
        hook = self._hook()
        connection = self._connect(hook)
        with closing(connection), watch.telling():
            limit_statements(connection, watch.remaining_s if self.kind == "mssql" else None)
            session = _Session(connection, watch, hook.placeholder, self.kind)
            for text in self.dialect.session(watch.remaining_s, reading=reading):
                self._run(session, text)
            yield session

    def _connect(self, hook: Any = None) -> Any:
        hook = hook or self._hook()
        with connecting(self._place):
            connection = hook.get_conn()
            if getattr(hook, "supports_autocommit", False):
                hook.set_autocommit(connection, False)
        return connection


def _chunks(cursor: Any, watch: Watch) -> Iterator[Sequence[Any]]:
    while True:
        with watch.telling():
            chunk = cursor.fetchmany(_FETCHED_ROWS)
        if not chunk:
            return
        watch.check()
        yield chunk


def _to_rows(cursor: Any, source: SqlSource) -> None:
    """Go past counts of changed rows to the first result that has rows."""
    while cursor.description is None:
        following = getattr(cursor, "nextset", None)
        if following is None or not following():
            raise UserErrorException(f"{source.shown} returns no rows")


def _sent(value: SqlValue | None) -> Any:
    # Not every driver knows a UUID; every database reads the text of one.
    return str(value) if isinstance(value, uuid.UUID) else value
