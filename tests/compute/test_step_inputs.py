"""From declared inputs to the data of a run: parameters, registered datasets, versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import DataPath, DataPathComputeBinding, Dataset, PipelineParameter
from airflow_azureml.compute.step_inputs import resolve_inputs
from airflow_azureml.model.data import PipelineData
from airflow_azureml.model.port_types import DatasetSource, InputPort
from airflow_azureml.model.ports import Ports
from airflow_azureml.runtime.dataset import DatasetConsumptionConfig
from airflow_azureml.runtime.exceptions import UserErrorException

BLOB = "workspaceblobstore"


@pytest.fixture
def seen(lab: Any, in_process: Any) -> list[str]:
    found: list[str] = []

    def script(cwd: Path, env: Any, argv: list[str]) -> None:
        path = Path(argv[0])
        found.append(
            "+".join(sorted(p.read_text() for p in path.iterdir())) if path.is_dir() else path.read_text()
        )

    lab.script("")
    in_process(script)
    return found


class TestADataPathParameter:
    def run(self, lab: Any, run_id: str, value: dict[str, str] | None = None) -> Any:
        parameter = PipelineParameter("where", DataPath(BLOB, "one"))
        source = (parameter, DataPathComputeBinding(mode="mount"))
        parameters = {} if value is None else {"where": value}
        return lab.run(inputs=[source], arguments=[source], parameters=parameters, run_id=run_id)

    def test_shows_what_the_run_names(self, lab: Any, seen: list[str]) -> None:
        lab.datastore_file("one/a", "1")
        lab.datastore_file("two/a", "2")
        self.run(lab, "run-1")
        self.run(lab, "run-2", {"datastore": BLOB, "path": "two"})
        assert seen == ["1", "2"]

    def test_counts_by_content_and_not_by_place(self, lab: Any, seen: list[str]) -> None:
        lab.datastore_file("one/a", "1")
        lab.datastore_file("two/a", "1")
        lab.datastore_file("three/a", "3")
        self.run(lab, "run-1")
        assert self.run(lab, "run-2", {"datastore": BLOB, "path": "two"}).reuse["code"] == "hit"
        reuse = self.run(lab, "run-3", {"datastore": BLOB, "path": "three"}).reuse
        assert reuse["message"] == "ran again because input where: a changed (last used in run run-2)"

    @pytest.mark.parametrize("path", ["../../etc", "/../x"])
    def test_cannot_leave_the_datastore(self, lab: Any, seen: list[str], path: str) -> None:
        with pytest.raises(UserErrorException, match="leaves the datastore"):
            self.run(lab, "run-1", {"datastore": BLOB, "path": path})

    def test_to_an_unknown_datastore_names_the_known_ones(self, lab: Any, seen: list[str]) -> None:
        with pytest.raises(UserErrorException, match="no datastore 'lake'.*workspaceblobstore"):
            self.run(lab, "run-1", {"datastore": "lake", "path": "x"})


class TestADatasetParameter:
    def definition(self, path: str) -> dict[str, Any]:
        return dict(Dataset.File.from_files(DataPath(BLOB, path), validate=False).definition)

    def run(self, lab: Any, run_id: str, value: Any) -> Any:
        default = Dataset.File.from_files(DataPath(BLOB, "one/*"), validate=False)
        source = DatasetConsumptionConfig("data", PipelineParameter("chosen", default)).as_mount()
        return lab.run(inputs=[source], arguments=[source], parameters={"chosen": value}, run_id=run_id)

    def test_may_be_a_definition_an_id_or_a_name(self, lab: Any, seen: list[str]) -> None:
        for name in ("one", "two"):
            lab.datastore_file(f"{name}/a", name)
        saved = lab.workspace.datasets.save(self.definition("two/*"))
        lab.workspace.datasets.register("wine", self.definition("two/*"))
        self.run(lab, "run-1", self.definition("one/*"))
        self.run(lab, "run-2", {"dataset_id": saved})
        self.run(lab, "run-3", {"dataset_name": "wine"})
        assert seen == ["one", "two"], "the third is the second's data and needs not run"

    def test_that_nobody_knows_says_so(self, lab: Any, seen: list[str]) -> None:
        with pytest.raises(UserErrorException, match="no dataset with id 'x'"):
            self.run(lab, "run-1", {"dataset_id": "x"})
        with pytest.raises(UserErrorException, match="'wine' isn't registered"):
            self.run(lab, "run-2", {"dataset_name": "wine"})


class TestARegisteredDataset:
    def resolve(self, lab: Any, reference: dict[str, Any], definition: Any = None) -> Any:
        port = InputPort("data", "mount", DatasetSource(definition, reference), kind="dataset")
        request = lab.request()
        object.__setattr__(request, "ports", Ports((port,), (), (), {}, {}))
        return resolve_inputs(request, lab.services)[0]

    def register(self, lab: Any, path: str, **more: Any) -> None:
        definition = dict(Dataset.File.from_files(DataPath(BLOB, path), validate=False).definition)
        lab.workspace.datasets.register("wine", definition, create_new_version=True, **more)

    @pytest.fixture(autouse=True)
    def two_versions(self, lab: Any) -> None:
        lab.script("")
        for name in ("one", "two"):
            lab.datastore_file(f"{name}/a", name)
            self.register(lab, f"{name}/*")

    @pytest.mark.parametrize("reference", [{}, {"version": "latest"}])
    def test_without_a_version_is_the_newest_of_this_run(self, lab: Any, reference: dict[str, Any]) -> None:
        found = self.resolve(lab, {"dataset_name": "wine", **reference})
        assert found.document["version"] == 2
        assert found.document["dataset_name"] == "wine"

    def test_of_a_version_stays_that_version(self, lab: Any) -> None:
        one, two = (self.resolve(lab, {"dataset_name": "wine", "version": number}) for number in (1, 2))
        assert (one.document["version"], two.document["version"]) == (1, 2)
        assert one.identity.identity != two.identity.identity

    def test_does_not_see_what_a_running_step_registered(self, lab: Any) -> None:
        self.register(lab, "one/a", pending_run="somebody")
        assert self.resolve(lab, {"dataset_name": "wine"}).document["version"] == 2


def test_a_bare_output_cannot_be_used_directly(lab: Any, in_process: Any) -> None:
    lab.script("")
    out = PipelineData("out")
    in_process(lambda cwd, env, argv: Path(argv[0]).write_text("1"))
    lab.run("make", arguments=[out], outputs=[out])
    request = lab.request("use", inputs=[out])
    from dataclasses import replace

    direct = replace(request.ports.inputs[0], mode="direct")
    object.__setattr__(request, "ports", replace(request.ports, inputs=(direct,)))
    with pytest.raises(UserErrorException, match="a bare path cannot be used directly; mount or download it"):
        lab.execute(request)
