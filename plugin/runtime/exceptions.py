"""The exceptions of the package, one tree, split by what a caller handles differently.

::

    AzureMLException                        everything this package raises on purpose
    ├── UserErrorException                  the caller asked for something impossible or wrong
    │   ├── DefinitionError (ValueError)    a pipeline or step is declared wrongly
    │   ├── DatasetValidationError          a dataset's declaration doesn't fit its data
    │   ├── DatasetExecutionError           reading a dataset failed
    │   └── DatasetTimestampMissingError    a time filter without a timestamp column
    ├── SnapshotException                   a source directory cannot be snapshotted
    ├── RunEnvironmentException             not inside a run, or the run's supervisor is gone
    ├── ComputeTargetException              unknown or unusable compute target
    ├── ActivityFailedException             a run that was waited for failed
    ├── ExperimentExecutionException        waiting for a run was interrupted
    ├── ModelPathNotFoundException          no such file in the run to register as a model
    ├── WebserviceException                 the workspace doesn't have what was asked for
    │   └── ModelNotFoundException          … a model of that name and version
    ├── EnvironmentBuildError               a step's interpreter could not be built
    ├── StepFailed                          a step's process ended badly
    ├── StepCanceled                        a step was stopped on purpose
    └── StoreError                          the workspace's object store
        ├── ObjectNotFound
        └── ConditionFailed                 a conditional write lost against another writer

v1 source: ``azureml.exceptions`` for the names it had; the rest are ours.
"""

from __future__ import annotations

import builtins
from typing import Any


class AzureMLException(Exception):
    """Base of all errors of this package.

    :param message: what was found, what was expected, the next thing to try.
    """

    transient: bool = False
    """Whether trying the same again later may succeed."""

    message: str

    def __init__(self, message: object = "", **_: Any) -> None:
        # v1 code passes extra keywords (inner_exception, target, …) that carry no meaning here.
        super().__init__(message)
        self.message = str(message)

    def __str__(self) -> str:
        return self.message


class TransientError:
    """Mixin for errors that may go away by themselves: a worker may retry the step."""

    transient: bool = True


class UserErrorException(AzureMLException):
    """The request itself is wrong; repeating it cannot help."""


class DefinitionError(UserErrorException, ValueError):
    """A pipeline or a step is declared wrongly.

    The message names the step and the argument: ``PythonScriptStep 'train': argument inputs[0] is …; do …``.
    It is a ``ValueError`` too because v1 raised that for most of these.
    """


class DatasetValidationError(UserErrorException):
    """A dataset's declaration doesn't fit the data it points at."""


class DatasetExecutionError(UserErrorException):
    """Reading a dataset failed."""


class DatasetTimestampMissingError(UserErrorException):
    """A time filter was asked of a dataset that names no timestamp column."""


class SnapshotException(AzureMLException):
    """A source directory cannot be taken as a snapshot."""


class RunEnvironmentException(AzureMLException):
    """There is no run around this process, or its supervisor no longer answers."""


class ComputeTargetException(AzureMLException):
    """A compute target is unknown or cannot be used."""


class ActivityFailedException(AzureMLException):
    """A run that was waited for has failed."""


class ExperimentExecutionException(AzureMLException):
    """Waiting for a run was interrupted; the run goes on."""


class ModelPathNotFoundException(AzureMLException):
    """The run has no file or folder of that name to register as a model."""


class WebserviceException(AzureMLException):
    """The workspace doesn't have what was asked for."""


class ModelNotFoundException(WebserviceException):
    """No model of that name and version is registered."""


class EnvironmentBuildError(AzureMLException):
    """A step's interpreter could not be built.

    :param message: what failed.
    :param log_tail: the last lines of the build's own output.
    """

    log_tail: str = ""

    def __init__(self, message: object = "", *, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


class StepFailed(AzureMLException):
    """A step's process ended badly.

    :param message: what happened.
    :param exit_code: the process's exit code, when it exited.
    :param signal: the signal that killed it, when one did.
    """

    exit_code: int | None = None
    signal: int | None = None

    def __init__(
        self, message: object = "", *, exit_code: int | None = None, signal: int | None = None
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.signal = signal


class StepCanceled(AzureMLException):
    """A step was stopped on purpose.

    :param message: what happened.
    :param reason: why, in the words of whoever stopped it.
    """

    reason: str = ""

    def __init__(self, message: object = "", *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class StoreError(AzureMLException):
    """The workspace's object store refused or failed."""


class ObjectNotFound(StoreError):
    """The store has no object under the key."""

    key: str = ""

    def __init__(self, key: str = "", message: str | None = None) -> None:
        super().__init__("no object %r in the workspace's store" % key if message is None else message)
        self.key = key


class ConditionFailed(StoreError):
    """A conditional write was refused: the object exists already, or has changed since it was read."""

    key: str = ""

    def __init__(self, key: str = "", message: str | None = None) -> None:
        super().__init__(
            "object %r was written by somebody else meanwhile" % key if message is None else message
        )
        self.key = key


_BUILTINS_ON_THE_WIRE = frozenset(
    ("FileExistsError", "FileNotFoundError", "KeyError", "NotImplementedError", "TypeError", "ValueError")
)


def wire_name(error: BaseException) -> str:
    """Return the class name under which an error crosses the run socket.

    :param error: any exception; one that the other side cannot rebuild travels as ``AzureMLException``.
    """
    name = type(error).__name__
    if isinstance(error, AzureMLException):
        return name if _known(name) is not None else _nearest_known(error)
    return name if name in _BUILTINS_ON_THE_WIRE else "AzureMLException"


def rebuild(type_name: str, message: str) -> Exception:
    """Make the exception that a ``{"type", "message"}`` answer of the run socket stands for.

    :param type_name: class name as given by :func:`wire_name`; an unknown one becomes ``AzureMLException``.
    :param message: the message, taken as it is.
    """
    if type_name in _BUILTINS_ON_THE_WIRE:
        error: Exception = getattr(builtins, type_name)(message)
        return error
    kind = _known(type_name) or AzureMLException
    # Not through kind(message): ObjectNotFound and its like make their message out of other arguments.
    rebuilt = kind.__new__(kind, message)
    AzureMLException.__init__(rebuilt, message)
    return rebuilt


def _known(name: str) -> type[AzureMLException] | None:
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, AzureMLException) else None


def _nearest_known(error: AzureMLException) -> str:
    for kind in type(error).__mro__:
        if _known(kind.__name__) is not None:
            return kind.__name__
    return "AzureMLException"
