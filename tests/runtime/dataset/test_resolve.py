"""From a definition to its files."""

import tracemalloc

import pytest

from airflow_azureml.runtime.dataset import Dataset
from airflow_azureml.runtime.dataset.resolve import files_document, is_single_file, iter_files, resolve_files
from airflow_azureml.runtime.dataset.walking import Pattern
from airflow_azureml.runtime.exceptions import DatasetExecutionError, DatasetValidationError


@pytest.fixture
def store(tmp_path, write):
    """The folder of the datastore called ``store``, with some files."""
    for name in ("a.csv", "b/1.csv", "b/2.txt", "b/c/3.csv", "b-c/4.csv", "b.csv", "d/.hidden/5.csv"):
        write("store/" + name, name)
    return tmp_path / "store"


@pytest.fixture
def names(datastore, tmp_path):
    """Resolves paths on ``store`` to names."""

    def names(*paths, **options):
        dataset = Dataset.File.from_files([(datastore, path) for path in paths], **options)
        return [file.name for file in resolve_files(dataset.definition, lambda name: tmp_path / name)]

    return names


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.csv", ["a.csv"]),
        ("b/c/3.csv", ["3.csv"]),
        ("b", ["1.csv", "2.txt", "c/3.csv"]),
        ("b/", ["1.csv", "2.txt", "c/3.csv"]),
        ("", ["a.csv", "b-c/4.csv", "b.csv", "b/1.csv", "b/2.txt", "b/c/3.csv", "d/.hidden/5.csv"]),
        ("*.csv", ["a.csv", "b.csv"]),
        ("b/*", ["1.csv", "2.txt"]),
        ("b*/*.csv", ["b-c/4.csv", "b/1.csv"]),
        ("**/*.csv", ["a.csv", "b-c/4.csv", "b.csv", "b/1.csv", "b/c/3.csv", "d/.hidden/5.csv"]),
        ("b/**", ["1.csv", "2.txt", "c/3.csv"]),
        ("b/**.csv", ["1.csv", "c/3.csv"]),
        ("**/c/*", ["b/c/3.csv"]),
        ("b**/*3.csv", ["b/c/3.csv"]),
    ],
)
def test_paths_and_wildcards(store, names, path, expected):
    assert names(path) == expected


def test_files_come_in_the_order_of_a_listing_of_their_paths(store, names):
    # As an object store lists them: "b-c/…" and "b.csv" sort before "b/…".
    assert names("") == sorted(names(""))


def test_several_paths_share_a_root_and_keep_their_order(store, names):
    assert names("b/c/3.csv", "a.csv") == ["b/c/3.csv", "a.csv"]
    assert names("b/c", "b/1.csv") == ["c/3.csv", "1.csv"]


def test_a_file_that_two_paths_mean_counts_once(store, names):
    assert names("b/*.csv", "b/**") == ["1.csv", "2.txt", "c/3.csv"]


def test_several_datastores_keep_their_files_apart(store, write, tmp_path, datastore):
    write("other/a.csv", "")
    other = type(datastore)("other")
    dataset = Dataset.File.from_files([(datastore, "a.csv"), (other, "a.csv")])
    assert [file.name for file in resolve_files(dataset.definition, lambda name: tmp_path / name)] == [
        "store/a.csv",
        "other/a.csv",
    ]


def test_a_file_is_known_by_its_path_on_the_datastore_and_by_its_local_path(store, datastore, tmp_path):
    on_store = Dataset.File.from_files((datastore, "b/c"))
    (file,) = resolve_files(on_store.definition, lambda name: tmp_path / name)
    assert (file.origin, file.path, file.size_bytes) == ("/b/c/3.csv", str(store / "b/c/3.csv"), 9)
    assert file.modified == (store / "b/c/3.csv").stat().st_mtime
    local = Dataset.File.from_files(str(store / "b/c/*"))
    (file,) = resolve_files(local.definition, no_datastore)
    assert (file.origin, file.name) == (str(store / "b/c/3.csv"), "3.csv")


def no_datastore(name):
    raise AssertionError("asked for datastore " + name)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.csv", "the path missing.csv on datastore store does not exist"),
        ("missing/*.csv", r"the path missing/\*.csv on datastore store does not exist"),
        ("b/*.parquet", r"the path b/\*.parquet on datastore store means no file"),
        ("a.csv/*", "asks for files below it"),
    ],
)
def test_a_path_without_files_is_an_error_that_names_it(store, names, path, message):
    with pytest.raises(DatasetValidationError, match=message):
        names(path)


def test_an_empty_folder_is_a_dataset_without_files(store, names):
    (store / "empty").mkdir()
    assert names("empty") == []


def test_remote_data_is_refused_when_it_is_read():
    dataset = Dataset.File.from_files("https://example.org/a.csv")
    with pytest.raises(DatasetExecutionError, match=r"https://example.org/a.csv is remote"):
        resolve_files(dataset.definition, no_datastore)


