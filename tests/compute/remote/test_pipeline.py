"""Steps that pass data on through a datastore that is no folder of this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import OutputFileDatasetConfig, PipelineData
from airflow_azureml.compute.inputs import InputDamaged
from airflow_azureml.runtime.exceptions import StoreError

KINDS = {
    "pipeline data": lambda: PipelineData("out"),
    "own folder": lambda: OutputFileDatasetConfig("out"),
    "shared folder": lambda: OutputFileDatasetConfig("out", destination=("lake", "shared")),
}


def tree(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file():
            found[name] = ("x " if os.access(path, os.X_OK) else "") + path.read_text()
        elif not any(path.iterdir()):
            found[name] = "empty folder"
    return found


class Pipeline:
    """A step that writes and one that reads."""

    def __init__(self, lab: Any, in_process: Any, output: Any, mode: str) -> None:
        self.lab = lab
        self.in_process = in_process
        self.output = output
        source = output if isinstance(output, PipelineData) else output.as_input()
        self.source = source.as_download() if mode == "download" else source
        self.seen: dict[str, str] = {}
        lab.script("")

    def write(self, run_id: str = "run-1", text: str = "one", **more: Any) -> Any:
        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            place = Path(argv[0])
            (place / "empty").mkdir(parents=True)
            (place / "a b%.txt").write_text(text)
            tool = place / "deep" / "tool"
            tool.parent.mkdir()
            tool.write_text("#!")
            tool.chmod(0o755)

        self.in_process(script)
        return self.lab.run("write", arguments=[self.output], outputs=[self.output], run_id=run_id, **more)

    def read(self, run_id: str = "run-1") -> Any:
        self.seen = {}
        self.in_process(lambda cwd, env, argv: self.seen.update(tree(Path(argv[0]))))
        return self.lab.run("read", arguments=[self.source], inputs=[self.source], run_id=run_id)


@pytest.mark.parametrize("mode", ["mount", "download"])
@pytest.mark.parametrize("kind", KINDS)
class TestAConsumer:
    def test_sees_what_the_producer_wrote(
        self, lake: Any, lab: Any, in_process: Any, kind: str, mode: str
    ) -> None:
        pipeline = Pipeline(lab, in_process, KINDS[kind](), mode)
        pipeline.write()
        pipeline.read()
        assert pipeline.seen == {"a b%.txt": "one", "deep/tool": "x #!", "empty": "empty folder"}

    def test_has_the_key_that_it_has_with_a_local_datastore(
        self, lake: Any, lab: Any, in_process: Any, kind: str, mode: str
    ) -> None:
        pipeline = Pipeline(lab, in_process, KINDS[kind](), mode)
        pipeline.write()
        assert pipeline.read().reuse["code"] != "hit"
        assert pipeline.write("run-2").reuse["code"] == "hit"
        assert pipeline.read("run-2").reuse["code"] == "hit"
        if kind != "shared folder":
            lab.workspace.datastores.set_default("workspaceblobstore")
            pipeline.write("run-3", regenerate=True)
            assert pipeline.read("run-3").reuse["code"] == "hit"


def test_what_was_altered_is_no_input(lake: Any, lab: Any, in_process: Any) -> None:
    pipeline = Pipeline(lab, in_process, PipelineData("out"), "mount")
    outcome = pipeline.write()
    lake.put(f"{lake.output(outcome).path}/a b%.txt", "eno")
    with pytest.raises(InputDamaged, match="is not what was written"):
        pipeline.read()
    assert pipeline.write("run-2").reuse["code"] != "hit"


def test_a_busy_store_damages_nothing(lake: Any, lab: Any, in_process: Any) -> None:
    pipeline = Pipeline(lab, in_process, PipelineData("out"), "mount")
    pipeline.write()
    from airflow_azureml.storage.files import StoreBusy

    lake.counted.fails("walk", StoreBusy("too many requests"))
    with pytest.raises(StoreError, match="too many requests"):
        pipeline.read()
    lake.counted.works()
    assert pipeline.write("run-2").reuse["code"] == "hit"
