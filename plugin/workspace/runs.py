"""Run records: what is known of every pipeline run and step run, and the one commit point of a step.

Layout::

    runs/<id>/record.json                          the record of a pipeline run or of one try of a step
    runs/<id>/artifacts/<name>                     what it uploaded or left in ./outputs
    runs/<id>/logs/<name>                          its logs
    runs/<pipeline id>/children/<step id>          empty: the step belongs to the pipeline run
    runs/<pipeline id>/commits/<number>/<step id>  empty: the step was about to be committed as the <number>th
    runs/<step id>/committed                       the step's outputs, registrations and effects count
    experiments/<experiment>/<pipeline id>         the run belongs to the experiment (name and id inside)

Pipeline record: ``schema``, ``kind`` ("pipeline"), ``id``, ``dag_id``, ``run_id`` (Airflow's),
``experiment``, ``name``, ``status`` (a word of ``RunStatus``), ``start``, ``end`` (ISO 8601, UTC, or null),
``cancel`` (null, or who stopped it: ``reason``, ``by``, ``time``), ``parameters`` (name to value),
``metrics`` (list), ``tags``, ``properties``, ``url``.

Step record: ``schema``, ``kind`` ("step"), ``id``, ``pipeline_run_id``, ``name``, ``step_type``, ``dag_id``,
``run_id``, ``task_id``, ``map_index``, ``try_number``, ``experiment``, ``status``, ``start``, ``end``,
``duration_s``, ``error``, ``reuse`` (the decision and its reason), ``reused_from`` (step run id or null),
``arguments`` (the rendered vector), ``inputs``, ``outputs``, ``metrics``, ``tags``, ``properties``,
``display_name``, ``artifacts``, ``logs``, ``snapshot``, ``git``, ``environment``, ``parent_effects``,
``registrations``, ``children``.

Metric: ``name``, ``kind``, ``value``, ``step`` (number or null), ``time``.

Parent effects, what a step said to its pipeline run: ``metrics`` (list), ``tags``, ``properties``, and
``removed_tags`` (names, taken away before ``tags`` are set).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.exceptions import (
    ConditionFailed,
    ObjectNotFound,
    StoreError,
    UserErrorException,
)
from airflow_azureml.workspace.documents import read_json, update_json, utc_now, write_json
from airflow_azureml.workspace.names import decode_name, encode_name
from airflow_azureml.workspace.store import check_key

if TYPE_CHECKING:
    from airflow_azureml.workspace.store import ObjectStore

Document = dict[str, Any]


class RunRecords:
    """Records of pipeline runs and step runs in one store.

    :param store: the workspace's store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def create_pipeline_run(self, document: Mapping[str, Any]) -> Document:
        """Write the record of a pipeline run unless there is one, and return the one that stands.

        Every step of a run calls this first, at the same time as others; the earliest wins.

        :param document: a pipeline record, see the module.
        """
        run_id = _id_of(document, "pipeline")
        key = _record_key(run_id)
        present = read_json(self._store, key, None)
        if present is not None:
            return _as_document(present)
        # The index first: a run that is listed and has no record is skipped, one that isn't listed is lost.
        experiment = document.get("experiment")
        if experiment:
            entry = {"schema": 1, "experiment": experiment, "run_id": run_id}
            write_json(self._store, f"{_experiment_folder(experiment)}{_segment(run_id)}", entry)
        try:
            write_json(self._store, key, document, if_absent=True)
        except ConditionFailed:
            return self.get(run_id)
        return dict(document)

    def write_step(self, document: Mapping[str, Any]) -> None:
        """Write the record of a step run, over an earlier one of the same id.

        :param document: a step record, see the module; its id stands for one try of the step, never for two.
        """
        step_id = _id_of(document, "step")
        parent = document.get("pipeline_run_id")
        if not parent:
            raise StoreError(f"step record {step_id!r} has no pipeline_run_id")
        child = f"{_folder(parent)}children/{_segment(step_id)}"
        if not self._store.exists(child):
            self._store.put(child, b"")
        write_json(self._store, _record_key(step_id), document)

    def get(self, run_id: str) -> Document:
        """Return a record; ``ObjectNotFound`` says that there is no such run."""
        try:
            return _as_document(read_json(self._store, _record_key(run_id)))
        except ObjectNotFound as error:
            raise ObjectNotFound(error.key, f"no run {run_id!r} in this workspace") from None

    def update(self, run_id: str, change: Callable[[Document], Document]) -> Document:
        """Replace a record by what ``change`` makes of it and return the new one; see ``update_json``.

        :raises ObjectNotFound: no such run.
        """
        return _as_document(update_json(self._store, _record_key(run_id), change))

    def children(self, run_id: str) -> list[Document]:
        """Return the records of a pipeline run's steps, every try of each, by start and then id."""
        folder = f"{_folder(run_id)}children/"
        found = [read_json(self._store, _record_key(child), None) for child in self._names_in(folder)]
        # A step is announced before its record is written.
        records = [record for record in found if record is not None]
        return sorted(records, key=lambda record: (record.get("start") or "~", record["id"]))

    def walk(self) -> Iterator[Document]:
        """Walk all records, of pipeline runs and of every try of every step; a scan, for reports.

        What is damaged is passed over.
        """
        for info in self._store.list("runs/"):
            if info.key.endswith("/record.json") and info.key.count("/") == 2:
                with suppress(StoreError):
                    yield _as_document(read_json(self._store, info.key))

    def commit(self, step_id: str) -> bool:
        """Make everything that is pending on a step run count, at once; the step's record is written before.

        :return: True when this call did it, False when it was done already.
        :raises ObjectNotFound: the step has no record.
        """
        marker = _committed_key(step_id)
        if self._store.exists(marker):
            return False
        number = self._announce_commit(self.get(step_id)["pipeline_run_id"], step_id)
        document = {"schema": 1, "step_run_id": step_id, "number": number, "committed_at": utc_now()}
        try:
            write_json(self._store, marker, document, if_absent=True)
        except ConditionFailed:
            return False
        return True

    def is_committed(self, step_id: str) -> bool:
        """Tell whether a step run's outputs, registrations and effects count."""
        return self._store.exists(_committed_key(step_id))

    def parent_view(self, pipeline_id: str, viewer_run: str | None = None) -> Document:
        """Return ``metrics`` (list), ``tags`` and ``properties`` of a pipeline run as a reader sees them.

        These are the record's own, then the effects of its committed steps in the order of their commits. A
        later tag replaces an earlier one, a property stays as it was first set (v1: properties never change).

        :param viewer_run: id of a step run whose recorded effects are added although it isn't committed.
        :raises ObjectNotFound: no such pipeline run.
        """
        record = self.get(pipeline_id)
        view: Document = {"metrics": [], "tags": {}, "properties": {}}
        _add_effects(view, record)
        committed = self._committed_steps(pipeline_id)
        for step_id in committed:
            _add_effects(view, self.get(step_id).get("parent_effects") or {})
        if viewer_run is not None and viewer_run not in committed:
            own = read_json(self._store, _record_key(viewer_run), {})
            _add_effects(view, own.get("parent_effects") or {})
        return view

    def experiments(self) -> list[str]:
        """Return the names of all experiments that have runs, sorted."""
        names: list[str] = []
        last = ""
        for info in self._store.list("experiments/"):
            folder = info.key.rpartition("/")[0]
            if folder != last:
                last = folder
                names.append(read_json(self._store, info.key)["experiment"])
        return sorted(names)

    def in_experiment(self, name: str) -> list[Document]:
        """Return the records of an experiment's pipeline runs, newest start first."""
        run_ids = self._names_in(_experiment_folder(name))
        found = [read_json(self._store, _record_key(run_id), None) for run_id in run_ids]
        records = [record for record in found if record is not None]
        return sorted(records, key=lambda record: (record.get("start") or "~", record["id"]), reverse=True)

    def artifact_key(self, run_id: str, name: str) -> str:
        """Return the key of a run's artifact.

        :param name: POSIX path within the run's artifacts (``outputs/model.pkl``).
        :raises UserErrorException: the name isn't such a path.
        """
        return _file_key(run_id, "artifacts", name)

    def log_key(self, run_id: str, name: str) -> str:
        """Return the key of a run's log; as :meth:`artifact_key`."""
        return _file_key(run_id, "logs", name)

    def artifacts_prefix(self, run_id: str) -> str:
        """Return what the keys of all artifacts of a run start with."""
        return f"{_folder(run_id)}artifacts/"

    def logs_prefix(self, run_id: str) -> str:
        """Return what the keys of all logs of a run start with."""
        return f"{_folder(run_id)}logs/"

    def _announce_commit(self, pipeline_id: str, step_id: str) -> int:
        # A step that starts after another one's commit gets a greater number, whatever the clocks of their
        # machines say; steps that commit at the same moment may share one. One listing tells order and ids.
        folder = f"{_folder(pipeline_id)}commits/"
        last = 0
        for info in self._store.list(folder):
            last = int(info.key[len(folder) :].partition("/")[0])
        self._store.put(f"{folder}{last + 1:08d}/{_segment(step_id)}", b"")
        return last + 1

    def _committed_steps(self, pipeline_id: str) -> list[str]:
        # An announcement alone is a commit that never came; of several for one step the last one led to it.
        announced = list(self._names_in(f"{_folder(pipeline_id)}commits/"))
        latest_first = dict.fromkeys(reversed(announced))
        return [step_id for step_id in reversed(latest_first) if self.is_committed(step_id)]

    def _names_in(self, folder: str) -> Iterator[str]:
        for info in self._store.list(folder):
            name = decode_name(info.key.rpartition("/")[2])
            if name is not None:
                yield name