@pytest.mark.parametrize("path", ["link.csv", "folder/x.csv", "folder", "folder/*", "*.csv", "**", ""])
def test_links_do_not_lead_out_of_a_datastore(store, names, write, path):
    outside = write("outside/x.csv", "secret")
    (store / "link.csv").symlink_to(outside)
    (store / "folder").symlink_to(outside.parent)
    with pytest.raises(DatasetValidationError, match=r"datastore; put the data itself there"):
        names(path)


def test_a_definition_that_climbs_out_of_a_datastore_is_refused(store, datastore, tmp_path):
    definition = Dataset.File.from_files((datastore, "a.csv")).definition
    definition["source"]["paths"][0]["path"] = "b/../../outside"
    with pytest.raises(DatasetValidationError, match=r"leaves the datastore"):
        resolve_files(definition, lambda name: tmp_path / name)


def test_links_inside_a_datastore_are_followed_once(store, names):
    (store / "b" / "again").symlink_to(store / "b")
    (store / "d" / "b").symlink_to(store / "b")
    assert names("d") == [".hidden/5.csv", "b/1.csv", "b/2.txt", "b/c/3.csv"]
    (store / "d" / "broken").symlink_to(store / "nothing")
    assert len(names("d")) == 4


def test_a_datastore_may_itself_be_behind_a_link(store, tmp_path):
    (tmp_path / "linked").symlink_to(store)
    dataset = Dataset.File.from_files((type("D", (), {"name": "linked"})(), "b/*.csv"))
    assert [file.name for file in resolve_files(dataset.definition, lambda name: tmp_path / name)] == [
        "1.csv"
    ]


def test_links_of_local_paths_lead_anywhere(tmp_path, write):
    outside = write("outside/x.csv", "")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(outside.parent)
    dataset = Dataset.File.from_files(str(tmp_path / "here"))
    assert [file.name for file in resolve_files(dataset.definition, no_datastore)] == ["link/x.csv"]


def test_file_operations_are_applied_where_the_files_are(store, datastore, tmp_path):
    def of(dataset):
        return [file.name for file in resolve_files(dataset.definition, lambda name: tmp_path / name)]

    whole = Dataset.File.from_files((datastore, "**/*.csv"))
    first, second = whole.random_split(0.5, seed=1)
    assert of(whole.skip(1).take(2)) == of(whole)[1:3]
    assert sorted(of(first) + of(second)) == sorted(of(whole))
    assert 0 < len(of(first)) < len(of(whole))
    assert of(whole.take_sample(0.5, seed=1)) == of(first)
    assert of(whole.filter(whole.file_metadata("Size") > 7)) == ["b-c/4.csv", "b/c/3.csv", "d/.hidden/5.csv"]
    assert of(whole.filter(whole.file_metadata("Extension") == ".txt")) == []


def test_paths_that_do_not_fit_the_partition_format_are_an_error(store, names):
    assert names("b/**/*.csv", partition_format="{n}.csv") == ["1.csv", "c/3.csv"]
    with pytest.raises(DatasetValidationError, match=r"/b/2.txt doesn't fit partition_format '{n}.csv'"):
        names("b", partition_format="{n}.csv")


def test_one_literal_file_is_told_from_a_folder_with_one_file(store, write, tmp_path, datastore):
    write("store/same/same", "")

    def is_single(path):
        definition = Dataset.File.from_files((datastore, path)).definition
        answer = files_document(definition, lambda name: tmp_path / name)
        files = resolve_files(definition, lambda name: tmp_path / name)
        assert answer["is_single_file"] == is_single_file(definition, files)
        return answer["is_single_file"]

    assert is_single("a.csv")
    assert not is_single("same")
    assert not is_single("a.cs*")
    assert not is_single("b")


@pytest.mark.parametrize(
    ("path", "folder", "enters"),
    [
        ("a/*/c/*.csv", "b", True),
        ("a/*/c/*.csv", "b/c", True),
        ("a/*/c/*.csv", "b/d", False),
        ("a/*/c/*.csv", "b/c/d", False),
        ("a/x*/**", "y", False),
        ("a/x*/**", "x1/anything", True),
        ("a/*.csv", "b", False),
        ("a/b**c.csv", "b", True),
        ("a", "b", True),
    ],
)
def test_folders_that_cannot_hold_a_match_are_not_entered(path, folder, enters):
    assert Pattern.of(path).may_enter(folder) is enters


def test_many_files_are_found_without_holding_them(tmp_path):
    for folder in range(100):
        (tmp_path / f"{folder:02}").mkdir()
        for number in range(50):
            (tmp_path / f"{folder:02}" / f"{number:03}.csv").touch()
    definition = Dataset.File.from_files(str(tmp_path / "**" / "*.csv")).definition
    tracemalloc.start()
    count = sum(1 for _ in iter_files(definition, no_datastore))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 5_000
    # A folder at a time: all of them together take about five times as much.
    assert peak_bytes < 300_000
