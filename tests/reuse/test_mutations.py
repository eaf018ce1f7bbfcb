"""The mutation matrix: each component changed alone gives its own reason and name, and what doesn't count changes nothing.

At the level of a whole step: source directory, ports, environment and policy, as a run puts them together.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import PipelineParameter
from airflow_azureml.compute.environment_identity import environment_identity
from airflow_azureml.compute.environments import EnvironmentCache
from airflow_azureml.compute.identity import StepIdentity
from airflow_azureml.compute.limits import Limits
from airflow_azureml.compute.request import ExecutionServices, StepRequest
from airflow_azureml.compute.script_work import ScriptWork
from airflow_azureml.compute.source import DirectorySource, SnapshotSource, file_table
from airflow_azureml.compute.step_action import secrecy_of, step_action
from airflow_azureml.compute.step_inputs import resolve_inputs
from airflow_azureml.model.data import DataReference, PipelineData
from airflow_azureml.model.environment import CondaDependencies, Environment
from airflow_azureml.model.ports import bind_ports
from airflow_azureml.reuse.action import Action
from airflow_azureml.reuse.actions import Earlier
from airflow_azureml.reuse.differences import differences
from airflow_azureml.reuse.policy import ReusePolicy
from airflow_azureml.workspace.data_cache import DataCache
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.manifest import TreeManifest
from airflow_azureml.workspace.memory_store import MemoryStore
from airflow_azureml.workspace.stat_cache import StatCache

BLOB = "workspaceblobstore"


class Bench:
    """A project with a step's code and data, in a folder that can be changed; its actions and what differs between them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.steps = root / "project" / "steps"
        self.workspace = WorkspaceHandle(str(root / "workspace"), MemoryStore())
        self.data = self.workspace.datastores.root(BLOB)
        self.codes: dict[str, TreeManifest] = {}
        self.write("train.py", "import helper\nopen('settings.json')\n")
        self.write("helper.py", "x = 1\n")
        self.write("settings.json", "{}")
        self.write("unused.py", "")
        self.write("../shared/util.py", "")
        self.put("raw/a.csv", "1")
        self.put("raw/b.csv", "2")
        self.put("other/a.csv", "1")
        self.put("other/b.csv", "2")

    def write(self, name: str, text: str) -> None:
        """Write a file of the source directory."""
        path = self.steps / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def put(self, name: str, text: str) -> None:
        """Write a file onto the datastore."""
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def services(self, **changes: Any) -> ExecutionServices:
        usual = ExecutionServices(
            workspace=self.workspace,
            environments=EnvironmentCache(self.root / "environments"),
            hashes=StatCache(None),
            data=DataCache(self.root / "data", None),
            scratch=self.root / "scratch",
            cache=self.root / "cache",
            limits=Limits(),
            grace_s=1.0,
        )
        return replace(usual, **changes)

    def action(self, step: Step) -> Action:
        """Return the action of a step as the project is now."""
        services = self.services(**step.services)
        source = DirectorySource.scan(
            self.workspace,
            step.directory or self.steps,
            step.hash_paths,
            services.hashes,
            1 << 20,
            script=step.script,
            code_scope=step.policy.code_scope,
            code_files=step.policy.code_files,
        )
        code = source.code()
        self.codes[code.digest] = code
        request = step.request(source)
        secrecy = secrecy_of(services)
        environment = environment_identity(services.environments, step.environment, step.policy.env, secrecy)
        inputs = [item.identity for item in resolve_inputs(request, services)]
        return step_action(
            request,
            inputs,
            services=services,
            code=code.digest,
            environment=environment,
            secrecy=secrecy,
        )

    def compare(self, before: Action, after: Action) -> list[tuple[str, str]]:
        """Return code and sentence of everything that differs."""
        earlier = Earlier(before.key, "run-1", before.document, before.details())
        found = differences(
            earlier, after, files_of=lambda code: file_table(self.codes[code]), source_label="steps"
        )
        return [(item.code.value, item.what) for item in found]


