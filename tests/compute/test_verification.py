"""Going over remembered results: what is wrong is set aside, and computed again by the next run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import PipelineData
from airflow_azureml.compute.verification import VerificationReport, verify
from airflow_azureml.reuse.entries import EntryStore, HeadState
from airflow_azureml.reuse.policy import VerifyLevel
from airflow_azureml.workspace.stat_cache import StatCache


class Results:
    """Two steps with a result each."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.entries = EntryStore(lab.workspace.store)
        self.outcomes = {name: self.run(name) for name in ("one", "two")}

    def run(self, name: str, run_id: str = "run-1") -> Any:
        out = PipelineData("out")
        return self.lab.run(name, arguments=[name, out], outputs=[out], run_id=run_id)

    def key(self, name: str) -> str:
        key: str = self.outcomes[name].reuse["key"]
        return key

    def place(self, name: str) -> Path:
        path: Path = self.lab.path_of(self.outcomes[name], "out")
        return path

    def verify(self, level: VerifyLevel = VerifyLevel.DIGEST, **more: Any) -> VerificationReport:
        return verify(self.lab.workspace, level=level, hashes=self.lab.services.hashes, by="me", **more)


@pytest.fixture
def results(lab: Any, in_process: Any) -> Results:
    in_process(lambda cwd, env, argv: Path(argv[1]).write_text(argv[0]))
    lab.script("")
    return Results(lab)


class TestVerifying:
    def test_finds_nothing_where_all_is_as_it_was(self, results: Results) -> None:
        report = results.verify()
        assert (report.checked, report.good, report.checked_bytes, report.problems) == (2, 2, 6, [])

    def test_sets_aside_what_is_gone_and_the_next_run_computes_it_again(self, results: Results) -> None:
        results.place("one").unlink()
        report = results.verify(VerifyLevel.EXISTS)
        assert [(item.what, item.quarantined, item.step_name) for item in report.problems] == [
            ("output out is gone", True, "one")
        ]
        head = results.entries.look(results.key("one")).head
        assert head is not None
        assert (head.state, head.reason, head.by) == (HeadState.QUARANTINED, "output out is gone", "me")
        again = results.run("one", "run-2")
        assert again.reuse["code"] == "output_gone"
        assert results.run("one", "run-3").reuse["code"] == "hit"
        assert results.verify().good == 2

    def test_looks_as_closely_as_it_is_asked_to(self, results: Results) -> None:
        path = results.place("one")
        path.chmod(0o644)
        path.write_text("eno")
        assert results.verify(VerifyLevel.SIZE).good == 2
        assert results.verify(VerifyLevel.DIGEST).quarantined == 1

    def test_reads_every_byte_when_it_is_to_look_afresh(self, results: Results) -> None:
        # A cache that is wrong, as after a fault of the disk: it knows the file by its times, and the content has changed.
        class Wrong(StatCache):
            def load(self, root: str) -> Any:
                return remembered if root == top else super().load(root)

        top = str(results.place("one").parent)
        results.verify()
        remembered = results.lab.services.hashes.load(top)
        path = results.place("one")
        path.chmod(0o644)
        path.write_text("eno")
        known = path.stat()
        remembered.stamps = [known.st_mtime_ns, known.st_ctime_ns, known.st_size, known.st_ino]
        hashes = Wrong(results.lab.root / "hashes")
        verified = verify(results.lab.workspace, level=VerifyLevel.DIGEST, hashes=hashes, by="me")
        fresh = verify(results.lab.workspace, level=VerifyLevel.NONE, hashes=hashes, by="me", fresh=True)
        assert verified.good == 2
        assert (fresh.quarantined, fresh.level, fresh.fresh) == (1, VerifyLevel.DIGEST, True)

    def test_looks_at_what_is_named_alone(self, results: Results) -> None:
        results.place("one").unlink()
        assert results.verify(keys=[results.key("two")]).problems == []

    def test_passes_over_what_counts_no_longer(self, results: Results) -> None:
        assert results.entries.set_state(results.key("one"), HeadState.INVALIDATED, generation=1)
        report = results.verify()
        assert (report.checked, report.not_live) == (1, 1)

    def test_sets_aside_a_result_whose_entry_is_damaged(self, results: Results) -> None:
        key = results.key("one")
        results.lab.workspace.store.put(f"entries/{key[:2]}/{key}/000001.json", b"")
        report = results.verify()
        assert [(item.what, item.quarantined) for item in report.problems] == [
            ("the entry is damaged or gone", True)
        ]

    def test_names_what_cannot_be_looked_at_now_and_leaves_it(
        self, results: Results, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(name: str) -> Path:
            raise PermissionError("no permission")

        monkeypatch.setattr(results.lab.workspace.datastores, "root", refuse)
        report = results.verify()
        assert [(item.what, item.quarantined) for item in report.problems] == [
            ("output out cannot be read (no permission)", False)
        ] * 2
        assert results.entries.find(results.key("one")) is not None

    def test_tells_how_far_it_is_and_writes_a_document(self, results: Results) -> None:
        shutil.rmtree(results.place("one").parent)
        seen: list[int] = []
        report = results.verify(on_progress=lambda found: seen.append(found.checked))
        assert seen == [1, 2]
        document = report.to_document()
        assert {name: document[name] for name in ("level", "checked", "good", "quarantined")} == {
            "level": "digest",
            "checked": 2,
            "good": 1,
            "quarantined": 1,
        }
        assert document["problems"][0]["key"] == results.key("one")
