"""``PythonScriptStep``: run a Python script in an interpreter of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_azureml import config
from airflow_azureml.model.environment import Environment, RunConfiguration
from airflow_azureml.operators.sources import (
    check_source,
    find_script,
    other_scripts,
    source_directory_of,
    stat_cache,
)
from airflow_azureml.operators.step import PipelineStep
from airflow_azureml.runtime.exceptions import DefinitionError

if TYPE_CHECKING:
    from airflow_azureml.compute.script_work import ScriptWork
    from airflow_azureml.compute.source import StepSource


class PythonScriptStep(PipelineStep):
    """Run a Python script as a step.

    The script runs with the root of its source directory as working directory, in the interpreter of its environment, and
    reaches its run through ``from azureml.core import Run``::

        PythonScriptStep(
            script_name="train.py",
            arguments=["--data", prepared, "--alpha", alpha],
            inputs=[prepared],
            source_directory="steps",
        )

    :param script_name: path of the script inside the source directory, POSIX (v1 ``script_name``).
    :param name: the step's name; by default the script's (v1 ``name``).
    :param arguments: (templated) the script's arguments (v1 ``arguments``).
    :param compute_target: where it runs: a name or a compute object; by default ``[azureml] default_compute`` (v1
        ``compute_target``).
    :param runconfig: environment, environment variables and target (v1 ``runconfig``).
    :param runconfig_pipeline_params: v1's node counts as parameters; refused, because a step here is one process.
    :param inputs: what the script reads (v1 ``inputs``).
    :param outputs: what the script writes (v1 ``outputs``).
    :param params: name to value or ``PipelineParameter``, given to the script as ``AML_PARAMETER_<name>`` (v1 ``params``).
    :param source_directory: folder with the script and what it imports, relative to the file that defines the DAG; by default
        the pipeline's ``default_source_directory``, else that file's folder (v1 ``source_directory``).
    :param allow_reuse: let an earlier result stand in for running (v1 ``allow_reuse``).
    :param version: a label of your own; changing it runs the step again (v1 ``version``).
    :param hash_paths: further files or folders, in or outside the source directory, that the result depends on (v1
        ``hash_paths``).
    :param environment: the step's interpreter and packages; the same as ``runconfig.environment``.
    :param snapshot: digest of a source directory frozen in the workspace, instead of ``source_directory``.
    :param unrelated_files: files of the snapshot that the step doesn't use, found when it was frozen.
    :param kwargs: any argument of Airflow's ``BaseOperator``.
    :raises DefinitionError: an argument is wrong; the message names step and argument.

    Source: v1 ``azureml.pipeline.steps.PythonScriptStep``.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "script_name",
        "name",
        "arguments",
        "compute_target",
        "runconfig",
        "runconfig_pipeline_params",
        "inputs",
        "outputs",
        "params",
        "source_directory",
        "allow_reuse",
        "version",
        "hash_paths",
    )

    def __init__(
        self,
        *,
        script_name: str,
        name: str | None = None,
        arguments: list[Any] | None = None,
        compute_target: Any = None,
        runconfig: RunConfiguration | None = None,
        runconfig_pipeline_params: Mapping[str, Any] | None = None,
        inputs: list[Any] | None = None,
        outputs: list[Any] | None = None,
        step_params: Mapping[str, Any] | None = None,
        source_directory: str | None = None,
        allow_reuse: bool = True,
        version: str | None = None,
        hash_paths: Sequence[str] | None = None,
        environment: Environment | None = None,
        snapshot: str | None = None,
        unrelated_files: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if not script_name or not isinstance(script_name, str):
            raise DefinitionError(
                f"PythonScriptStep {name or '?'!r}: argument script_name is {script_name!r}; give a file name"
            )
        super().__init__(
            name=name,
            arguments=arguments,
            inputs=inputs,
            outputs=outputs,
            step_params=step_params,
            allow_reuse=allow_reuse,
            version=version,
            default_name=script_name,
            **kwargs,
        )
        self.script_name = script_name
        self.compute_target = compute_target
        self.runconfig = runconfig
        self.runconfig_pipeline_params = runconfig_pipeline_params
        self.source_directory = source_directory
        self.hash_paths = hash_paths
        self.environment = environment
        self.snapshot = snapshot
        self.unrelated_files = unrelated_files
        self._check_arguments()

    def check(self) -> None:
        """Check script, source directory and compute target.

        :raises DefinitionError: the script is missing, the source directory can't be used, or the compute is unknown.
        """
        from airflow_azureml.operators.computes import check_compute

        super().check()
        check_compute(self, self.compute)
        if self.snapshot is None:
            directory = source_directory_of(self)
            find_script(self, directory)
            check_source(self, directory)

    def _check_arguments(self) -> None:
        if self.runconfig_pipeline_params:
            raise DefinitionError(
                f"{self.title}: argument runconfig_pipeline_params sets node counts, but a step here is one process; "
                "leave it out and start processes from the script"
            )
        if self.environment is not None and self.runconfig is not None:
            raise DefinitionError(
                f"{self.title}: arguments environment and runconfig are both given; set runconfig.environment instead"
            )

    @property
    def compute(self) -> Any:
        """Where the step runs: a name or a compute object."""
        target = self.compute_target or getattr(self.runconfig, "target", None)
        return target or config.default_compute()

    @property
    def effective_environment(self) -> Environment:
        """The environment the step runs in, whoever named it."""
        if self.environment is not None:
            return self.environment
        if self.runconfig is not None and says_something(self.runconfig.environment):
            return self.runconfig.environment
        default = Environment.default(config.default_python(), config.default_pip_packages())
        if self.runconfig is not None:
            default.environment_variables = dict(self.runconfig.environment_variables)
        return default

    def script(self) -> str:
        """Return the script's path inside the source, POSIX.

        :raises DefinitionError: it is not there.
        """
        return self.script_name if self.snapshot else find_script(self, source_directory_of(self))

    def source(self) -> StepSource:
        """Return where the code comes from, as it is now.

        :raises SnapshotException: the source directory cannot be kept.
        """
        from airflow_azureml.compute.source import DirectorySource, SnapshotSource
        from airflow_azureml.operators.services import workspace_of

        if self.snapshot is not None:
            return SnapshotSource(self.snapshot, workspace_of(self), frozenset(self.unrelated_files or ()))
        return DirectorySource.scan(
            workspace_of(self),
            source_directory_of(self),
            tuple(self.hash_paths or ()),
            stat_cache(),
            config.snapshot_limit_bytes(),
            script=self.script(),
            other_scripts=other_scripts(self),
            code_scope=self.effective_policy.code_scope,
            code_files=self.effective_policy.code_files,
        )

    def work(self) -> ScriptWork:
        """Return the script with its code and environment, as they are now."""
        from airflow_azureml.compute.script_work import ScriptWork

        return ScriptWork(self.script(), self.source(), self.effective_environment)


def says_something(environment: Environment) -> bool:
    """Whether a run configuration's environment names packages or an interpreter, rather than being v1's empty default."""
    python = environment.python
    return bool(
        python.user_managed_dependencies
        or python.conda_dependencies is not None
        or python.conda_dependencies_file
    )
