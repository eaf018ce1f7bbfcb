"""The few calls of Airflow's REST API that the demonstration makes."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from airflow_azureml.demo.home import AirflowHome

USER = "admin"
_POLL_S = 0.5
_HEALTH_CHECK_S = 10.0
# A busy machine may keep a service from giving a sign of life for a while.
_UNHEALTHY_LIMIT_S = 180.0
# Airflow's first answers can take long on a small machine: it imports as it goes.
_REQUEST_TIMEOUT_S = 120.0
_TRIES = 5
_SERVICES = ("metadatabase", "scheduler", "dag_processor", "triggerer")


class AirflowProblem(Exception):
    """Airflow does not do what the demonstration waits for; the message says what."""


class AirflowRest:
    """Airflow's REST API, as the user ``admin``.

    :param home: the home whose API server is asked.
    :param check: called between requests; raises when waiting has become pointless.
    :param transport: how requests travel, for tests.
    """

    def __init__(
        self, home: AirflowHome, check: Callable[[], None], transport: httpx.BaseTransport | None = None
    ) -> None:
        self._home = home
        self._check = check
        # Never through a proxy: the server is on this machine.
        self._client = httpx.Client(
            base_url=home.url, timeout=_REQUEST_TIMEOUT_S, trust_env=False, transport=transport
        )

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def wait_for_health(self, limit_s: float, on_change: Callable[[str], None]) -> None:
        """Return when every service of Airflow says that it is healthy, telling the name of each that becomes so."""
        told: set[str] = set()

        def healthy() -> bool:
            for service in sorted(self._healthy_services() - told):
                told.add(service)
                on_change(service)
            return len(told) == len(_SERVICES)

        # First, because it takes a while and the other services are not up yet either.
        self._wait("Airflow's API server to answer", limit_s, self._answers_tasks)
        on_change("api_server")
        self._wait("Airflow's services to become healthy", limit_s, healthy)

    def log_in(self) -> None:
        """Get a token with the password that Airflow made up."""
        answer = self._client.post("/auth/token", json={"username": USER, "password": self.password()})
        answer.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def password(self) -> str:
        """Return the password of the user ``admin``."""
        password: str = json.loads(self._home.password_file.read_text(encoding="utf-8"))[USER]
        return password

    def wait_for_dag(self, dag_id: str, limit_s: float) -> None:
        """Return when Airflow has read the DAG; raises with the import error if it cannot be read."""
        self._wait(f"Airflow to read DAG {dag_id!r}", limit_s, lambda: self._has_dag(dag_id))

    def trigger(self, dag_id: str, parameters: Mapping[str, Any]) -> str:
        """Start a run of the DAG and return its id."""
        # An id of our own: when an answer comes too late the run is there already, and asking again must not start another one.
        run_id = f"manual__{datetime.now(UTC).isoformat()}_{secrets.token_hex(4)}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(parameters)}
        answer = self.request("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        if answer.status_code != httpx.codes.CONFLICT:
            answer.raise_for_status()
        return run_id

    def follow(
        self, dag_id: str, run_id: str, limit_s: float, on_change: Callable[[dict[str, Any]], None]
    ) -> str:
        """Return the state in which the run ends, telling every change of a task instance on the way."""
        states: dict[tuple[str, int], str | None] = {}
        state = ""
        health = HealthWatch(self._healthy_services)

        def ended() -> bool:
            nonlocal state
            health.check()
            state = self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"]
            for task in self.task_instances(dag_id, run_id):
                key = (task["task_id"], task["map_index"])
                if states.get(key) != task["state"]:
                    states[key] = task["state"]
                    on_change(task)
            return state in ("success", "failed")

        self._wait(f"run {run_id!r} to end", limit_s, ended)
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        found: list[dict[str, Any]] = self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")[
            "task_instances"
        ]
        return found

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request that may be sent twice; again when Airflow is too busy to answer in time.

        :param options: as for ``httpx.Client.request``.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._client.request(method, path, **options)
            except httpx.TimeoutException:
                self._check()
        return self._client.request(method, path, **options)

    def _get(self, path: str) -> Any:
        answer = self.request("GET", path)
        answer.raise_for_status()
        return answer.json()

    def _answers_tasks(self) -> bool:
        """Whether the API for tasks answers. It is put together at its first request; the first task would wait for it."""
        try:
            return self._client.get("/execution/health").is_success
        except httpx.HTTPError:
            return False

    def _healthy_services(self) -> set[str]:
        try:
            health = self._get("/api/v2/monitor/health")
        except httpx.HTTPError:
            return set()
        return {service for service in _SERVICES if health[service]["status"] == "healthy"}

    def _has_dag(self, dag_id: str) -> bool:
        answer = self._client.get(f"/api/v2/dags/{dag_id}")
        if answer.status_code == httpx.codes.OK:
            return True
        errors = self._get("/api/v2/importErrors")["import_errors"]
        if errors:
            raise AirflowProblem(f"Airflow cannot read {errors[0]['filename']}:\n{errors[0]['stack_trace']}")
        return False

    def _wait(self, what: str, limit_s: float, happened: Callable[[], bool]) -> None:
        until = time.monotonic() + limit_s
        while not happened():
            self._check()
            if time.monotonic() > until:
                raise AirflowProblem(f"Waited {limit_s:.0f} s for {what}")
            time.sleep(_POLL_S)


class HealthWatch:
    """Notices that a service has died: ``airflow standalone`` goes on without it.

    :param healthy_services: returns the names of the services that are healthy now.
    """

    def __init__(self, healthy_services: Callable[[], set[str]]) -> None:
        self._healthy_services = healthy_services
        now = time.monotonic()
        self._checked = now
        self._seen_healthy = dict.fromkeys(_SERVICES, now)

    def check(self) -> None:
        """Raise ``AirflowProblem`` if a service has been unhealthy for long; asks now and then, however often called."""
        now = time.monotonic()
        if now - self._checked < _HEALTH_CHECK_S:
            return
        self._checked = now
        self._seen_healthy.update(dict.fromkeys(self._healthy_services(), now))
        for service, seen in self._seen_healthy.items():
            if now - seen > _UNHEALTHY_LIMIT_S:
                raise AirflowProblem(f"Airflow's {service} has given no sign of life for {now - seen:.0f} s")
