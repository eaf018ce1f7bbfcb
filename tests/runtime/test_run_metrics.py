"""Metrics of a run, inside a step and outside any."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import Run
from airflow_azureml.runtime.exceptions import AzureMLException, UserErrorException


@pytest.fixture
def run(place: Any) -> Run:
    return Run.get_context()


def test_a_value_logged_once_is_that_value(run: Run) -> None:
    run.log("accuracy", 0.5)

    assert run.get_metrics() == {"accuracy": 0.5}


def test_a_value_logged_again_makes_a_list(run: Run) -> None:
    for value in (3, 2, 1):
        run.log("loss", value)

    assert run.get_metrics("loss") == {"loss": [3, 2, 1]}


def test_steps_give_the_order(run: Run) -> None:
    run.log("loss", 1, step=20)
    run.log("loss", 3, step=10)

    assert run.get_metrics() == {"loss": [3, 1]}


def test_step_is_given_for_all_values_or_for_none(run: Run) -> None:
    run.log("loss", 1, step=1)

    with pytest.raises(UserErrorException, match="step for all"):
        run.log("loss", 2)


@pytest.mark.parametrize("value", [[1], range(3), (x for x in [1])])
def test_log_takes_one_value(run: Run, value: object) -> None:
    with pytest.raises(UserErrorException, match="use log_list"):
        run.log("loss", value)


def test_text_bool_and_not_finite_numbers(run: Run) -> None:
    run.log("model", "ridge")
    run.log("converged", True)
    run.log("worst", float("inf"))
    run.log("undefined", float("nan"))

    metrics = run.get_metrics()

    assert metrics["model"] == "ridge"
    assert metrics["converged"] is True
    assert metrics["worst"] == math.inf
    assert math.isnan(metrics["undefined"])


def test_unknown_types_are_kept_as_their_repr(run: Run) -> None:
    run.log("what", {"a": 1})

    assert run.get_metrics() == {"what": "{'a': 1}"}


def test_lists_are_joined(run: Run) -> None:
    run.log_list("sizes", [1, 2])
    run.log_list("sizes", (3,))
    run.log_list("none", [])

    assert run.get_metrics() == {"sizes": [1, 2, 3], "none": []}


def test_a_long_list_survives(run: Run) -> None:
    values = list(range(200_000))

    run.log_list("many", values)

    assert run.get_metrics() == {"many": values}


def test_one_row_reads_as_values_more_as_lists(run: Run) -> None:
    run.log_row("fold", index=0, score=0.5)
    assert run.get_metrics() == {"fold": {"index": 0, "score": 0.5}}

    run.log_row("fold", index=1, note="late")
    assert run.get_metrics() == {"fold": {"index": [0, 1], "score": [0.5, None], "note": [None, "late"]}}


def test_tables(run: Run) -> None:
    run.log_table("curve", {"x": [1, 2], "y": [3, 4]})
    run.log_table("curve", {"x": [5], "y": [6]})

    assert run.get_metrics() == {"curve": {"x": [1, 2, 5], "y": [3, 4, 6]}}


def test_bad_tables_and_rows(run: Run) -> None:
    with pytest.raises(AzureMLException, match="one length"):
        run.log_table("curve", {"x": [1, 2], "y": [3]})
    with pytest.raises(AzureMLException, match="use log_table"):
        run.log_row("curve", x=[1, 2])
    assert run.get_metrics() == {}


def test_an_image_from_a_file_or_a_plot_is_a_file_of_the_run(run: Run, tmp_path: Path) -> None:
    class Plot:
        def savefig(self, target: io.BytesIO, **_: object) -> None:
            target.write(b"drawn")

    image = tmp_path / "roc.jpg"
    image.write_bytes(b"image")

    run.log_image("roc", path=str(image))
    run.log_image("roc", plot=Plot())
    run.log_image("roc", plot=Plot())

    assert run.get_metrics() == {"roc": ["roc.jpg", "roc.png", "roc_2.png"]}
    run.download_file("roc_2.png", str(tmp_path / "back.png"))
    assert (tmp_path / "back.png").read_bytes() == b"drawn"


@pytest.mark.parametrize("arguments", [{}, {"path": "a.png", "plot": object()}])
def test_an_image_is_either_path_or_plot(run: Run, arguments: dict[str, Any]) -> None:
    with pytest.raises(AzureMLException, match="either path or plot"):
        run.log_image("roc", **arguments)


@pytest.mark.parametrize("kind", ["confusion_matrix", "accuracy_table", "residuals", "predictions"])
def test_charts_are_dicts_or_json(run: Run, kind: str) -> None:
    value = {"schema_type": kind, "schema_version": "v1", "data": {"x": [1, 2]}}

    getattr(run, "log_" + kind)("first", value)
    getattr(run, "log_" + kind)(
        "second", '{"schema_type": "x", "schema_version": "v1", "data": {"nan": NaN}}'
    )

    assert run.get_metrics()["first"] == value
    assert run.get_metrics()["second"]["data"] == {"nan": "NaN"}


@pytest.mark.parametrize("value", ["{", "[]", {"schema_type": "x"}, 5])
def test_other_charts_are_the_users_error(run: Run, value: object) -> None:
    with pytest.raises(UserErrorException, match="log_residuals"):
        run.log_residuals("r", value)


def test_kinds_do_not_mix(run: Run) -> None:
    run.log("loss", 1)

    with pytest.raises(UserErrorException, match="is a scalar already and cannot be a table"):
        run.log_row("loss", x=1)


def test_fifty_names(run: Run) -> None:
    for number in range(50):
        run.log(f"metric {number}", number)

    with pytest.raises(UserErrorException, match="50 metrics already"):
        run.log("one more", 1)
    run.log("metric 0", 2)


@pytest.mark.parametrize("name", ["", "x" * 256, 5])
def test_names_are_short_texts(run: Run, name: Any) -> None:
    with pytest.raises(UserErrorException, match="name"):
        run.log(name, 1)