def built(*packages: str, python: str = "3.11", **variables: str) -> Environment:
    """Return an environment of packages; it is only declared, never built."""
    environment = Environment("training")
    environment.python.conda_dependencies = CondaDependencies.create(
        pip_packages=list(packages), python_version=python
    )
    environment.environment_variables = variables
    return environment


def raw(name: str = "raw", path: str = "raw", mode: str = "mount") -> DataReference:
    return DataReference("workspaceblobstore", name, path_on_datastore=path, mode=mode)


@dataclass(frozen=True)
class Step:
    """A step as it is declared and run; every field can be varied alone."""

    name: str = "train"
    step_type: str = "PythonScriptStep"
    script: str = "train.py"
    directory: Path | None = None
    hash_paths: tuple[str, ...] = ("../shared/util.py",)
    inputs: tuple[Any, ...] = (raw(),)
    outputs: tuple[Any, ...] = (PipelineData("model"),)
    arguments: tuple[Any, ...] | None = None
    params: Mapping[str, Any] = field(default_factory=lambda: {"lr": "0.1"})
    values: Mapping[str, Any] = field(default_factory=dict)
    environment: Environment = field(default_factory=lambda: built("pandas==1.5.3", TOKEN="hunter2"))
    policy: ReusePolicy = field(default_factory=ReusePolicy)
    version: str | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    services: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def request(self, source: DirectorySource | SnapshotSource) -> StepRequest:
        alpha, build_id = PipelineParameter("alpha", 0.5), PipelineParameter("build_id", "1")
        usual = ("--alpha", alpha, "--build", build_id, "--data", *self.inputs, "--out", *self.outputs)
        ports = bind_ports(
            self.step_type,
            self.name,
            inputs=list(self.inputs),
            outputs=list(self.outputs),
            arguments=list(usual if self.arguments is None else self.arguments),
            params=self.params,
        )
        defaults = {name: parameter.airflow_default() for name, parameter in ports.parameters.items()}
        identity: dict[str, Any] = {
            "deployment": "test",
            "dag_id": "diabetes",
            "run_id": "run-1",
            "task_id": self.name,
            "map_index": -1,
            "try_number": 1,
            "step_name": self.name,
            "step_type": self.step_type,
            "experiment": "diabetes",
            **self.identity,
        }
        return StepRequest(
            identity=StepIdentity(**identity),
            ports=ports,
            parameters={**defaults, **self.values},
            upstream={},
            work=ScriptWork(self.script, source, self.environment),
            policy=self.policy,
            version=self.version,
            **self.more,
        )


STEP = Step()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def arguments(*changes: Any) -> dict[str, Any]:
    return {"arguments": changes}


IN_THE_FILES: dict[str, tuple[Callable[[Bench], None], str, str]] = {
    "the script": (
        lambda bench: bench.write("train.py", "import helper\n"),
        "code",
        "steps/train.py changed",
    ),
    "a module it imports": (
        lambda bench: bench.write("helper.py", "x = 2\n"),
        "code",
        "steps/helper.py changed",
    ),
    "a file it reads": (
        lambda bench: bench.write("settings.json", "[]"),
        "code",
        "steps/settings.json changed",
    ),
    "any file of the directory": (
        lambda bench: bench.write("unused.py", "1"),
        "code",
        "steps/unused.py changed",
    ),
    "a new file": (lambda bench: bench.write("sub/new.py", ""), "code", "steps/sub/new.py is new"),
    "a file less": (lambda bench: (bench.steps / "unused.py").unlink(), "code", "steps/unused.py is gone"),
    "a file's name": (
        lambda bench: (bench.steps / "unused.py").rename(bench.steps / "unusual.py"),
        "code",
        "steps/unusual.py is new; steps/unused.py is gone",
    ),
    "a file that may be executed": (
        lambda bench: (bench.steps / "helper.py").chmod(0o755),
        "code",
        "steps/helper.py changed",
    ),
    "a file of hash_paths": (
        lambda bench: bench.write("../shared/util.py", "2"),
        "code",
        "shared/util.py changed",
    ),
    "the content of an input": (
        lambda bench: bench.put("raw/a.csv", "3"),
        "input",
        "input raw: a.csv changed",
    ),
    "a file more in an input": (
        lambda bench: bench.put("raw/sub/c.csv", "3"),
        "input",
        "input raw: sub/c.csv is new",
    ),
    "a file less in an input": (
        lambda bench: (bench.data / "raw/b.csv").unlink(),
        "input",
        "input raw: b.csv is gone",
    ),
    "content moved from one file of an input to another": (
        lambda bench: (bench.put("raw/a.csv", "2"), bench.put("raw/b.csv", "1"))[0],
        "input",
        "input raw: a.csv, b.csv changed",
    ),
}