def _id_of(document: Mapping[str, Any], kind: str) -> str:
    run_id = document.get("id")
    if document.get("kind") != kind or not isinstance(run_id, str):
        raise StoreError(f"not the record of a {kind} run: kind {document.get('kind')!r}, id {run_id!r}")
    return run_id


def _segment(run_id: object) -> str:
    segment = encode_name(run_id, "run id")
    # Listings give ids back; a hash could not.
    if decode_name(segment) is None:
        raise UserErrorException(f"run id {run_id!r} is too long")
    return segment


def _folder(run_id: object) -> str:
    return f"runs/{_segment(run_id)}/"


def _record_key(run_id: object) -> str:
    return f"{_folder(run_id)}record.json"


def _committed_key(step_id: str) -> str:
    return f"{_folder(step_id)}committed"


def _experiment_folder(name: object) -> str:
    return f"experiments/{encode_name(name, 'experiment name')}/"


def _file_key(run_id: str, folder: str, name: str) -> str:
    try:
        # By itself first: "x/../../y" is wrong as a name wherever it would end up.
        check_key(name)
        return check_key(f"{_folder(run_id)}{folder}/{name}")
    except StoreError as error:
        raise UserErrorException(f"{name!r} cannot be the name of a run's file: {error}") from None


def _as_document(value: Any) -> Document:
    if not isinstance(value, dict):
        raise StoreError("a run record is no JSON object; it was damaged or written by hand")
    return value


def _add_effects(view: Document, effects: Mapping[str, Any]) -> None:
    view["metrics"].extend(effects.get("metrics") or ())
    for name in effects.get("removed_tags") or ():
        view["tags"].pop(name, None)
    view["tags"].update(effects.get("tags") or {})
    for name, value in (effects.get("properties") or {}).items():
        view["properties"].setdefault(name, value)
