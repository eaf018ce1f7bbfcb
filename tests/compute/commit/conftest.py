"""A step that leaves behind all that a step can, over a store that can fail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import OutputFileDatasetConfig, PipelineData
from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.run_service import RunService

BLOB = "workspaceblobstore"

NOTHING = {
    "committed": [],
    "finished": [],
    "said": [],
    "said to pipelines": [],
    "datasets": [],
    "models": [],
    "entries": [],
    "own": [],
    "shared": {"b.csv": "old", "theirs.csv": "theirs"},
    "else": [],
}


class FailingStore(LocalStore):
    """A store whose n-th write, or any call of a kind, fails; before or after it is done."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.fail_at: int | None = None
        self.after = False
        self.error: Callable[[str], BaseException] = StoreError
        self.calls: list[str] = []

    def arm(self, number: int, *, after: bool = False) -> None:
        self.fail_at, self.after, self.calls = number, after, []

    def disarm(self) -> int:
        self.fail_at = None
        return len(self.calls)

    def _call(self, name: str, key: str, *args: Any, **options: Any) -> Any:
        self.calls.append(f"{name} {key}")
        fails = self.fail_at is not None and len(self.calls) == self.fail_at
        if fails and not self.after:
            raise self.error(f"injected: {self.calls[-1]}")
        result = getattr(super(), name)(key, *args, **options)
        if fails:
            raise self.error(f"injected after: {self.calls[-1]}")
        return result

    def get(self, key: str) -> Any:
        return self._call("get", key)

    def put(self, key: str, data: bytes, **options: Any) -> str:
        return self._call("put", key, data, **options)

    def put_file(self, key: str, source: Path, **options: Any) -> str:
        return self._call("put_file", key, source, **options)

    def exists(self, key: str) -> bool:
        return self._call("exists", key)

    def list(self, prefix: str) -> Any:
        return self._call("list", prefix)


class Bench:
    """A step that leaves behind all that a step can, in a lab whose store can fail."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.store = FailingStore(lab.root / "workspace")
        lab.workspace = WorkspaceHandle(str(lab.root / "workspace"), self.store)
        lab.with_services(workspace=lab.workspace)
        lab.script("")
        lab.datastore_file("shared/b.csv", "old")
        lab.datastore_file("shared/theirs.csv", "theirs")
        self.own = PipelineData("own")
        self.fixed = OutputFileDatasetConfig("fixed", destination=(BLOB, "shared")).register_on_complete(
            "wine"
        )
        self.service: RunService | None = None
        self.runs: list[str] = []

    def script(self, cwd: Path, env: Any, argv: list[str]) -> None:
        Path(argv[0]).mkdir()
        Path(argv[0], "a.csv").write_text("1")
        Path(argv[1], "b.csv").write_text("new")
        (cwd / "outputs" / "model.txt").write_text("weights")
        assert self.service is not None
        metric = {"name": "rows", "kind": "scalar", "value": 7}
        self.service.dispatch("run.log", metric)
        self.service.dispatch("run.log", {**metric, "run": env["AZUREML_ROOT_RUN_ID"]})
        self.service.dispatch("run.register_model", {"name": "model", "path": "outputs/model.txt"})

    def run(self, run_id: str, **more: Any) -> Any:
        arguments = {"arguments": [self.own, self.fixed], "outputs": [self.own, self.fixed], "run_id": run_id}
        request = self.lab.request(**{**arguments, **more})
        self.runs.append(request.identity.pipeline_run_id)
        return self.lab.execute(request)

    def visible(self) -> dict[str, Any]:
        """All that a reader takes for a result."""
        workspace, datastore = self.lab.workspace, self.lab.datastore
        keys = [info.key for info in workspace.store.list("")]
        steps = [
            record
            for key in keys
            if key.startswith("runs/") and key.endswith("/record.json")
            if (record := workspace.runs.get(key.split("/")[1]))["kind"] == "step"
        ]
        said = ("outputs", "metrics", "artifacts", "registrations", "parent_effects", "tags")
        known = [run for run in self.runs if workspace.store.exists(f"runs/{run}/record.json")]
        return {
            "committed": [key for key in keys if key.endswith("/committed")],
            "finished": [record["id"] for record in steps if record["status"] == "Finished"],
            "said": [record[field] for record in steps for field in said if record[field]],
            "said to pipelines": [
                view for run in known for view in workspace.runs.parent_view(run).values() if view
            ],
            "datasets": [(record.name, record.version) for record in workspace.datasets.list()],
            "models": [(record.name, record.version) for record in workspace.models.list()],
            "entries": [key for key in keys if key.startswith("entries/")],
            "own": os.listdir(datastore / "azureml") if (datastore / "azureml").exists() else [],
            "shared": {path.name: path.read_text() for path in sorted((datastore / "shared").iterdir())},
            "else": sorted(set(os.listdir(datastore)) - {"azureml", "shared"}),
        }

    def check_nothing(self, what: object = None, **other: Any) -> None:
        """Check that nobody sees anything of the step."""
        assert self.visible() == {**NOTHING, **other}, what

    def check_all(self, step_id: str) -> None:
        """Check that everybody sees all of the step."""
        seen = self.visible()
        assert seen["committed"] == [f"runs/{step_id}/committed"]
        assert seen["finished"] == [step_id]
        assert seen["shared"] == {"b.csv": "new", "theirs.csv": "theirs"}
        assert seen["own"] == [step_id]
        assert [name for name, _ in seen["datasets"]] == ["wine"]
        assert [name for name, _ in seen["models"]] == ["model"]
        assert [metric["name"] for view in seen["said to pipelines"] for metric in view] == ["rows"]
        assert seen["else"] == []

    def forget(self) -> None:
        """Start over in an empty workspace."""
        shutil.rmtree(self.lab.root / "workspace")
        self.runs.clear()
        self.lab.datastore_file("shared/b.csv", "old")
        self.lab.datastore_file("shared/theirs.csv", "theirs")


@pytest.fixture
def bench(lab: Any, in_process: Any, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(lab)
    real = RunService.__init__

    def remember(self: RunService, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        bench.service = self

    monkeypatch.setattr(RunService, "__init__", remember)
    in_process(lambda cwd, env, argv: bench.script(cwd, env, argv))
    return bench