@pytest.mark.parametrize(("change", "code", "sentence"), IN_THE_FILES.values(), ids=IN_THE_FILES.keys())
def test_a_changed_file_is_named(
    bench: Bench, change: Callable[[Bench], None], code: str, sentence: str
) -> None:
    before = bench.action(STEP)
    change(bench)
    after = bench.action(STEP)
    assert after.key != before.key
    assert bench.compare(before, after) == [(code, sentence)]


ALPHA, BUILD = PipelineParameter("alpha", 0.5), PipelineParameter("build_id", "1")
IN, OUT = STEP.inputs[0], STEP.outputs[0]

IN_THE_STEP: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "script name": ({"script": "helper.py"}, [("code", "script: train.py → helper.py")]),
    "no hash_paths": ({"hash_paths": ()}, [("code", "shared/util.py is gone")]),
    "parameter value": ({"values": {"alpha": 0.7}}, [("parameter", "parameter alpha: 0.5 → 0.7")]),
    "parameter type": (
        {"values": {"build_id": 1}},
        [("parameter", "parameter build_id: '1' → 1")],
    ),
    "params variable": ({"params": {"lr": "0.2"}}, [("parameter", "params lr: '0.1' → '0.2'")]),
    "another params variable": (
        {"params": {"lr": "0.1", "seed": 1}},
        [("parameter", "params seed: (none) → '1'")],
    ),
    "argument text": (
        arguments("--rate", ALPHA, "--build", BUILD, "--data", IN, "--out", OUT),
        [("interface", "argument 1: '--alpha' → '--rate'")],
    ),
    "one argument more": (
        arguments("--alpha", ALPHA, "--build", BUILD, "-v", "--data", IN, "--out", OUT),
        [("interface", "argument 5 is new: '-v'")],
    ),
    "argument order": (
        arguments("--build", BUILD, "--alpha", ALPHA, "--data", IN, "--out", OUT),
        [
            (
                "interface",
                (
                    "the order of the arguments: "
                    "--alpha <parameter alpha> --build <parameter build_id> --data <input raw> --out … → "
                    "--build <parameter build_id> --alpha <parameter alpha> --data <input raw> --out …"
                ),
            )
        ],
    ),
    "input mode": (
        {"inputs": (raw(mode="download"),)},
        [("interface", "input raw: mode: mount → download")],
    ),
    "input name": (
        {"inputs": (raw("cooked"),)},
        [
            ("interface", "input raw is called cooked now"),
            ("interface", "argument 6: <input raw> → <input cooked>"),
        ],
    ),
    "output name": (
        {"outputs": (PipelineData("result"),)},
        [
            ("interface", "argument 8: <output model> → <output result>"),
            ("interface", "output model is gone"),
            ("interface", "output result is new"),
        ],
    ),
    "output datastore": (
        {"outputs": (PipelineData("model", datastore="workspacefilestore"),)},
        [("interface", f"output model: datastore: {BLOB} → workspacefilestore")],
    ),
    "output path": (
        {"outputs": (PipelineData("model", output_path_on_compute="out/x"),)},
        [("interface", "output model: source: (none) → out/x")],
    ),
    "environment package": (
        {"environment": built("pandas==2.1.0", TOKEN="hunter2")},
        [("environment", "environment: pandas==1.5.3 → pandas==2.1.0")],
    ),
    "environment python": (
        {"environment": built("pandas==1.5.3", python="3.12", TOKEN="hunter2")},
        [("environment", "environment: Python: 3.11 → 3.12")],
    ),
    "environment variable": (
        {"environment": built("pandas==1.5.3", TOKEN="s3cret")},
        [("environment", "environment: variable TOKEN changed")],
    ),
    "what counts of the environment": (
        {"policy": ReusePolicy(env="off")},
        [("environment", "environment: what counts of it (env): declared → off")],
    ),
    "version": ({"version": "2"}, [("interface", "version: (none) → 2")]),
    "step type": (
        {"step_type": "DatabricksStep"},
        [("interface", "step type: PythonScriptStep → DatabricksStep")],
    ),
    "salt": ({"services": {"salt": "2026"}}, [("interface", "the workspace's salt changed")]),
    "scope": (
        {"policy": ReusePolicy(scope="pipeline")},
        [("interface", "reuse scope: workspace → pipeline diabetes")],
    ),
}


