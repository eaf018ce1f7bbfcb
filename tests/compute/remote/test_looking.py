"""Looking at outputs on datastores that are no folders of this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import OutputFileDatasetConfig, PipelineData
from airflow_azureml.compute.listings import ListedFile, Listing, load_listing
from airflow_azureml.compute.output_checks import check_afresh, check_output
from airflow_azureml.compute.outputs import StoredOutput, output_of_files, remote_files, stored_files
from airflow_azureml.compute.remote_outputs import hash_remote_file
from airflow_azureml.reuse.policy import VerifyLevel
from airflow_azureml.runtime.exceptions import AzureMLException, StoreError
from airflow_azureml.storage.files import StoreBusy
from airflow_azureml.workspace.stat_cache import StatCache

NONE, EXISTS, SIZE, DIGEST = VerifyLevel.NONE, VerifyLevel.EXISTS, VerifyLevel.SIZE, VerifyLevel.DIGEST
GONE, ALTERED = "is gone", "is not what was written"


def folder(place: Path) -> None:
    place.mkdir(exist_ok=True)
    (place / "a.txt").write_text("one")
    (place / "b").mkdir()
    (place / "b" / "c.txt").write_text("three")


class Stored:
    """An output that a step wrote, and looks at it."""

    def __init__(self, lake: Any, in_process: Any) -> None:
        self.lake = lake
        self.in_process = in_process
        self.document: dict[str, Any] = {}

    def write(self, output: Any = None, content: Any = folder, run_id: str = "run-1") -> Any:
        output = output or PipelineData("out")
        self.in_process(lambda cwd, env, argv: content(Path(argv[0])))
        self.lake.lab.script("")
        outcome = self.lake.lab.run(arguments=[output], outputs=[output], run_id=run_id)
        self.document = outcome.document["outputs"]["out"]
        self.lake.counted.calls.clear()
        return outcome

    @property
    def output(self) -> StoredOutput:
        return StoredOutput.from_document(self.document)

    @property
    def path(self) -> str:
        return str(self.document["path"])

    def look(self, level: VerifyLevel) -> str | None:
        return check_output(self.lake.lab.workspace, self.document, level, self.lake.fresh_cache())

    def found(self) -> dict[VerifyLevel, str | None]:
        return {level: self.look(level) for level in VerifyLevel}


@pytest.fixture
def stored(lake: Any, in_process: Any) -> Stored:
    return Stored(lake, in_process)


@pytest.mark.parametrize(
    "output", [PipelineData("out"), OutputFileDatasetConfig("out", destination=("lake", "fixed"))]
)
class TestAFolder:
    def test_that_is_as_it_was_is_fine_without_reading_anything(
        self, stored: Stored, lake: Any, output: Any
    ) -> None:
        stored.write(output)
        assert set(stored.found().values()) == {None}
        assert lake.reads() == 0

    def test_that_is_removed_is_gone_for_everybody_who_looks(
        self, stored: Stored, lake: Any, output: Any
    ) -> None:
        stored.write(output)
        lake.store.remove_folder(stored.path)
        assert stored.found() == {NONE: None, EXISTS: GONE, SIZE: GONE, DIGEST: GONE}

    def test_with_a_shorter_file_shows_at_sizes(self, stored: Stored, lake: Any, output: Any) -> None:
        stored.write(output)
        lake.put(f"{stored.path}/b/c.txt", "")
        assert stored.found() == {NONE: None, EXISTS: None, SIZE: ALTERED, DIGEST: ALTERED}

    def test_without_one_of_its_files_shows_at_sizes(self, stored: Stored, lake: Any, output: Any) -> None:
        stored.write(output)
        lake.store.delete(f"{stored.path}/a.txt")
        assert stored.found() == {NONE: None, EXISTS: None, SIZE: ALTERED, DIGEST: ALTERED}

    def test_with_other_bytes_shows_at_content(self, stored: Stored, lake: Any, output: Any) -> None:
        stored.write(output)
        lake.put(f"{stored.path}/a.txt", "eno")
        assert stored.found() == {NONE: None, EXISTS: None, SIZE: None, DIGEST: ALTERED}

    def test_with_the_same_bytes_written_again_is_read_once(
        self, stored: Stored, lake: Any, output: Any
    ) -> None:
        stored.write(output)
        lake.put(f"{stored.path}/a.txt", "one")
        assert stored.look(DIGEST) is None
        assert stored.look(DIGEST) is None
        assert lake.reads() == 1

    def test_looked_at_afresh_is_read_whole(self, stored: Stored, lake: Any, output: Any) -> None:
        stored.write(output)
        assert check_afresh(lake.lab.workspace, stored.document) is None
        assert lake.reads() == 2
        lake.put(f"{stored.path}/a.txt", "eno")
        assert check_afresh(lake.lab.workspace, stored.document) == ALTERED


def test_a_file_more_is_an_alteration_of_an_own_folder_alone(stored: Stored, lake: Any) -> None:
    stored.write()
    lake.put(f"{stored.path}/more", "")
    assert stored.found() == {NONE: None, EXISTS: None, SIZE: ALTERED, DIGEST: ALTERED}
    stored.write(OutputFileDatasetConfig("out", destination=("lake", "fixed")))
    lake.put("fixed/more", "")
    assert set(stored.found().values()) == {None}


class TestAFile:
    def test_that_is_as_it_was_is_fine(self, stored: Stored) -> None:
        stored.write(content=lambda place: place.write_text("x"))
        assert set(stored.found().values()) == {None}

    def test_that_is_gone_or_a_folder_shows_to_everybody_who_looks(self, stored: Stored, lake: Any) -> None:
        stored.write(content=lambda place: place.write_text("x"))
        lake.store.delete(stored.path)
        assert [stored.look(level) for level in (EXISTS, SIZE, DIGEST)] == [GONE] * 3
        lake.put(f"{stored.path}/x", "x")
        assert stored.look(EXISTS) == stored.look(SIZE) == ALTERED


def test_an_output_that_was_never_written_is_altered_by_something_in_its_place(
    stored: Stored, lake: Any
) -> None:
    stored.write(content=lambda _: None)
    assert set(stored.found().values()) == {None}
    lake.put(stored.path, "x")
    assert stored.found() == {NONE: None, EXISTS: None, SIZE: ALTERED, DIGEST: ALTERED}


class TestAStoreInTrouble:
    def test_leaves_the_output_unknown_to_whoever_decides(self, stored: Stored, lake: Any) -> None:
        stored.write()
        for method in ("walk", "stat", "is_folder"):
            lake.counted.fails(method, StoreBusy("too many requests"))
        for level in (EXISTS, SIZE, DIGEST):
            assert stored.look(level) == "cannot be read (too many requests)"

    def test_that_passes_is_no_problem_of_an_input(self, stored: Stored, lake: Any) -> None:
        stored.write()
        lake.counted.fails("walk", StoreBusy("too many requests"))
        with pytest.raises(StoreBusy):
            stored_files(lake.lab.workspace, stored.output, lake.fresh_cache())
        lake.counted.fails("walk", StoreError("no permission"))
        found = stored_files(lake.lab.workspace, stored.output, lake.fresh_cache())
        assert found.problem == "cannot be read (no permission)"


class TestTheListOfFiles:
    def test_gives_readers_the_versions_that_were_looked_at(self, stored: Stored, lake: Any) -> None:
        stored.write()
        files = remote_files(lake.lab.workspace, stored.output, lake.fresh_cache())
        assert [info.path for info in files] == [f"{stored.path}/a.txt", f"{stored.path}/b/c.txt"]
        assert [lake.store.read(info.path, etag=info.etag) for info in files] == [b"one", b"three"]
        lake.store.delete(f"{stored.path}/a.txt")
        with pytest.raises(AzureMLException, match="output 'out' at lake/.* is not what was written"):
            remote_files(lake.lab.workspace, stored.output, lake.fresh_cache())

    def test_is_known_by_its_content_and_damage_to_it_shows(self, stored: Stored, lake: Any) -> None:
        stored.write()
        store = lake.lab.workspace.store
        listing = load_listing(store, stored.document["listing"])
        assert listing.files["out/a.txt"].sha256 == hashlib.sha256(b"one").hexdigest()
        key = f"manifests/{stored.document['listing'][:2]}/{stored.document['listing']}.json"
        for damage in (b"", b"{}", b'{"schema":1,"kind":"listing","files":[[1]],"directories":[]}'):
            store.put(key, damage)
            assert str(stored.look(DIGEST)).startswith("cannot be read (")
        store.put(key, store.get(f"manifests/{stored.output.digest[:2]}/{stored.output.digest}.json").data)
        assert str(stored.look(DIGEST)).startswith("cannot be read (not the list of an output's files")

    def test_of_another_output_is_not_believed(self, stored: Stored, lake: Any) -> None:
        stored.write()
        other = {**stored.document, "digest": "0" * 64}
        assert check_output(lake.lab.workspace, other, DIGEST, lake.fresh_cache()) == ALTERED

    def test_is_not_needed_for_files_that_were_taken_there_from_a_local_datastore(
        self, stored: Stored, lake: Any
    ) -> None:
        stored.write()
        del stored.document["listing"]
        assert set(stored.found().values()) == {None}
        assert lake.reads() == 2

    def test_reads_back_equal(self) -> None:
        listing = Listing.of(
            [
                ListedFile("b", 1, "v", "0" * 64),
                ListedFile("a", 2, None, None, "m", True),
                ListedFile("c", 0, "w"),
            ],
            ["z", "y"],
        )
        assert Listing.from_document(listing.to_document()) == listing
        assert [item.sha256 for item in listing.manifest.files] == ["md5:m", "0" * 64, "etag:w"]
        for item in listing.files.values():
            again = ListedFile.known_as(item.entry, item.version)
            assert again == item


class TestReuse:
    def test_looks_once_for_all_outputs_of_a_step_in_a_plan(
        self, lake: Any, lab: Any, in_process: Any
    ) -> None:
        lab.with_services(hashes=StatCache(lab.root / "hashes", remember_s=60))
        outputs = [PipelineData(name) for name in ("one", "two", "three")]
        in_process(lambda cwd, env, argv: [Path(place).write_text("x") for place in argv])
        lab.script("")
        lab.run(arguments=outputs, outputs=outputs)
        lake.counted.calls.clear()
        assert lab.run(arguments=outputs, outputs=outputs, run_id="run-2").reuse["code"] == "hit"
        assert lake.reads() == 0
        assert lake.counted.calls["walk"] == 1

    def test_survives_the_same_bytes_in_another_version(self, stored: Stored, lake: Any) -> None:
        stored.write()
        lake.put(f"{stored.path}/a.txt", "one")
        assert stored.write(run_id="run-2").reuse["code"] == "hit"

    def test_ends_with_the_output(self, stored: Stored, lake: Any) -> None:
        stored.write()
        lake.store.remove_folder(stored.path)
        assert stored.write(run_id="run-2").reuse["code"] == "output_gone"
        lake.put(f"{stored.path}/a.txt", "eno")
        assert stored.write(run_id="run-3").reuse["code"] == "output_corrupt"


class TestFilesThatWereCopiedByTheirStore:
    def describe(self, lake: Any, type_: str, path: str, *files: ListedFile) -> StoredOutput:
        return output_of_files(
            lake.lab.workspace, lake.fresh_cache(), name="out", datastore="lake", path=path, type_=type_, files=files
        )  # fmt: skip

    def look(self, lake: Any, output: StoredOutput) -> str | None:
        return stored_files(lake.lab.workspace, output, lake.fresh_cache()).problem

    def test_are_known_by_what_is_known_of_them(self, lake: Any) -> None:
        one, two = lake.put("in/one", "1"), lake.put("in/deep/two", "2")
        files = [
            ListedFile(one.path, 1, one.version, md5=hashlib.md5(b"1").hexdigest()),
            ListedFile(two.path, 1, two.version),
        ]
        output = self.describe(lake, "directory", "in", *files)
        assert (output.type, output.file_count, output.size_bytes) == ("directory", 2, 2)
        assert StoredOutput.from_document(output.to_document()) == output
        found = stored_files(lake.lab.workspace, output, lake.fresh_cache())
        assert found.problem is None
        assert [item.sha256[:4] for item in found.manifest.files] == ["etag", "md5:"]
        assert lake.reads() == 0

        lake.put("in/one", "1")
        assert self.look(lake, output) is None
        lake.put("in/one", "x")
        assert self.look(lake, output) == ALTERED
        lake.put("in/one", "1")
        lake.put("in/deep/two", "2")
        # Nobody knows what it was.
        assert self.look(lake, output) == ALTERED

    @pytest.mark.parametrize("path", ["deep/file.csv", "file.csv"])
    def test_may_be_one_file_among_others(self, lake: Any, path: str) -> None:
        info = lake.put(path, "1")
        lake.put(f"{path}.bak", "other")
        sha256 = hashlib.sha256(b"1").hexdigest()
        output = self.describe(lake, "file", path, ListedFile(path, 1, info.version, sha256))
        found = stored_files(lake.lab.workspace, output, lake.fresh_cache())
        assert found.problem is None
        assert [item.path for item in found.manifest.files] == ["file.csv"]
        document = output.to_document()
        for level in VerifyLevel:
            assert check_output(lake.lab.workspace, document, level, lake.fresh_cache()) is None
        lake.store.delete(path)
        for level in (EXISTS, SIZE, DIGEST):
            assert check_output(lake.lab.workspace, document, level, lake.fresh_cache()) == GONE

    @pytest.mark.parametrize("path", ["deep/file.csv", "file.csv"])
    def test_are_hashed_on_a_local_datastore(self, lake: Any, path: str) -> None:
        lab = lake.lab
        info = lake.put(path, "1")
        there = self.describe(
            lake, "file", path, ListedFile(path, 1, info.version, hashlib.sha256(b"1").hexdigest())
        )
        local = lab.datastore_file(path, "1")
        output = output_of_files(
            lab.workspace, lake.fresh_cache(), name="out", datastore="workspaceblobstore", path=path, type_="file",
            files=[ListedFile(path, 1, None)],
        )  # fmt: skip
        assert output.digest == there.digest
        assert output.listing is None
        assert self.look(lake, output) is None
        local.write_text("2")
        assert self.look(lake, output) == ALTERED


def test_a_file_is_read_once_for_each_version_of_it(lake: Any) -> None:
    info = lake.put("a", "1")
    cache = lake.fresh_cache()
    for _ in range(2):
        found = hash_remote_file(lake.counted, info, cache)
        assert found.sha256 == hashlib.sha256(b"1").hexdigest()
    assert lake.reads() == 1
    hash_remote_file(lake.counted, lake.put("a", "2"), cache)
    assert lake.reads() == 2
