"""``Experiment``: a name under which runs are collected (``azureml.core.Experiment``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Iterator, Mapping

from airflow_azureml.runtime import service
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from airflow_azureml.runtime.run import Run
    from airflow_azureml.runtime.workspace import Workspace

_NAME = re.compile(r"[a-zA-Z0-9][\w\-]{0,254}")


class Experiment:
    """A named collection of runs; it exists from its first run on.

    :param workspace: the workspace.
    :param name: letters, digits, ``_`` and ``-``, at most 255 characters.
    :raises UserErrorException: another name.
    """

    def __init__(
        self,
        workspace: Workspace,
        name: Any,
        _skip_name_validation: bool = False,
        _create_in_cloud: bool = True,
        **_: Any,
    ) -> None:
        # The experiments of runs in Airflow carry the names of DAGs, which may have dots.
        if not _skip_name_validation and (not isinstance(name, str) or _NAME.fullmatch(name) is None):
            raise UserErrorException(
                f"Experiment {name!r}: a name is letters, digits, _ and -, starts with a letter or digit "
                "and has at most 255 characters"
            )
        self._workspace = workspace
        self._name: str = name

    def __repr__(self) -> str:
        return f"Experiment(Name: {self._name})"

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self._name

    @property
    def id(self) -> str:
        """What identifies the experiment: its name."""
        return self._name

    @property
    def workspace(self) -> Workspace:
        """The workspace."""
        return self._workspace

    @property
    def tags(self) -> dict[str, str]:
        """Always empty: tags are kept on runs."""
        return {}

    @staticmethod
    def list(
        workspace: Workspace,
        experiment_name: str | None = None,
        view_type: str = "ActiveOnly",
        tags: Any = None,
    ) -> list[Experiment]:
        """Return the experiments that have runs.

        :param experiment_name: only this one.
        :param view_type: accepted as in v1, as ``tags`` is.
        """
        names = service.call("experiment.list")
        return [
            Experiment(workspace, name, _skip_name_validation=True)
            for name in names
            if experiment_name in (None, name)
        ]

    def submit(self, config: Any, tags: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
        """Start a run of a pipeline.

        :param config: a pipeline, published pipeline or whatever can be submitted.
        :param tags: set on the run.
        :param kwargs: passed to its ``submit``, such as ``pipeline_parameters``.
        :raises UserErrorException: ``config`` cannot be submitted.
        """
        submit = getattr(config, "submit", None)
        if not callable(submit):
            raise UserErrorException(
                f"Experiment.submit: a {type(config).__name__} cannot be submitted; "
                "a Pipeline is an Airflow DAG, which runs by its schedule or when it is triggered"
            )
        run = submit(self._name, **kwargs)
        if tags:
            run.set_tags(tags)
        return run

    def start_logging(self, name: str | None = None, outputs: str | None = None, **_: Any) -> Run:
        """Start a run by hand, below the run of this process.

        :param name: shown for it.
        :param outputs: a folder whose files become the run's when it is completed.
        """
        from airflow_azureml.runtime.run import Run

        return Run.get_context().child_run(name=name, outputs=outputs)

    def get_runs(
        self,
        type: str | None = None,
        tags: Any = None,
        properties: Any = None,
        include_children: bool = False,
    ) -> Iterator[Run]:
        """Yield the experiment's runs, newest first; see ``Run.get_children`` for the filters."""
        from airflow_azureml.runtime.run import Run

        return Run.list(self, type=type, tags=tags, properties=properties, include_children=include_children)
