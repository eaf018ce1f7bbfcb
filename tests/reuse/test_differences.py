"""What changed since a step last ran, said so that a person can act on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from airflow_azureml.reuse.action import Action, IdentityClass, InputIdentity
from airflow_azureml.reuse.actions import ActionStore, Earlier
from airflow_azureml.reuse.difference import MAX_LISTED, Difference
from airflow_azureml.reuse.differences import differences, ignored_changes, nearest
from airflow_azureml.reuse.reasons import ReasonCode
from airflow_azureml.runtime.exceptions import ObjectNotFound
from airflow_azureml.workspace.memory_store import MemoryStore

Build = Callable[..., Action]

CODE = {
    "c0de": {"train.py": "1", "gone.py": "1", "kept.py": "1"},
    "c0df": {"train.py": "2", "new.py": "1", "kept.py": "1"},
    "many": {f"f{number}.py": "1" for number in range(8)},
    "same": {"train.py": "1", "gone.py": "1", "kept.py": "1"},
    "hash": {"train.py": "1", "gone.py": "1", "kept.py": "1", "hash_paths:../lib/x.py": "1"},
    "both": {"train.py": "2", "gone.py": "1", "kept.py": "1", "hash_paths:train.py": "2"},
}


def files_of(code: str) -> Mapping[str, str]:
    if code not in CODE:
        raise ObjectNotFound(code)
    return CODE[code]


def earlier(action: Action, run_id: str = "run-1") -> Earlier:
    """Return an action as the workspace gives it back."""
    actions = ActionStore(MemoryStore())
    actions.save(action, "family", run_id)
    return next(iter(actions.recent("family")))


def compare(before: Action, after: Action, label: str = "") -> list[Difference]:
    return differences(earlier(before), after, files_of=files_of, source_label=label)


def raw(**changes: Any) -> InputIdentity:
    values: dict[str, Any] = {
        "name": "raw",
        "mode": "mount",
        "identity_class": IdentityClass.CONTENT,
        "identity": "da7a",
        "files": {"a.csv": "1"},
    }
    return InputIdentity(**{**values, **changes})


OUTPUT = {"name": "model", "kind": "pipeline_data", "datastore": "blob", "path": None}

ONE_CHANGE: list[tuple[dict[str, Any], str, str]] = [
    ({"script": "other.py"}, "code", "script: train.py → other.py"),
    ({"code": "c0df"}, "code", "steps/train.py changed; steps/new.py is new; steps/gone.py is gone"),
    (
        {"code": "many"},
        "code",
        (
            "steps/f0.py, steps/f1.py, steps/f2.py, steps/f3.py, steps/f4.py and 3 more are new; "
            "steps/gone.py, steps/kept.py, steps/train.py are gone"
        ),
    ),
    ({"code": "hash"}, "code", "lib/x.py is new"),
    ({"code": "same"}, "code", "the source directory changed"),
    ({"code": "lost"}, "code", "the source directory steps changed"),
    ({"parameters": {"alpha": 0.5}}, "parameter", "parameter epochs: 3 → (none)"),
    ({"parameters": {"alpha": 0.7, "epochs": 3}}, "parameter", "parameter alpha: 0.5 → 0.7"),
    ({"parameters": {"alpha": 0.5, "epochs": "3"}}, "parameter", "parameter epochs: 3 → '3'"),
    ({"parameters": {"alpha": 0.5, "epochs": 3.0}}, "parameter", "parameter epochs: 3 → 3.0"),
    ({"parameters": {"alpha": 0.5, "epochs": None}}, "parameter", "parameter epochs: 3 → None"),
    (
        {"parameters": {"alpha": 0.5, "epochs": "x" * 500}},
        "parameter",
        f"parameter epochs: 3 → '{'x' * 79}…",
    ),
    ({"variables": {"lr": {"text": "0.2"}}}, "parameter", "params lr: '0.1' → '0.2'"),
    ({"variables": {}}, "parameter", "params lr: '0.1' → (none)"),
    (
        {"variables": {"lr": {"parameter": "alpha"}}},
        "parameter",
        "params lr: '0.1' → the value of parameter alpha",
    ),
    ({"inputs": [raw(identity="new", files={"a.csv": "2"})]}, "input", "input raw: a.csv changed"),
    (
        {"inputs": [raw(identity="new", files={"b.csv": "1"}, producer="prepare")]},
        "input",
        "input raw (written by prepare): b.csv is new; a.csv is gone",
    ),
    (
        {"inputs": [raw(identity="new")]},
        "input",
        "input raw: its folders or permissions changed",
    ),
    ({"inputs": [raw(identity="new", files=None)]}, "input", "input raw changed"),
    (
        {"inputs": [raw(identity="0x8", identity_class=IdentityClass.ETAG, files=None)]},
        "input",
        "input raw is known by its etag now, before by its content",
    ),
    ({"inputs": [raw(), raw(name="more")]}, "input", "input more is new"),
    ({"inputs": []}, "input", "input raw is gone"),
    ({"inputs": [raw(mode="download")]}, "interface", "input raw: mode: mount → download"),
    ({"inputs": [raw(path_on_compute="here")]}, "interface", "input raw: path_on_compute: (none) → here"),
    ({"inputs": [raw(name="cooked")]}, "interface", "input raw is called cooked now"),
    ({"environment": "e1e1e1e1e1"}, "environment", "the environment changed (e0e0e0e0 → e1e1e1e1)"),
    ({"outputs": [{**OUTPUT, "datastore": "lake"}]}, "interface", "output model: datastore: blob → lake"),
    ({"outputs": [{**OUTPUT, "path": "x"}]}, "interface", "output model: path: (none) → x"),
    ({"outputs": []}, "interface", "output model is gone"),
    ({"outputs": [OUTPUT, {**OUTPUT, "name": "report"}]}, "interface", "output report is new"),
    ({"version": "2"}, "interface", "version: (none) → 2"),
    ({"step_type": "DatabricksStep"}, "interface", "step type: PythonScriptStep → DatabricksStep"),
    ({"step_version": 2}, "interface", "how this version of airflow-azureml runs such steps: 1 → 2"),
    ({"scope": {"pipeline": "diabetes"}}, "interface", "reuse scope: workspace → pipeline diabetes"),
    ({"salt": "s"}, "interface", "the workspace's salt changed"),
]


@pytest.mark.parametrize(("changes", "code", "sentence"), ONE_CHANGE)
def test_one_change_is_one_difference(
    action: Build, changes: dict[str, Any], code: str, sentence: str
) -> None:
    found = compare(action(), action(**changes), "steps")
    assert [(item.code.value, item.what) for item in found] == [(code, sentence)]


ALPHA, BETA, RAW, MODEL = {"text": "--alpha"}, {"text": "--beta"}, {"input": "raw"}, {"output": "model"}
VALUE = {"parameter": "alpha"}

ARGUMENTS: list[tuple[list[Any], list[str]]] = [
    ([BETA, VALUE, RAW, MODEL], ["argument 1: '--alpha' → '--beta'"]),
    ([ALPHA, VALUE, MODEL, RAW][:3], ["argument 3 is gone: <input raw>"]),
    ([ALPHA, VALUE, {"text": "-v"}, RAW, MODEL], ["argument 3 is new: '-v'"]),
    ([ALPHA, {"parameter": "beta"}, RAW, MODEL], ["argument 2: <parameter alpha> → <parameter beta>"]),
    (
        [ALPHA, VALUE, {"parts": [RAW, {"text": "/x.csv"}]}, MODEL],
        ["argument 3: <input raw> → <input raw>/x.csv"],
    ),
    (
        [VALUE, ALPHA, RAW, MODEL],
        [
            (
                "the order of the arguments: --alpha <parameter alpha> <input raw> <output model> → "
                "<parameter alpha> --alpha <input raw> <output model>"
            )
        ],
    ),
    (
        [],
        [
            "argument 1 is gone: '--alpha'",
            "argument 2 is gone: <parameter alpha>",
            "argument 3 is gone: <input raw>",
            "argument 4 is gone: <output model>",
        ],
    ),
]


@pytest.mark.parametrize(("arguments", "sentences"), ARGUMENTS)
def test_arguments_are_compared_by_position(
    action: Build, arguments: list[Any], sentences: list[str]
) -> None:
    found = compare(action(), action(arguments=arguments))
    assert [item.what for item in found] == sentences
    assert {item.code for item in found} == {ReasonCode.INTERFACE}


def test_long_values_show_where_they_differ(action: Build) -> None:
    one, other = (action(parameters={"query": f"{'x' * 300}{end}{'y' * 300}"}) for end in "ab")
    assert compare(one, other)[0].what == (
        f"parameter query: …{'x' * 20}a{'y' * 59}… → …{'x' * 20}b{'y' * 59}…"
    )


def test_values_that_look_alike_are_told_apart_by_their_types(action: Build) -> None:
    one, other = action(parameters={"x": {"a": 1}}), action(parameters={"x": "{'a': 1}"})
    assert compare(one, other)[0].what == "parameter x: {'a': 1} → \"{'a': 1}\""

    class Text(str):
        __slots__ = ()

    assert compare(action(parameters={"x": 1}), action(parameters={"x": Text("1")}))[0].what == (
        "parameter x: 1 (int) → 1 (Text)"
    )


def test_what_reads_back_otherwise_is_no_difference(action: Build) -> None:
    one = action(parameters={"x": (1, 2), "name": "\udc80"})
    assert compare(one, action(parameters={"x": (1, 2), "name": "\udc80"})) == []


def test_of_several_changes_all_are_told_the_most_telling_first(action: Build) -> None:
    found = compare(
        action(), action(version="2", environment="e1", code="c0df", parameters={"alpha": 0.6}, inputs=[])
    )
    assert [item.code.value for item in found] == [
        "code",
        "parameter",
        "parameter",
        "input",
        "environment",
        "interface",
    ]


def test_data_and_the_way_it_is_given_are_two_differences(action: Build) -> None:
    found = compare(action(), action(inputs=[raw(identity="new", files={}, mode="download")]))
    assert [item.what for item in found] == [
        "input raw: a.csv is gone",
        "input raw: mode: mount → download",
    ]


def test_another_producer_is_named(action: Build) -> None:
    one = action(inputs=[raw(producer="prepare")])
    other = action(inputs=[raw(producer="clean", identity="new", files={"a.csv": "2"})])
    assert compare(one, other)[0].what == ("input raw (written by clean, before by prepare): a.csv changed")


def test_a_dataset_that_reads_the_same_files_in_another_way(action: Build) -> None:
    one, other = (action(inputs=[raw(kind="dataset", identity=identity)]) for identity in ("1", "2"))
    assert compare(one, other)[0].what == "input raw: its definition changed"


def test_a_file_that_counts_twice_is_named_once(action: Build) -> None:
    assert compare(action(), action(code="both"))[0].files == {
        "added": ["train.py"],
        "removed": [],
        "changed": ["train.py"],
    }


class TestNamesThatNobodyChose:
    def named(self, action: Build, name: str, **changes: Any) -> Action:
        source = raw(name=name, **changes)
        return action(inputs=[source], arguments=[{"input": name}], aliases={name: "#in0"})

    def test_are_compared_by_place(self, action: Build) -> None:
        assert compare(self.named(action, "auto_1"), self.named(action, "auto_2")) == []

    def test_are_said_as_they_are_in_this_run(self, action: Build) -> None:
        other = self.named(action, "auto_3", identity="new", files={"a.csv": "2"})
        assert compare(self.named(action, "auto_1"), other)[0].what == "input auto_3: a.csv changed"

    def test_are_places_where_this_run_has_none(self, action: Build) -> None:
        found = compare(self.named(action, "auto_1"), action(inputs=[], arguments=[]))
        assert [item.what for item in found] == [
            "input number 1 is gone",
            "argument 1 is gone: <input number 1>",
        ]


class TestAsADocument:
    def test_with_values(self, action: Build) -> None:
        found = compare(action(), action(parameters={"alpha": 0.7, "epochs": 3}))
        assert [item.to_document() for item in found] == [
            {"code": "parameter", "what": "parameter alpha: 0.5 → 0.7", "before": "0.5", "after": "0.7"}
        ]

    def test_with_files(self, action: Build) -> None:
        found = compare(action(), action(code="c0df"))
        assert found[0].to_document()["files"] == {
            "added": ["new.py"],
            "removed": ["gone.py"],
            "changed": ["train.py"],
        }

    def test_of_many_files_lists_some_and_counts_the_rest(self, action: Build) -> None:
        many = {f"{number:05}": "1" for number in range(1000)}
        found = compare(action(), action(inputs=[raw(identity="new", files=many)]))
        document = found[0].to_document()
        assert len(document["files"]["added"]) == MAX_LISTED
        assert document["more"] == {"added": 1000 - MAX_LISTED, "removed": 0, "changed": 0}


class TestTheNearestEarlierAction:
    def near(self, *actions: Action) -> list[Earlier]:
        """Return earlier actions, the first given the newest."""
        return [earlier(action, f"run-{len(actions) - place}") for place, action in enumerate(actions)]

    def test_is_the_one_with_most_in_common(self, action: Build) -> None:
        known = self.near(
            action(code="c0df", version="2", parameters={}),
            action(code="c0df"),
            action(code="c0df", version="2"),
        )
        found = nearest(known, action())
        assert found is not None
        assert found.run_id == "run-2"

    def test_counts_single_parameters_inputs_and_arguments(self, action: Build) -> None:
        known = self.near(
            action(parameters={"alpha": 0.1, "epochs": 1}, arguments=[ALPHA]),
            action(parameters={"alpha": 0.1, "epochs": 3}, arguments=[ALPHA, VALUE, RAW]),
        )
        found = nearest(known, action())
        assert found is not None
        assert found.run_id == "run-1"

    def test_is_the_newest_of_equals(self, action: Build) -> None:
        found = nearest(self.near(action(version="2"), action(version="3")), action())
        assert found is not None
        assert found.run_id == "run-2"

    def test_is_none_without_any(self, action: Build) -> None:
        assert nearest([], action()) is None

    @pytest.mark.parametrize("document", [{}, {"schema": 1}, [], None, {"parameters": None, "inputs": [1]}])
    def test_is_rather_one_that_is_intact(self, action: Build, document: Any) -> None:
        damaged = Earlier("k", "run-9", document, {})
        found = nearest([damaged, *self.near(action(version="2"))], action())
        assert found is not None
        assert found.run_id == "run-1"


def test_keys_of_another_format_are_the_only_difference(action: Build) -> None:
    old = Earlier("k", "run-1", {"schema": 1}, {})
    found = differences(old, action(), files_of=files_of)
    assert [item.what for item in found] == ["the format of reuse keys: 1 → 2"]


def test_what_differs_in_ignored_parameters_alone_is_said(action: Build) -> None:
    one, other = (action(ignored={"build_id": number, "who": "me"}) for number in (6, 7))
    assert one.key == other.key
    assert compare(one, other) == []
    assert ignored_changes(earlier(one).details, other) == ["ignored build_id: 6 → 7"]
    assert ignored_changes(earlier(one).details, one) == []


def test_differences_are_json(action: Build) -> None:
    found = compare(action(), action(version="2", environment="e1", code="c0df", parameters={}, inputs=[]))
    documents = [item.to_document() for item in found]
    assert json.loads(json.dumps(documents)) == documents