@pytest.mark.parametrize(("changes", "expected"), IN_THE_STEP.values(), ids=IN_THE_STEP.keys())
def test_a_changed_declaration_is_named(
    bench: Bench, changes: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    before, after = bench.action(STEP), bench.action(replace(STEP, **changes))
    assert after.key != before.key
    assert bench.compare(before, after) == expected
    assert "hunter2" not in repr([before.document, before.details()])


def test_no_two_mutations_share_a_key(bench: Bench) -> None:
    keys = {bench.action(STEP).key}
    keys |= {bench.action(replace(STEP, **changes)).key for changes, _ in IN_THE_STEP.values()}
    assert len(keys) == len(IN_THE_STEP) + 1


DOES_NOT_COUNT: dict[str, dict[str, Any]] = {
    "the step's name and task": {"name": "fit"},
    "the run": {"identity": {"run_id": "run-2"}},
    "the try": {"identity": {"try_number": 3, "instance": "x"}},
    "the map index": {"identity": {"map_index": 4}},
    "the pipeline": {"identity": {"dag_id": "other", "experiment": "other"}},
    "the deployment": {"identity": {"deployment": "prod"}, "services": {"deployment": "prod"}},
    "allow_reuse": {"more": {"allow_reuse": False}},
    "regenerate_outputs": {"more": {"regenerate": True}},
    "where the run is seen": {"more": {"url": "https://airflow"}},
    "limits and grace": {"services": {"limits": Limits(memory_bytes=1 << 30), "grace_s": 9.0}},
    "the environment's name": {
        "environment": built("pandas==1.5.3", TOKEN="hunter2").clone("another"),
    },
    "the path of an input": {"inputs": (raw(path="other"),)},
    "how results may be used": {
        "policy": ReusePolicy(
            ttl="7d", min_identity="content", wait="never", verify="none", accept_from=["x"]
        )
    },
    "the default datastore named": {"more": {"default_datastore": BLOB}},
}


@pytest.mark.parametrize("changes", DOES_NOT_COUNT.values(), ids=DOES_NOT_COUNT.keys())
def test_what_does_not_count(bench: Bench, changes: dict[str, Any]) -> None:
    before, after = bench.action(STEP), bench.action(replace(STEP, **changes))
    assert after.key == before.key
    assert bench.compare(before, after) == []


def test_times_and_permissions_beyond_the_executable_bit_do_not_count(bench: Bench) -> None:
    before = bench.action(STEP)
    for path in (*bench.steps.iterdir(), *bench.data.rglob("*.csv")):
        os.utime(path, (1, 1))
        path.chmod(0o600 if random.random() < 0.5 else 0o666)
    assert bench.action(STEP).key == before.key


class TestIgnoredParameters:
    def step(self, build_id: str) -> Step:
        return replace(STEP, policy=ReusePolicy(ignore_params=["build_id"]), values={"build_id": build_id})

    def test_do_not_count_and_are_kept(self, bench: Bench) -> None:
        one, other = bench.action(self.step("1")), bench.action(self.step("2"))
        assert one.key == other.key
        assert other.details()["ignored"] == {"build_id": {"type": "str", "value": "2"}}

    def test_count_otherwise(self, bench: Bench) -> None:
        assert bench.action(STEP).key != bench.action(replace(STEP, values={"build_id": "2"})).key


class TestScopes:
    def key(self, bench: Bench, scope: str, **identity: str) -> str:
        return bench.action(replace(STEP, policy=ReusePolicy(scope=scope), identity=identity)).key

    def test_of_a_pipeline_is_that_of_all_its_runs(self, bench: Bench) -> None:
        one = self.key(bench, "pipeline")
        assert one == self.key(bench, "pipeline", run_id="run-2")
        assert one != self.key(bench, "pipeline", dag_id="other")

    def test_of_a_run_is_that_of_its_steps_and_tries(self, bench: Bench) -> None:
        one = self.key(bench, "run")
        assert one == self.key(bench, "run", task_id="other")
        assert one != self.key(bench, "run", run_id="run-2")
        assert one != self.key(bench, "run", deployment="prod")


def test_secrets_that_the_deployment_knows_are_not_in_the_action(bench: Bench) -> None:
    def step(secret: str) -> Step:
        return replace(
            STEP,
            arguments=("--password", secret, IN, OUT),
            params={"PASSWORD": secret},
            environment=built("pandas==1.5.3", TOKEN=secret),
            services={"redact": lambda text: text.replace("hunter2", "***").replace("s3cret", "***")},
        )

    before, same, after = (bench.action(step(secret)) for secret in ("hunter2", "hunter2", "s3cret"))
    assert before.key == same.key != after.key
    assert "hunter2" not in repr([before.document, before.details()])
    assert bench.compare(before, after) == [
        ("parameter", "params PASSWORD (secret) changed"),
        ("environment", "environment: variable TOKEN changed"),
        ("interface", "argument 2 (secret) changed"),
    ]


class TestTwoCheckouts:
    def checkout(self, source: Path, target: Path, *, umask: int, seed: int) -> Path:
        """Copy a folder as another machine would have it: other times, permissions, and order of creation."""
        files = sorted(path for path in source.rglob("*") if path.is_file())
        random.Random(seed).shuffle(files)
        old = os.umask(umask)
        try:
            for place, path in enumerate(files):
                copy = target / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.touch()
                shutil.copyfile(path, copy)
                os.utime(copy, (seed + place, seed + place))
        finally:
            os.umask(old)
        return target / "steps"

    @pytest.mark.parametrize("code_scope", ["directory", "imports"])
    def test_of_one_tree_have_one_key(self, bench: Bench, tmp_path: Path, code_scope: str) -> None:
        for name in ("z.py", "a.py", "B.py", "sub/é.txt", "sub/e\u0301.txt", "sub/deep/x"):
            bench.write(name, name)
        project = bench.steps.parent
        step = replace(STEP, policy=ReusePolicy(code_scope=code_scope))
        checkouts = [
            self.checkout(project, tmp_path / "here", umask=0o022, seed=1),
            self.checkout(project, tmp_path / "some" / "where" / "else", umask=0o077, seed=1_000_000),
        ]
        keys = {bench.action(replace(step, directory=directory)).key for directory in checkouts}
        assert keys == {bench.action(step).key}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "bc"}, {"ab": "c"}),
        ({"a": "b", "c": "d"}, {"a": "bcd"}),
        ({"a/b": "x"}, {"a": "b x"}),
        ({"\u00e9": "x"}, {"e\u0301": "x"}),
        ({"x": "\u00e9"}, {"x": "e\u0301"}),
        ({"a": "", "b": "x"}, {"a": "x", "b": ""}),
        ({"a": ""}, {}),
    ],
)
def test_names_and_contents_of_files_are_framed(
    bench: Bench, one: dict[str, str], other: dict[str, str]
) -> None:
    def key(files: dict[str, str], place: str) -> str:
        folder = bench.root / place
        for name, text in {"train.py": "", "shared/util.py": "", **files}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return bench.action(replace(STEP, directory=folder, hash_paths=())).key

    assert key(one, "one") != key(other, "other")


