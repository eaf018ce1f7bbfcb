"""Reading delimited text."""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_azureml.runtime.dataset import Dataset, PromoteHeadersBehavior
from airflow_azureml.runtime.dataset.engine.line_records import LineRecords
from airflow_azureml.runtime.dataset.sources import ENCODINGS
from airflow_azureml.runtime.exceptions import DatasetExecutionError

declare = Dataset.Tabular.from_delimited_files


def test_types_are_recognised(write, rows):
    path = write("a.csv", "i,f,b,t,s\n1,1.5,True,2020-01-01,x\n-2,2e3,false,2020-01-02 10:30,01x\n")
    frame = rows(declare(path))
    assert [kind.kind for kind in frame.dtypes] == ["i", "f", "b", "M", "O"]
    assert frame["t"].dtype == "datetime64[ns]"
    assert list(frame["s"]) == ["x", "01x"]


def test_without_inference_all_is_text(write, values):
    path = write("a.csv", "i,t\n007,2020-01-01\n,NA\n")
    assert values(declare(path, infer_column_types=False)) == {"i": ["007", None], "t": ["2020-01-01", "NA"]}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "", "3"], [1.0, None, 3.0]),
        (["1", "NA", "3.5"], [1.0, None, 3.5]),
        (["null", "NaN", "3"], [None, None, 3.0]),
        (["DE", "NA", "US"], ["DE", "NA", "US"]),
        (["NA", "NA", "NA"], ["NA", "NA", "NA"]),
        (["1", "2", "three"], ["1", "2", "three"]),
        (["1_000", "2", "3"], ["1_000", "2", "3"]),
        (["true", "", "FALSE"], [True, None, False]),
        (["true", "maybe", "1"], ["true", "maybe", "1"]),
        (["99999999999999999999", "x", "1"], ["99999999999999999999", "x", "1"]),
    ],
)
def test_a_column_is_only_what_all_of_its_values_are(write, values, cells, expected):
    path = write("a.csv", "n,c\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells)))
    assert values(declare(path))["c"] == expected


def test_empty_fields_are_missing_or_empty_texts(write, values):
    path = write("a.csv", "n,s,e\n1,x,\n,,\n")
    assert values(declare(path)) == {"n": [1.0, None], "s": ["x", None], "e": [None, None]}
    assert values(declare(path, empty_as_string=True)) == {"n": [1.0, None], "s": ["x", ""], "e": ["", ""]}


def test_short_rows_are_filled_and_long_rows_are_an_error(write, values):
    assert values(declare(write("short.csv", "a,b\n1\n2,3\n")))["b"] == [None, 3.0]
    assert values(declare(write("trailing.csv", "a,b\n1,2,\n3,4,\n"))) == {"a": [1, 3], "b": [2, 4]}
    for text in ("a,b\n1,2\n3,4,5\n", "a,b\n1,2,3\n4,5,6\n"):
        path = write("long.csv", text)
        with pytest.raises(DatasetExecutionError, match=r"long.csv cannot be read"):
            values(declare(path))


def test_column_names_are_made_unique_and_never_empty(write, values):
    path = write("a.csv", "a,,a,a_1,Column2\n1,2,3,4,5\n")
    assert list(values(declare(path))) == ["a", "Column2_1", "a_2", "a_1", "Column2"]


def test_files_without_headers(write, values):
    write("h/1.csv", "1,a\n2,b\n")
    path = write("h/2.csv", "3,c\n").parent
    expected = {"Column1": [1, 2, 3], "Column2": ["a", "b", "c"]}
    assert values(declare(path, header=False)) == expected
    assert values(declare(path, header=PromoteHeadersBehavior.NO_HEADERS)) == expected


def test_only_the_first_file_has_headers(write, values):
    write("h/0.csv", "")
    write("h/1.csv", "n,s\n1,a\n")
    path = write("h/2.csv", "2,b\n").parent
    dataset = declare(path, header=PromoteHeadersBehavior.ONLY_FIRST_FILE_HAS_HEADERS)
    assert values(dataset) == {"n": [1, 2], "s": ["a", "b"]}


def test_headers_of_all_files_are_combined(write, values):
    write("h/1.csv", "n,s\n1,a\n")
    write("h/2.csv", "t,n\nx,2\n")
    path = write("h/3.csv", "z\n").parent
    dataset = declare(path, header=PromoteHeadersBehavior.COMBINE_ALL_FILES_HEADERS)
    assert values(dataset) == {"n": [1, 2], "s": ["a", None], "t": [None, "x"], "z": [None, None]}


def test_the_same_headers_in_another_order_are_matched_by_name(write, values):
    write("h/1.csv", "a,b\n1,2\n")
    path = write("h/2.csv", "b,a\n3,4\n").parent
    assert values(declare(path)) == {"a": [1, 4], "b": [2, 3]}


def test_other_headers_take_the_first_files_names_with_a_warning(write, values, caplog):
    write("h/1.csv", "a,b\n1,2\n")
    path = write("h/2.csv", "A,B\n3,4\n").parent
    with caplog.at_level(logging.WARNING):
        assert values(declare(path)) == {"a": [1, 3], "b": [2, 4]}
    assert "2.csv names its columns otherwise" in caplog.text


def test_another_number_of_headers_is_an_error(write, values):
    write("h/1.csv", "a,b\n1,2\n")
    path = write("h/2.csv", "a\n3\n").parent
    with pytest.raises(
        DatasetExecutionError, match=r"2.csv has 1 columns and the first file has 2; .*COMBINE"
    ):
        values(declare(path))


def test_types_are_decided_over_all_files(write, values):
    write("m/1.csv", "id,flag,n,t\n007,True,1,2020-01-01\n")
    write("m/2.csv", "id,flag,n,t\nabc,maybe,2.5,2020-01-02\n")
    path = write("m/3.csv", "id,flag,n,t\n,,,\n").parent
    found = values(declare(path))
    assert found["id"] == ["007", "abc", None]
    assert found["flag"] == ["True", "maybe", None]
    assert found["n"] == [1.0, 2.5, None]
    assert [time and time.isoformat() for time in found["t"]] == [
        "2020-01-01T00:00:00",
        "2020-01-02T00:00:00",
        None,
    ]


def test_numbers_in_one_file_and_markers_of_missing_ones_in_another_are_numbers(write, values):
    write("m/1.csv", "n\n1\n")
    path = write("m/2.csv", "n\nNA\n").parent
    assert values(declare(path)) == {"n": [1.0, None]}


def test_no_rows_and_no_files_leave_what_columns_there_are(write, rows, tmp_path):
    assert list(rows(declare(write("a.csv", "a,b\n"))).columns) == ["a", "b"]
    assert rows(declare(write("empty.csv", ""))).shape == (0, 0)
    assert rows(declare(write("blank.csv", "\n\n"))).shape == (0, 0)
    (tmp_path / "nothing").mkdir()
    assert rows(declare(tmp_path / "nothing")).shape == (0, 0)


@pytest.mark.parametrize("separator", [";", "\t", "|", "||"])
def test_separators(write, values, separator):
    path = write("a.csv", separator.join("ab") + "\n" + separator.join("1,") + "\n")
    assert values(declare(path, separator=separator)) == {"a": [1], "b": [","]}


@pytest.mark.parametrize("encoding", list(ENCODINGS))
def test_encodings(write, values, encoding):
    text = "näme\nü\n" if encoding != "ascii" else "name\nu\n"
    content = text.encode(ENCODINGS[encoding])
    header, cell = text.split()
    assert values(declare(write("a.csv", content), encoding=encoding)) == {header: [cell]}


def test_utf8_is_read_with_and_without_signature(write, values):
    assert values(declare(write("a.csv", "ä\n1\n".encode()))) == {"ä": [1]}
    assert values(declare(write("a.csv", "ä\n1\n".encode("utf-8-sig")))) == {"ä": [1]}


def test_the_wrong_encoding_is_an_error_that_names_file_and_encoding(write, values):
    path = write("a.csv", "n\nü\n".encode("latin1"))
    with pytest.raises(DatasetExecutionError, match=r"a.csv is not encoded as utf8 .* encoding=utf8, "):
        values(declare(path))


def test_line_breaks_inside_quotes(write, values):
    path = write("a.csv", 'n,s\r\n1,"two\nlines"\r\n2,"one, line"\r\n')
    assert values(declare(path, support_multi_line=True)) == {"n": [1, 2], "s": ["two\nlines", "one, line"]}
    assert values(declare(path)) == {"n": ["1", 'lines"', "2"], "s": ["two", None, "one, line"]}


def test_a_stray_quote_spoils_one_line_only(write, values):
    path = write("a.csv", 'n,s\n1,"open\n2,"shut"\n3,5" pipe\n4,"say ""hi"""\n')
    assert values(declare(path)) == {"n": [1, 2, 3, 4], "s": ["open", "shut", '5" pipe', 'say "hi"']}


class Source:
    """A text stream that gives a few characters at a time."""

    def __init__(self, text):
        import io

        self.stream = io.StringIO(text, newline="")
        self.read, self.readline, self.close = self.stream.read, self.stream.readline, self.stream.close


LINES = st.lists(
    st.lists(st.sampled_from(["a", '"b"', '"c,""d"', "", "e f"]), min_size=1, max_size=4).map(",".join),
    max_size=6,
)


@settings(deadline=None)
@given(LINES, st.sampled_from(["\n", "\r\n"]), st.integers(1, 50))
def test_lines_whose_quotes_are_balanced_pass_unchanged(lines, end, size):
    text = end.join([*lines, ""])
    reader = LineRecords(Source(text), ",")
    assert "".join(iter(lambda: reader.read(size), "")) == text
    assert "".join(LineRecords(Source(text), ",")) == text
    assert LineRecords(Source(text), ",").read() == text


CELLS = st.one_of(
    st.integers(-(2**62), 2**62).map(str),
    st.text(
        st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\x85\u2028\u2029"), max_size=8
    ),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.sampled_from([",", ";", "\t"]))
def test_text_written_as_csv_reads_back(write, values, cells, separator):
    import csv
    import io

    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *cells])
    dataset = declare(
        write("a.csv", out.getvalue()), separator=separator, infer_column_types=False, empty_as_string=True
    )
    assert values(dataset) == {"a": [cell[0] for cell in cells], "b": [cell[1] for cell in cells]}


def test_paths_and_their_parts_become_columns_in_front(write, rows, datastore):
    write("store/north/2020/01.csv", "v\n1\n")
    write("store/south/2021/02.csv", "v\n2\n")
    dataset = declare(
        (datastore, "**/*.csv"), include_path=True, partition_format="{side}/{month:yyyy/MM}.csv"
    )
    frame = rows(dataset)
    assert list(frame.columns) == ["Path", "side", "month", "v"]
    assert list(frame["Path"]) == ["/north/2020/01.csv", "/south/2021/02.csv"]
    assert list(frame["side"]) == ["north", "south"]
    assert [time.isoformat() for time in frame["month"]] == ["2020-01-01T00:00:00", "2021-02-01T00:00:00"]
    assert dataset.partition_keys == ["side", "month"]


def test_text_from_the_path_stays_text(write, values, datastore):
    write("store/007.csv", "v\n1\n")
    assert values(declare((datastore, "*.csv"), partition_format="{n}.csv"))["n"] == ["007"]


def test_a_column_called_path_leaves_no_place_for_the_path(write, values):
    path = write("a.csv", "Path\n1\n")
    with pytest.raises(DatasetExecutionError, match=r"has a column 'Path' itself"):
        values(declare(path, include_path=True))
