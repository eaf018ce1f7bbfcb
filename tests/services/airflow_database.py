"""The database of an Airflow that many tasks use at once: PostgreSQL where there is one, SQLite where there isn't.

SQLite takes one writer at a time; a dozen tasks that start together on a slow machine can keep each other waiting for minutes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from postgresql_service import PASSWORD, PostgreSQLServer, postgresql_programs


@contextmanager
def airflow_database(home: Path) -> Iterator[str]:
    """Yield the URL of an empty database for the Airflow of a home."""
    try:
        postgresql_programs()
    except ValueError:
        yield f"sqlite:///{home}/airflow.db?timeout=120"
        return
    server = PostgreSQLServer()
    try:
        yield f"postgresql+psycopg2://airflow:{PASSWORD}@127.0.0.1:{server.port}/postgres"
    finally:
        server.stop()
