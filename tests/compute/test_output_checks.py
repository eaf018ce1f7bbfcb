"""Looking at stored outputs: what each level sees, and what it costs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import OutputFileDatasetConfig, PipelineData
from airflow_azureml.compute.output_checks import check_afresh, check_output
from airflow_azureml.reuse.policy import VerifyLevel
from airflow_azureml.workspace import hashing

NONE, EXISTS, SIZE, DIGEST = VerifyLevel.NONE, VerifyLevel.EXISTS, VerifyLevel.SIZE, VerifyLevel.DIGEST
BLOB = "workspaceblobstore"
ALTERED = "is not what was written"


@pytest.fixture
def stored(lab: Any, in_process: Any) -> Any:
    """Have a step write an output; return its place and a look at it."""

    class Stored:
        def __init__(self) -> None:
            self.document: dict[str, Any] = {}
            self.place = Path()

        def write(self, output: Any = None, content: Any = None) -> Stored:
            output = output or PipelineData("out")

            def script(cwd: Path, env: Any, argv: list[str]) -> None:
                if content is not None:
                    content(Path(argv[0]))

            in_process(script)
            lab.script("")
            outcome = lab.run(arguments=[output], outputs=[output])
            self.document = outcome.document["outputs"][output.name]
            self.place = lab.path_of(outcome, output.name)
            return self

        def look(self, level: VerifyLevel) -> str | None:
            return check_output(lab.workspace, self.document, level, lab.services.hashes)

        def found(self) -> dict[VerifyLevel, str | None]:
            return {level: self.look(level) for level in VerifyLevel}

    return Stored()


def folder(place: Path) -> None:
    place.mkdir(exist_ok=True)
    (place / "a.txt").write_text("one")
    (place / "b").mkdir()
    (place / "b" / "c.txt").write_text("three")


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "output", [PipelineData("out"), OutputFileDatasetConfig("out", destination=(BLOB, "fixed"))]
)
class TestAFolder:
    def test_that_is_as_it_was_is_fine(self, stored: Any, output: Any) -> None:
        assert set(stored.write(output, folder).found().values()) == {None}

    def test_that_is_removed_is_gone_for_everybody_who_looks(self, stored: Any, output: Any) -> None:
        stored.write(output, folder)
        stored.place.rename(stored.place.parent / "elsewhere")
        assert stored.found() == {NONE: None, EXISTS: "is gone", SIZE: "is gone", DIGEST: "is gone"}

    def test_with_a_shorter_file_shows_at_sizes(self, stored: Any, output: Any) -> None:
        stored.write(output, folder)
        overwrite(stored.place / "b" / "c.txt", b"")
        assert stored.found() == {NONE: None, EXISTS: None, SIZE: ALTERED, DIGEST: ALTERED}

    def test_without_one_of_its_files_shows_at_sizes(self, stored: Any, output: Any) -> None:
        stored.write(output, folder)
        (stored.place / "a.txt").unlink()
        assert stored.found() == {NONE: None, EXISTS: None, SIZE: ALTERED, DIGEST: ALTERED}

    def test_with_other_bytes_shows_at_content(self, stored: Any, output: Any) -> None:
        stored.write(output, folder)
        overwrite(stored.place / "a.txt", b"eno")
        assert stored.found() == {NONE: None, EXISTS: None, SIZE: None, DIGEST: ALTERED}

    def test_whose_list_of_files_is_gone_is_known_by_content_if_that_can_be(
        self, stored: Any, output: Any, lab: Any
    ) -> None:
        stored.write(output, folder)
        for info in list(lab.workspace.store.list("manifests/")):
            lab.workspace.store.delete(info.key)
        found = stored.look(SIZE)
        assert found is None if stored.document["exclusive"] else found.startswith("cannot be read")


def test_a_file_more_is_an_alteration_of_an_own_folder_alone(stored: Any) -> None:
    stored.write(None, folder)
    (stored.place / "more").write_text("")
    assert stored.found() == {NONE: None, EXISTS: None, SIZE: ALTERED, DIGEST: ALTERED}


def test_a_file_more_at_a_fixed_destination_is_somebody_elses(stored: Any) -> None:
    stored.write(OutputFileDatasetConfig("out", destination=(BLOB, "fixed")), folder)
    (stored.place / "more").write_text("")
    assert set(stored.found().values()) == {None}


class TestAFile:
    def test_that_is_as_it_was_is_fine(self, stored: Any) -> None:
        stored.write(None, lambda place: place.write_text("x"))
        assert set(stored.found().values()) == {None}

    def test_that_is_a_folder_now_shows_to_everybody_who_looks(self, stored: Any) -> None:
        stored.write(None, lambda place: place.write_text("x"))
        stored.place.unlink()
        stored.place.mkdir()
        assert stored.found()[EXISTS] == stored.found()[SIZE] == ALTERED

    def test_that_is_cut_shows_at_sizes(self, stored: Any) -> None:
        stored.write(None, lambda place: place.write_text("xyz"))
        overwrite(stored.place, b"x")
        assert stored.found() == {NONE: None, EXISTS: None, SIZE: ALTERED, DIGEST: ALTERED}


class TestAnOutputThatWasNeverWritten:
    def test_is_fine_and_is_altered_by_something_in_its_place(self, stored: Any) -> None:
        stored.write()
        assert set(stored.found().values()) == {None}
        stored.place.mkdir(parents=True)
        assert stored.found() == {NONE: None, EXISTS: None, SIZE: ALTERED, DIGEST: ALTERED}


def test_an_unknown_datastore_is_a_problem_and_no_failure(stored: Any) -> None:
    stored.write(None, folder)
    stored.document = {**stored.document, "datastore": "lost"}
    assert all(
        problem is not None and problem.startswith("cannot be read (no datastore 'lost'")
        for level, problem in stored.found().items()
        if level is not NONE
    )


def test_what_is_no_output_is_a_problem_and_no_failure(lab: Any) -> None:
    for level in (EXISTS, SIZE, DIGEST):
        problem = check_output(lab.workspace, {}, level, lab.services.hashes)
        assert problem is not None
        assert problem.startswith("cannot be read (not the document of an output")


def test_only_content_reads_and_only_afresh_reads_what_is_known(
    lab: Any, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.write(None, folder)
    # A file as fresh as the clock's tick may still change unnoticed; it would be read each time.
    for path in stored.place.rglob("*.txt"):
        os.utime(path, (1_000_000_000, 1_000_000_001))
    stored.look(DIGEST)
    read: list[str] = []
    real = hashing._read
    monkeypatch.setattr(hashing, "_read", lambda item, start: read.append(item.path) or real(item, start))
    stored.found()
    assert read == []
    assert check_afresh(lab.workspace, stored.document) is None
    assert len(read) == 2
