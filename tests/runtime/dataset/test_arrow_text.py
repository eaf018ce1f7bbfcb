"""Text that Arrow reads is the same as text that pandas reads, whatever is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest

from airflow_azureml.runtime.dataset import Dataset
from airflow_azureml.runtime.dataset.engine import delimited, evaluate
from airflow_azureml.runtime.dataset.resolve import resolve_files

pyarrow = pytest.importorskip("pyarrow")

CELLS = {
    "whole": ["1", "-7", "+5", "007", "12345678901234567890", " 5", "5 ", ""],
    "decimal": ["1.5", "-.5", "1e3", "1.", "9007199254740993", "nan", "inf", "NA", "1,5", "0.1", ""],
    "truth": ["true", "False", "TRUE", "tRue", "yes", "1", ""],
    "time": [
        "2024-01-02",
        "2024-01-02 10:30:00",
        "2024-01-02T10:30:00.25",
        "2024-01-02T10:30:00Z",
        "2024-01-02 10",
        "10:30:00",
        "0001-01-01",
        "9999-12-31",
        "",
    ],
    "text": ["x", "a b", "NULL", "0x1F", "é", 'say ""so""', " ", "", "#", "'"],
}


def both(path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Any, Any, int]:
    """A table as it is read, as pandas alone reads it, and how many files Arrow read."""
    definition = Dataset.Tabular.from_delimited_files(str(path), **options).definition
    files = resolve_files(definition, lambda name: name)
    read, used = delimited.read_arrow, []

    def counting(*arguments: Any) -> Any:
        found = read(*arguments)
        used.append(found is not None)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(delimited, "read_arrow", counting)
        fast = evaluate(definition, files)
        patch.setattr(delimited, "read_arrow", lambda *_: None)
        return fast, evaluate(definition, files), sum(used)


def same(fast: Any, slow: Any) -> None:
    # What is missing among truth values may be None or NaN.
    for frame in (fast, slow):
        for name in frame.columns:
            if frame[name].dtype == object:
                frame[name] = frame[name].where(frame[name].notna(), None)
    pandas.testing.assert_frame_equal(fast, slow, rtol=1e-15)


@pytest.mark.parametrize("kind", list(CELLS))
def test_columns_of_any_two_values_are_the_same(kind, write, monkeypatch):
    values = CELLS[kind]
    columns = [[one, two, one, ""] for one in values for two in values]
    # One file per column, so that one odd value doesn't send all of them the slow way.
    for number, column in enumerate(columns):
        quoted = [f'"{cell}"' if set(cell) & set(',"') else cell for cell in column]
        path = write(f"{kind}-{number}.csv", "k,c\n" + "".join(f"k,{cell}\n" for cell in quoted))
        fast, slow, _ = both(path, monkeypatch)
        same(fast, slow)


@pytest.mark.parametrize(
    "content",
    [
        "a,b\r\n1,2\r\n3,4",
        "a,b\n\n1,2\n\n",
        "\na,b\n1,2\n",
        "a\n1\n \n2\n",
        "a,b\n1\n2,3\n",
        "a,b\r1,2\r",
        'a,b\n"1",2\n',
        'a,b\n"x\ny",2\n',
        'a,b\nx"y,2\n"z,3\n',
        '"a b",b\n1,2\n',
        "\ufeffa,b\n1,2\n",
        "a,a\n1,2\n",
        ",b\n1,2\n",
        "a,b\n",
        "a,b\n1.5,x\n2,y\n",
    ],
)
@pytest.mark.parametrize(
    "options", [{}, {"support_multi_line": True}, {"infer_column_types": False}, {"header": False}]
)
def test_files_of_any_shape_are_the_same(content, options, write, monkeypatch):
    path = write("a.csv", content)
    try:
        fast, slow, _ = both(path, monkeypatch, **options)
    except UnicodeDecodeError:  # pragma: no cover
        raise
    except Exception as error:
        with monkeypatch.context() as patch:
            patch.setattr(delimited, "read_arrow", lambda *_: None)
            with pytest.raises(type(error)):
                both(path, monkeypatch, **options)
        return
    same(fast, slow)


def test_types_that_change_late_in_a_file_are_seen(write, monkeypatch):
    rows = "".join(f"{number},x\n" for number in range(1_200_000))
    path = write("late.csv", "n,k\n" + rows + "1.5,x\n")
    fast, slow, _ = both(path, monkeypatch)
    same(fast, slow)


def test_plain_files_are_read_by_arrow(write, monkeypatch):
    path = write("plain.csv", 'n,t,d,b\n1,"x, y",2024-01-02 03:04:05,true\n2,y,2024-01-03 00:00:00,false\n')
    fast, slow, used = both(path, monkeypatch)
    assert used == int(int(pyarrow.__version__.split(".")[0]) >= 18)
    same(fast, slow)
