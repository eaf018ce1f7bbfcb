"""``run.*``: what a script says on runs and reads from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

from airflow_azureml.model.status import RunStatus
from airflow_azureml.runtime.exceptions import ModelPathNotFoundException, UserErrorException
from airflow_azureml.workspace.run_service_base import Family, Reply, document, keep_model_file
from airflow_azureml.workspace.run_service_targets import Annotation, LiveTarget, RunTarget, find_target
from airflow_azureml.workspace.run_state_files import file_name

Document = dict[str, Any]
_NAMED_IN_ERRORS = 10


class RunMethods(Family):
    """Methods on runs. ``run`` is a run's id; without it the caller's own is meant."""

    def describe(self, run: str | None = None) -> Document:
        """Return id, kind, type, name, number, status, experiment, parent_id, times, names, tags, properties."""
        return self._target(run).describe()

    def details(self, run: str | None = None) -> Document:
        """Return what is known under v1's keys."""
        return self._target(run).details()

    # -- metrics ------------------------------------------------------------------------------------------------

    def log(self, name: str, kind: str, value: Any, step: int | None = None, run: str | None = None) -> None:
        """Add a metric record."""
        node = self._target(run).node()
        with self._state.lock:
            node.notes.log(name, kind, value, step)

    def log_image(self, payload: BinaryIO, name: str, suffix: str, run: str | None = None) -> str:
        """Add an image, as a file of the run under a free name, and return that name."""
        node = self._target(run).node()
        staged = self._state.upload_under_free_name(node, name, suffix, payload)
        with self._state.lock:
            node.notes.log(name, "image", staged.name, None)
        return staged.name

    def get_metrics(
        self,
        recursive: bool = False,
        type: str | None = None,  # noqa: A002 - the parameter's name on the wire, v1's word
        run: str | None = None,
    ) -> Any:
        """Return the metric records; of all runs below too, by run id, when ``recursive``."""
        target = self._target(run)
        if not recursive:
            return target.view()["metrics"]
        found: dict[str, Any] = {}
        for each in (target, *target.children(recursive=True)):
            description = each.describe()
            if type in (None, description["type"]):
                found[description["id"]] = each.view()["metrics"]
        return found

    # -- tags, properties, names --------------------------------------------------------------------------------

    def get_tags(self, run: str | None = None) -> Document:
        """Return the tags."""
        tags: Document = self._target(run).view()["tags"]
        return tags

    def set_tags(self, tags: dict[str, Any], run: str | None = None) -> None:
        """Set tags; those not named stay."""
        self._target(run).annotate(Annotation(tags=_texts("tags", tags)))

    def remove_tags(self, names: list[str], run: str | None = None) -> None:
        """Remove tags by name."""
        self._target(run).annotate(Annotation(removed_tags=[str(name) for name in names]))

    def get_properties(self, run: str | None = None) -> Document:
        """Return the properties."""
        properties: Document = self._target(run).view()["properties"]
        return properties

    def add_properties(self, properties: dict[str, Any], run: str | None = None) -> None:
        """Add properties, for good."""
        target = self._target(run)
        added = _texts("properties", properties)
        node, present = target.node(), target.view()["properties"]
        with self._state.lock:
            node.notes.add_properties(added, {**present, **node.notes.properties})

    def set(
        self, display_name: str | None = None, description: str | None = None, run: str | None = None
    ) -> None:
        """Change what is shown for the run."""
        self._target(run).annotate(Annotation(display_name=display_name, description=description))

    # -- files --------------------------------------------------------------------------------------------------

    def upload(self, payload: BinaryIO, name: str, run: str | None = None) -> None:
        """Add a file."""
        self._state.upload(self._target(run).node(), name, payload)

    def list_files(self, run: str | None = None) -> Sequence[str]:
        """Return the names of the run's files."""
        return list(self._target(run).files())

    def download(self, name: str, run: str | None = None) -> Reply:
        """Send a file."""
        target = self._target(run)
        stream = target.open(name)
        if stream is None:
            raise UserErrorException(f"the run has no file {name!r}; {_some(target.files())}")
        return Reply(None, stream)

    def register_model(
        self,
        name: str,
        path: str,
        tags: dict[str, Any] | None = None,
        properties: dict[str, Any] | None = None,
        description: str | None = None,
        framework: str | None = None,
        framework_version: str | None = None,
        run: str | None = None,
    ) -> Document:
        """Register a file or folder of the run as a model, and return the model's record."""
        target = self._target(run)
        files = []
        for source, place in _model_files(target.files(), path):
            stream = target.open(source)
            if stream is None:
                raise ModelPathNotFoundException(
                    f"{source!r} disappeared while the model was being registered"
                )
            with stream:
                files.append({"path": place, **keep_model_file(self._context, stream)})
        record = self._workspace.models.register(
            name,
            files,
            tags=_texts("tags", tags or {}),
            properties=_texts("properties", properties or {}),
            description=description,
            framework=framework,
            framework_version=framework_version,
            run_id=target.describe()["id"],
            pending_run=self._state.pending_run,
        )
        self._state.add_registration("model", record.name, record.version, record.id)
        return document(record)

    # -- runs below, and the end --------------------------------------------------------------------------------

    def children(self, recursive: bool = False, run: str | None = None) -> list[Document]:
        """Return the descriptions of the runs below."""
        return [target.describe() for target in self._target(run).children(recursive=recursive)]

    def child(self, name: str | None = None, child_id: str | None = None, run: str | None = None) -> Document:
        """Start a run below one of the caller's own."""
        target = self._target(run)
        if not isinstance(target, LiveTarget):
            raise UserErrorException("child runs can be started below a script's own run only")
        return LiveTarget(self._context, self._state.add_child(target.node(), name, child_id)).describe()

    def complete(self, run: str | None = None) -> None:
        """End a child run; a step's own run goes on until its process ends."""
        node = self._target(run).node()
        if self._is_child(node.id):
            self._state.end_child(node, RunStatus.FINISHED)

    def fail(self, details: str | None = None, code: str | None = None, run: str | None = None) -> None:
        """End a child run as failed; of a step's own run only the details are kept."""
        node = self._target(run).node()
        text = ": ".join(part for part in (code, details) if part) or None
        if self._is_child(node.id):
            self._state.end_child(node, RunStatus.FAILED, text)
        else:
            node.error = text

    def cancel(self, reason: str | None = None, run: str | None = None) -> None:
        """Ask for a run to be stopped."""
        self._target(run).cancel(reason)

    def _target(self, run: str | None) -> RunTarget:
        return find_target(self._context, run)

    def _is_child(self, run_id: str) -> bool:
        return run_id not in (self._state.root.id, self._state.parent.id)


def _model_files(names: Sequence[str], path: str) -> list[tuple[str, str]]:
    """Return the files of a model as (name among the run's files, path within the model)."""
    wanted = file_name(path)
    if wanted in names:
        return [(wanted, wanted.rpartition("/")[2])]
    folder = wanted.rpartition("/")[0]
    found = [name for name in names if name.startswith(wanted + "/")]
    if not found:
        raise ModelPathNotFoundException(
            f"the run has no file or folder {path!r} to register; {_some(names)}. "
            "Files count when they are in ./outputs or were uploaded with run.upload_file"
        )
    return [(name, name[len(folder) + 1 :] if folder else name) for name in found]


def _some(names: Sequence[str]) -> str:
    if not names:
        return "it has no files"
    more = f" and {len(names) - _NAMED_IN_ERRORS} more" if len(names) > _NAMED_IN_ERRORS else ""
    return f"it has {', '.join(names[:_NAMED_IN_ERRORS])}{more}"


def _texts(what: str, values: dict[str, Any]) -> dict[str, Any]:
    for key, value in values.items():
        if value is not None and not isinstance(value, str):
            raise UserErrorException(f"{what}: the value of {key!r} is a text, found {value!r}")
    return values
