"""Inputs know what the stored outputs behind them are known by, so that a result's readers can be found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import DataPath, Dataset, OutputFileDatasetConfig, PipelineData
from airflow_azureml.compute.step_inputs import resolve_inputs
from airflow_azureml.model.data import DataReference

BLOB = "workspaceblobstore"


@pytest.fixture
def written(lab: Any, in_process: Any) -> dict[str, Any]:
    """Outputs of a step: a folder, a file, and a folder at a fixed place."""

    def script(cwd: Path, env: Any, argv: list[str]) -> None:
        folder, file, fixed = map(Path, argv)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.csv").write_text("1")
        (folder / "b.csv").write_text("2")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("3")
        fixed.mkdir(parents=True, exist_ok=True)
        (fixed / "c.csv").write_text("4")
        (fixed / "d.csv").write_text("5")

    lab.script("")
    in_process(script)
    outputs: dict[str, Any] = {
        "folder": PipelineData("folder"),
        "file": PipelineData("file"),
        "fixed": OutputFileDatasetConfig("fixed", destination=(lab.workspace.datastores.get(BLOB), "fixed")),
    }
    lab.run(outputs=list(outputs.values()), arguments=list(outputs.values()))
    return outputs


def consumed(lab: Any, source: Any) -> tuple[str, ...]:
    request = lab.request("reader", inputs=[source], arguments=[source])
    found: tuple[str, ...] = resolve_inputs(request, lab.services)[0].identity.consumed
    return found


@pytest.mark.parametrize("name", ["folder", "file", "fixed"])
def test_an_output_of_the_same_run(lab: Any, written: dict[str, Any], name: str) -> None:
    source = written[name].as_input("x") if name == "fixed" else written[name]
    assert lab.written[_origin(lab, name)].digest in consumed(lab, source)


@pytest.mark.parametrize("name", ["folder", "file"])
def test_an_output_read_by_its_place_from_another_pipeline(
    lab: Any, written: dict[str, Any], name: str
) -> None:
    output = lab.written[_origin(lab, name)]
    reference = DataReference(BLOB, "x", path_on_datastore=output.path)
    assert output.digest in consumed(lab, reference)


def test_an_output_read_as_a_dataset(lab: Any, written: dict[str, Any]) -> None:
    output = lab.written[_origin(lab, "folder")]
    dataset = Dataset.File.from_files(DataPath(BLOB, f"{output.path}/**"), validate=False)
    assert output.digest in consumed(lab, dataset.as_named_input("x").as_mount())


def test_all_outputs_of_a_mapped_step(lab: Any, written: dict[str, Any]) -> None:
    outputs = [lab.written[_origin(lab, name)] for name in ("folder", "file")]
    request = lab.request(
        "reader", inputs=[written["folder"]], arguments=[written["folder"]], mapped={"folder": outputs}
    )
    found = resolve_inputs(request, lab.services)[0].identity.consumed
    assert found == tuple(output.digest for output in outputs)


def _origin(lab: Any, name: str) -> Any:
    return next(origin for origin in lab.written if lab.written[origin].name == name)
