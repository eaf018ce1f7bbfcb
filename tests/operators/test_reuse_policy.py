"""Reuse policies of steps and pipelines, and what the trigger form asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import Pipeline, PipelineParameter, PythonScriptStep, ReusePolicy
from airflow_azureml.operators.controls import is_regenerated, run_controls
from airflow_azureml.reuse.controls import CONTROL_NAMES, RunControls
from airflow_azureml.runtime.exceptions import DefinitionError, UserErrorException


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "main.py").write_text("")
    return str(tmp_path)


def step(source: str, name: str = "train", **arguments: Any) -> PythonScriptStep:
    return PythonScriptStep(script_name="main.py", name=name, source_directory=source, **arguments)


class TestAStep:
    def test_has_its_own_policy_its_pipelines_or_none(self, source: str) -> None:
        week = ReusePolicy(ttl="7d")
        day = ReusePolicy(ttl="1d")
        with Pipeline("p", reuse_policy=week, reuse_gate="triggerer"):
            own = step(source, "own", reuse_policy=day, reuse_gate="worker")
            shared = step(source, "shared")
        with Pipeline("q"):
            plain = step(source)
        assert (own.effective_policy, own.effective_gate) == (day, "worker")
        assert (shared.effective_policy, shared.effective_gate) == (week, "triggerer")
        assert (plain.effective_policy, plain.effective_gate) == (ReusePolicy(), "worker")

    def test_is_refused_with_a_gate_that_does_not_exist(self, source: str) -> None:
        with Pipeline("p") as pipeline:
            step(source, reuse_gate="scheduler")
        with pytest.raises(
            DefinitionError, match="reuse_gate is 'scheduler'; expected one of worker, triggerer"
        ):
            pipeline.validate()

    def test_is_refused_when_it_ignores_what_it_does_not_use(self, source: str) -> None:
        with Pipeline("p") as pipeline:
            alpha = PipelineParameter("alpha", 0.5)
            step(source, arguments=[alpha], reuse_policy=ReusePolicy(ignore_params=["alhpa"]))
        with pytest.raises(
            DefinitionError, match="ignores 'alhpa', which the step does not use; it uses alpha"
        ):
            pipeline.validate()

    def test_keeps_its_policy_in_a_frozen_pipeline(self, source: str) -> None:
        with Pipeline("p") as pipeline:
            step(source, reuse_policy=ReusePolicy(ttl="7d", verify="size"))
        definition = pipeline.definition()
        json.dumps(definition.to_document())
        (rebuilt,) = Pipeline.from_definition(definition).steps
        assert rebuilt.effective_policy == ReusePolicy(ttl="7d", verify="size")


class TestARun:
    @pytest.fixture
    def pipeline(self, source: str) -> Pipeline:
        with Pipeline("p") as pipeline:
            prepare = step(source, "prepare")
            train = step(source, "train")
            report = step(source, "report")
            prepare >> train
        pipeline.validate()
        assert report.upstream_task_ids == set()
        return pipeline

    def controls(self, pipeline: Pipeline, task_id: str, **params: Any) -> RunControls:
        return run_controls(pipeline.get_task(task_id), {"params": params})  # type: ignore[typeddict-item]

    def test_can_be_asked_in_the_form(self, pipeline: Pipeline) -> None:
        assert set(CONTROL_NAMES) <= set(pipeline.params)
        again = pipeline.params.get_param("regenerate_outputs")
        assert again.schema["examples"] == ["*", "prepare", "train", "report"]
        for name in CONTROL_NAMES:
            assert pipeline.params.get_param(name).schema["section"] == "Reuse"
            pipeline.params.get_param(name).resolve()

    @pytest.mark.parametrize(
        ("params", "regenerated"),
        [
            ({}, set()),
            ({"regenerate_outputs": True}, {"prepare", "train", "report"}),
            ({"regenerate_outputs": ["prepare"]}, {"prepare"}),
            ({"regenerate_outputs": ["prepare"], "regenerate_downstream": True}, {"prepare", "train"}),
        ],
    )
    def test_regenerates_what_it_names(
        self, pipeline: Pipeline, params: dict[str, Any], regenerated: set[str]
    ) -> None:
        found = {
            task.task_id
            for task in pipeline.steps
            if is_regenerated(task, self.controls(pipeline, task.task_id, **params))
        }
        assert found == regenerated

    def test_that_names_a_step_there_is_not_is_refused(self, pipeline: Pipeline) -> None:
        with pytest.raises(UserErrorException, match="names 'trian', which the pipeline does not have"):
            self.controls(pipeline, "train", regenerate_outputs=["trian"])

    def test_has_the_pipelines_own_parameters_first(self, source: str) -> None:
        with Pipeline("p") as pipeline:
            step(source, arguments=[PipelineParameter("reuse", "mine")])
        pipeline.validate()
        assert pipeline.params["reuse"] == "mine"
        assert self.controls(pipeline, "train", reuse="mine") == RunControls()
