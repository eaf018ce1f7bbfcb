"""Which names are allowed for what.

A port's name becomes the name of environment variables, of a folder and, for datasets, of an attribute of the
run context; that is where its limits come from.
"""

from __future__ import annotations

import re

from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = [
    "RESERVED_PORT_NAMES",
    "RESERVED_PORT_PREFIXES",
    "check_experiment_name",
    "check_output_name",
    "check_parameter_name",
    "dataset_name_problem",
    "is_reserved_port_name",
    "kind_of",
    "parameter_variable",
    "port_name_problem",
    "task_id_for",
]

RESERVED_PORT_NAMES = frozenset(
    {
        "HOME",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "PATH",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "TEMP",
        "TMP",
        "TMPDIR",
    }
)
"""A port of such a name would overwrite a variable that the interpreter itself needs (compared in upper case)."""

RESERVED_PORT_PREFIXES = ("AZUREML_", "AZURE_ML_", "AML_PARAMETER_", "AIRFLOW_")
"""Names that start like this belong to the run itself (compared in upper case)."""

_PORT_NAME = re.compile(r"[A-Za-z0-9_]+")
_DATASET_PORT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,254}")
_NOT_IN_A_VARIABLE = re.compile(r"[^A-Za-z0-9_]")
_NOT_IN_A_TASK_ID = re.compile(r"[^A-Za-z0-9_\-]")
_LONGEST_TASK_ID = 200


def is_reserved_port_name(name: str) -> bool:
    """Tell whether a port name would overwrite a variable that a step's process depends on.

    :param name: the port's name, any case: v1 sets a named dataset under its name and its upper-case name.
    """
    upper = name.upper()
    return upper in RESERVED_PORT_NAMES or upper.startswith(RESERVED_PORT_PREFIXES)


def port_name_problem(name: object) -> str | None:
    """Say what is wrong with the name of an input or output, or return None.

    :param name: the name as the user gave it.
    """
    return _name_problem(name, _PORT_NAME, "letters, digits and underscores")


def dataset_name_problem(name: object) -> str | None:
    """Say what is wrong with the name of a dataset input, or return None.

    :param name: the name as the user gave it. It becomes an environment variable by itself: no leading digit.
    """
    return _name_problem(name, _DATASET_PORT_NAME, "letters, digits and underscores, no digit first")


def check_output_name(owner: str, argument: str, name: object) -> str:
    """Return the name of an output, or raise.

    :param owner: what the name is for, as it shall stand in the message (``PipelineData``).
    :param argument: the constructor's argument that holds it.
    :param name: the name as the user gave it.
    :raises DefinitionError: not text, unusual characters, or reserved.
    """
    problem = port_name_problem(name)
    if problem is not None:
        raise DefinitionError(f"{owner}: argument {argument} is {problem}")
    return str(name)


def check_parameter_name(name: object) -> str:
    """Return the name of a pipeline parameter, or raise.

    :param name: any text that is not empty and has no line break; see :func:`parameter_variable`.
    :raises DefinitionError: not such a text.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise DefinitionError(f"PipelineParameter: argument name is {name!r}; give it a name of one line")
    return name


def check_experiment_name(name: object) -> str:
    """Return the name of an experiment, or raise.

    :param name: 1 to 255 letters, digits, ``_`` and ``-``, a letter or digit first (v1's rule).
    :raises DefinitionError: not such a text.
    """
    if not isinstance(name, str) or not _EXPERIMENT_NAME.fullmatch(name):
        raise DefinitionError(
            f"Experiment: argument name is {name!r}; use 1 to 255 letters, digits, '_' and '-', "
            "starting with a letter or digit"
        )
    return name


def kind_of(value: object) -> str:
    """Return how a message calls the type of a value: ``an int``.

    :param value: anything.
    """
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeio' else 'a'} {name}"


def parameter_variable(name: str) -> str:
    """Return the environment variable that carries a parameter's value to the script.

    :param name: name of the pipeline parameter, or a key of a step's ``params``.
    """
    return "AML_PARAMETER_" + _NOT_IN_A_VARIABLE.sub("_", name)


def task_id_for(step_name: str) -> str:
    """Return a task id that Airflow accepts for a step's name.

    :param step_name: any text. ``train model.py`` becomes ``train_model_py``: a dot would mean a task group.
    """
    return _NOT_IN_A_TASK_ID.sub("_", step_name)[:_LONGEST_TASK_ID] or "step"


def _name_problem(name: object, pattern: re.Pattern[str], allowed: str) -> str | None:
    if not isinstance(name, str) or not pattern.fullmatch(name):
        return f"{name!r}, which is no valid name; use {allowed}"
    if is_reserved_port_name(name):
        return f"{name!r}, which is reserved for the step's environment variables; choose another name"
    return None
