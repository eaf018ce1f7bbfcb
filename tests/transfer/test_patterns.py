"""Globs."""

import pytest

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.transfer.patterns import chooser, split_glob


@pytest.mark.parametrize(
    ("glob", "path", "taken"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "deep/down/a.csv", True),
        ("*.csv", "a.csv.gz", False),
        ("/*.csv", "deep/a.csv", False),
        ("raw/*", "raw/a", True),
        ("raw/*", "raw/deep/a", False),
        ("raw/**", "raw/deep/a", True),
        ("raw/", "raw/deep/a", True),
        ("**/x/*.txt", "x/a.txt", True),
        ("**/x/*.txt", "a/b/x/a.txt", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("[!ab].txt", "c.txt", True),
        ("a.b", "axb", False),
        ("a+(b)", "a+(b)", True),
        ("100%", "100%", True),
        ("[", "[", True),
        ("*", "new\nline", True),
    ],
)
def test_a_glob_takes_whole_paths(glob: str, path: str, taken: bool) -> None:
    assert chooser([glob], [])(path) is taken
    assert chooser([], [glob])(path) is not taken


def test_what_is_excluded_is_left_out_of_what_is_included() -> None:
    chosen = chooser(["*.csv", "*.txt"], ["old/**"])

    assert [path for path in ("a.csv", "b.txt", "c.bin", "old/a.csv") if chosen(path)] == ["a.csv", "b.txt"]


@pytest.mark.parametrize("glob", ["", "/", "//"])
def test_an_empty_glob_is_refused(glob: str) -> None:
    with pytest.raises(UserErrorException, match="matches nothing"):
        chooser([glob], [])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b", ("a/b", None)),
        ("a/b/*.csv", ("a/b", "/*.csv")),
        ("*.csv", ("", "/*.csv")),
        ("a/**/c/?.txt", ("a", "/**/c/?.txt")),
    ],
)
def test_a_path_is_split_where_its_glob_begins(path: str, expected: tuple[str, str | None]) -> None:
    assert split_glob(path) == expected
