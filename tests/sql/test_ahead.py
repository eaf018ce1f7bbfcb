"""Rows that another thread reads ahead."""

import threading
from collections.abc import Iterator

import pytest

from airflow_azureml.sql.ahead import read_ahead
from airflow_azureml.sql.database import Rows


def test_rows_come_in_their_order() -> None:
    with read_ahead(Rows(None, iter(range(100)))) as rows:
        assert list(rows.batches) == list(range(100))


def test_an_error_is_raised_where_the_rows_are_taken_after_those_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    with read_ahead(Rows(None, failing())) as rows:
        assert next(rows.batches) == 1
        with pytest.raises(ValueError, match="broken"):
            next(rows.batches)


def test_leaving_early_ends_the_thread_and_reads_no_more_than_a_few() -> None:
    read: list[int] = []

    def many() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    with read_ahead(Rows(None, many())) as rows:
        next(rows.batches)

    assert "sql-read-ahead" not in [thread.name for thread in threading.enumerate()]
    assert len(read) < 10
