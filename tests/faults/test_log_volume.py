"""A script that prints 1 GiB: it ends in the right state, soon, in little memory, and its log can still be opened."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import FaultyAirflow

pytestmark = pytest.mark.airflow

MIB = 1 << 20


@pytest.mark.starts("talks")
def test_a_gibibyte_of_output(airflow: "FaultyAirflow") -> None:
    run = airflow.run("talks")

    assert run.ended() == "failed"

    (log,) = (airflow.home.path / "logs" / "dag_id=talks").rglob("attempt=1.log")
    assert log.stat().st_size < 100 * MIB
    with log.open("rb") as file:
        file.seek(-2 * MIB, 2)
        end = file.read().decode()
    assert "bytes are left out here; the last lines were:" in end
    assert "RuntimeError: after all these words" in end
    assert end.index("RuntimeError: after all these words") < end.index("script talks.py: exit code 1")
    (kept,) = run.step()["logs"]
    assert kept["size_bytes"] > 1023 * MIB
    run.wait_for_record("Failed")
    airflow.assert_nothing_runs(run.step_id())