class TestFiveStepsThatShareADirectory:
    """Editing the fourth step's script runs the fourth again; nothing above it, and what is below only if its data changes."""

    SCRIPTS = ("prepare.py", "clean.py", "train.py", "evaluate.py", "publish.py")

    @pytest.fixture
    def chain(self, bench: Bench) -> Bench:
        for script in self.SCRIPTS:
            bench.write(script, "import common\n")
        bench.write("common.py", "")
        bench.write("conf/a.yaml", "")
        return bench

    def actions(self, bench: Bench, **policy: Any) -> dict[str, Action]:
        chosen = ReusePolicy(**policy)
        return {
            script: bench.action(replace(STEP, name=script, script=script, policy=chosen, hash_paths=()))
            for script in self.SCRIPTS
        }

    def rerun(self, before: dict[str, Action], after: dict[str, Action]) -> list[str]:
        return [script for script in self.SCRIPTS if before[script].key != after[script].key]

    def test_with_imports_only_that_one(self, chain: Bench) -> None:
        before = self.actions(chain, code_scope="imports")
        chain.write("evaluate.py", "import common\nprint('better')\n")
        after = self.actions(chain, code_scope="imports")
        assert self.rerun(before, after) == ["evaluate.py"]
        assert chain.compare(before["evaluate.py"], after["evaluate.py"]) == [
            ("code", "steps/evaluate.py changed")
        ]

    def test_with_imports_what_they_share_counts_for_all(self, chain: Bench) -> None:
        before = self.actions(chain, code_scope="imports")
        chain.write("common.py", "x = 1\n")
        assert self.rerun(before, self.actions(chain, code_scope="imports")) == list(self.SCRIPTS)

    def test_with_imports_declared_files_count_for_all(self, chain: Bench) -> None:
        policy: dict[str, Any] = {"code_scope": "imports", "code_files": ["conf/*.yaml"]}
        before = self.actions(chain, **policy)
        chain.write("conf/a.yaml", "x: 1")
        after = self.actions(chain, **policy)
        assert self.rerun(before, after) == list(self.SCRIPTS)
        assert chain.compare(before["train.py"], after["train.py"]) == [("code", "steps/conf/a.yaml changed")]

    def test_with_the_directory_every_file_counts_for_all(self, chain: Bench) -> None:
        before = self.actions(chain)
        chain.write("conf/a.yaml", "x: 1")
        assert self.rerun(before, self.actions(chain)) == list(self.SCRIPTS)

    def test_with_a_dynamic_import_the_directory_counts_and_the_source_says_why(self, chain: Bench) -> None:
        chain.write("clean.py", "import importlib\nimportlib.import_module(name)\n")
        before = self.actions(chain, code_scope="imports")
        chain.write("evaluate.py", "")
        assert self.rerun(before, self.actions(chain, code_scope="imports")) == ["clean.py", "evaluate.py"]
        source = DirectorySource.scan(
            chain.workspace,
            chain.steps,
            (),
            StatCache(None),
            1 << 20,
            script="clean.py",
            code_scope="imports",
        )
        assert source.scope_note == (
            'all files count in spite of code_scope="imports": clean.py uses import_module in line 2'
        )

    def test_frozen_code_counts_as_it_did_in_the_directory(self, chain: Bench) -> None:
        source = DirectorySource.scan(
            chain.workspace,
            chain.steps,
            ("../shared/util.py",),
            StatCache(None),
            1 << 20,
            script="evaluate.py",
            code_scope="imports",
        )
        source.upload(lambda _: None)
        frozen = SnapshotSource(source.digest, chain.workspace, source.unrelated)
        assert frozen.code().digest == source.code().digest
        assert [item.path for item in frozen.code().files] == [
            "common.py",
            "evaluate.py",
            "hash_paths:../shared/util.py",
        ]
