"""What the demonstration asks of Airflow's REST API, and what it makes of the answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_azureml.demo import rest as module
from airflow_azureml.demo.home import AirflowHome
from airflow_azureml.demo.rest import AirflowProblem, AirflowRest

Answers = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL_S", 0)


def client(tmp_path: Path, answers: Answers, check: Callable[[], None] = lambda: None) -> AirflowRest:
    home = AirflowHome(tmp_path, 8080, (0, 0))
    home.password_file.write_text(json.dumps({"admin": "secret"}))
    return AirflowRest(home, check, httpx.MockTransport(answers))


def in_turn(*answers: Any) -> Answers:
    waiting = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={} if request.url.path == "/execution/health" else waiting.pop(0))

    return answer


def health(status: str) -> dict[str, Any]:
    healthy = {name: {"status": "healthy"} for name in ("metadatabase", "scheduler", "triggerer")}
    return {**healthy, "dag_processor": {"status": status}}


def test_it_waits_until_every_service_is_healthy(tmp_path: Path) -> None:
    told: list[str] = []

    client(tmp_path, in_turn(health("unhealthy"), health("healthy"))).wait_for_health(60, told.append)

    assert told == ["api_server", "metadatabase", "scheduler", "triggerer", "dag_processor"]


def test_a_server_that_does_not_answer_yet_is_asked_again(tmp_path: Path) -> None:
    calls = []

    def answers(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        if len(calls) == 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json=health("healthy"))

    client(tmp_path, answers).wait_for_health(60, print)

    assert [call.url.path for call in calls[:2]] == ["/execution/health"] * 2


def test_waiting_ends_when_its_limit_is_over(tmp_path: Path) -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=health("unhealthy"))

    with pytest.raises(AirflowProblem, match="Waited 0 s for Airflow's services to become healthy"):
        client(tmp_path, answers).wait_for_health(0, print)


def test_waiting_ends_when_airflow_does(tmp_path: Path) -> None:
    def stopped() -> None:
        raise RuntimeError("Airflow stopped")

    with pytest.raises(RuntimeError, match="Airflow stopped"):
        client(tmp_path, in_turn(health("unhealthy")), stopped).wait_for_health(60, print)


def test_the_password_becomes_a_token_for_what_follows(tmp_path: Path) -> None:
    seen: list[httpx.Request] = []

    def answers(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"access_token": "t", "dag_run_id": "r"})

    rest = client(tmp_path, answers)
    rest.log_in()

    run_id = rest.trigger("diabetes", {"alpha": 0.7})
    assert json.loads(seen[0].content) == {"username": "admin", "password": "secret"}
    assert seen[1].headers["Authorization"] == "Bearer t"
    assert json.loads(seen[1].content) == {
        "dag_run_id": run_id,
        "logical_date": None,
        "conf": {"alpha": 0.7},
    }


def test_a_run_whose_start_is_answered_too_late_is_not_started_twice(tmp_path: Path) -> None:
    started: list[str] = []

    def answers(request: httpx.Request) -> httpx.Response:
        run_id = json.loads(request.content)["dag_run_id"]
        if run_id in started:
            return httpx.Response(409)
        started.append(run_id)
        raise httpx.ReadTimeout("too late")

    assert [client(tmp_path, answers).trigger("diabetes", {})] == started


def test_a_dag_that_cannot_be_read_is_reported_at_once(tmp_path: Path) -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/importErrors"):
            error = {"filename": "diabetes.py", "stack_trace": "DefinitionError: …"}
            return httpx.Response(200, json={"import_errors": [error]})
        return httpx.Response(404)

    with pytest.raises(AirflowProblem, match=r"cannot read diabetes\.py:\nDefinitionError"):
        client(tmp_path, answers).wait_for_dag("diabetes", 60)


def test_following_tells_every_change_once(tmp_path: Path) -> None:
    def task(state: str | None) -> dict[str, Any]:
        return {"task_instances": [{"task_id": "train", "map_index": -1, "state": state}]}

    running, ended = {"state": "running"}, {"state": "success"}
    answers = in_turn(
        running, task(None), running, task("running"), running, task("running"), ended, task("success")
    )
    told = []

    state = client(tmp_path, answers).follow("diabetes", "r", 60, lambda change: told.append(change["state"]))

    assert state == "success"
    assert told == ["running", "success"]


def test_a_service_that_dies_ends_the_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEALTH_CHECK_S", 0)
    monkeypatch.setattr(module, "_UNHEALTHY_LIMIT_S", 0)

    def answers(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/health"):
            return httpx.Response(200, json=health("unhealthy"))
        return httpx.Response(200, json={"state": "running", "task_instances": []})

    with pytest.raises(AirflowProblem, match="Airflow's dag_processor has given no sign of life"):
        client(tmp_path, answers).follow("diabetes", "r", 60, print)
