"""Pipeline parameters: typed values that a run may change.

v1 source: ``azureml.pipeline.core.PipelineParameter``. v1 sent every value as text and checked little; here a value that
doesn't fit the parameter's type without loss is refused with the parameter's name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, NoReturn, TypeGuard

from airflow_azureml.model import names
from airflow_azureml.model.paths import DataPath
from airflow_azureml.runtime.exceptions import DefinitionError, UserErrorException

__all__ = ["PARAMETER_PLACEHOLDER", "ParameterType", "PipelineParameter", "merge_parameters"]

PARAMETER_PLACEHOLDER = "$AML_PARAMETER_"
"""Starts the text that stands for a parameter's value inside an argument."""

_LARGEST_EXACT_INT = 2**53
# Narrower than int() and float(), which also take "1_000" and "nan".
_INT = re.compile(r"[+-]?[0-9]{1,4000}")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUE = frozenset({"true", "1"})
_FALSE = frozenset({"false", "0"})


class ParameterType(StrEnum):
    """Type of a pipeline parameter, taken from its default value."""

    INT = "int"
    FLOAT = "float"
    STR = "str"
    BOOL = "bool"
    NONE = "none"
    """The default is None: any scalar fits, and None leaves the argument out."""
    DATAPATH = "datapath"
    DATASET = "dataset"


class PipelineParameter:
    """A value that steps use and that each run of the pipeline may set.

    :param name: unique in the pipeline for one default; the script finds the value in ``AML_PARAMETER_<name>`` too.
    :param default_value: int, float, str, bool, None, a DataPath or a dataset. It decides the type.
    :raises DefinitionError: another type of default, or no proper name.
    """

    def __init__(self, name: str, default_value: Any) -> None:
        self.name = names.check_parameter_name(name)
        self.default_value = default_value
        self.type = _type_of(name, default_value)
        self._default = self.convert(default_value)

    @property
    def arg_val(self) -> str:
        """Text that a step replaces by the value, alone or inside a longer argument."""
        return PARAMETER_PLACEHOLDER + self.name

    def airflow_default(self) -> Any:
        """Return the default as JSON, for Airflow's ``Param``: what :meth:`convert` makes of it."""
        return self._default

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a value, for Airflow's ``Param``."""
        return dict(_SCHEMAS[self.type])

    def convert(self, value: Any) -> Any:
        """Return a value as JSON of the parameter's own type.

        :param value: what a caller gave: Python, JSON, or text as v1's callers send it.
        :return: int, float, str, bool or None; a document for a DataPath or a dataset.
        :raises UserErrorException: it cannot become that type without loss.
        """
        return _CONVERTERS[self.type](self, value)

    def to_document(self) -> dict[str, Any]:
        """Return the parameter as JSON: ``{"name", "type", "default"}``."""
        return {"name": self.name, "type": self.type.value, "default": self._default}

    @staticmethod
    def from_document(document: Mapping[str, Any]) -> PipelineParameter:
        """Return the parameter that a document describes.

        :param document: as written by :meth:`to_document`.
        """
        parameter = PipelineParameter.__new__(PipelineParameter)
        parameter.name = names.check_parameter_name(document["name"])
        parameter.type = ParameterType(document["type"])
        default = document["default"]
        parameter.default_value = (
            DataPath.from_document(default) if parameter.type is ParameterType.DATAPATH else default
        )
        vars(parameter)["_default"] = parameter.convert(default)
        return parameter

    def same_as(self, other: PipelineParameter) -> bool:
        """Tell whether another parameter of the same name may stand for the same value.

        :param other: a parameter; its type and default are compared.
        """
        return self.type is other.type and self._default == other.airflow_default()

    def __eq__(self, other: object) -> bool:
        """Tell whether name, type and default are the same."""
        if not isinstance(other, PipelineParameter):
            return NotImplemented
        return self.name == other.name and self.same_as(other)

    def __hash__(self) -> int:
        """Hash the name; a default may be a document."""
        return hash((self.name, self.type))

    def __str__(self) -> str:
        """Return :attr:`arg_val`, so that text formatting works on it."""
        return self.arg_val

    def __repr__(self) -> str:
        """Return the constructor's call."""
        return f"PipelineParameter({self.name!r}, default_value={self._default!r})"


def merge_parameters(
    label: str, known: dict[str, PipelineParameter], parameters: Iterable[PipelineParameter]
) -> None:
    """Add parameters to a table by name.

    :param label: who brings them, for the message: ``PythonScriptStep 'train'``.
    :param known: the table, changed in place.
    :param parameters: what comes in.
    :raises DefinitionError: one has the name of a known one and another default.
    """
    for parameter in parameters:
        other = known.setdefault(parameter.name, parameter)
        if not other.same_as(parameter):
            raise DefinitionError(
                f"{label}: parameter {parameter.name!r} has default {parameter.default_value!r} here and "
                f"{other.default_value!r} elsewhere; use one PipelineParameter object for both"
            )


def _type_of(name: str, default: object) -> ParameterType:
    for kind, found in (
        (bool, ParameterType.BOOL),  # before int: a bool is one
        (int, ParameterType.INT),
        (float, ParameterType.FLOAT),
        (str, ParameterType.STR),
        (type(None), ParameterType.NONE),
        (DataPath, ParameterType.DATAPATH),
    ):
        if isinstance(default, kind):
            return found
    if _definition_of(default) is not None:
        return ParameterType.DATASET
    raise DefinitionError(
        f"PipelineParameter {name!r}: argument default_value is {names.kind_of(default)}; "
        "use an int, float, str, bool, None, a DataPath or a dataset"
    )


def _definition_of(value: object) -> dict[str, Any] | None:
    """Return the definition of a dataset object, None for anything else."""
    if isinstance(value, Mapping):
        return None
    definition = getattr(value, "definition", None)
    return dict(definition) if isinstance(definition, Mapping) else None


def _refuse(parameter: PipelineParameter, value: object, expected: str) -> NoReturn:
    raise UserErrorException(
        f"parameter {parameter.name!r} is {value!r} ({type(value).__name__}); expected {expected}"
    )


def _to_int(parameter: PipelineParameter, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _INT.fullmatch(value.strip()):
        return int(value)
    _refuse(parameter, value, "an int")


def _to_float(parameter: PipelineParameter, value: object) -> float:
    if _is_float_without_loss(value) and math.isfinite(number := float(value)):
        return number
    _refuse(parameter, value, "a finite float")


def _is_float_without_loss(value: object) -> TypeGuard[float | int | str]:
    if isinstance(value, str):
        return _FLOAT.fullmatch(value.strip()) is not None
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= _LARGEST_EXACT_INT
    return isinstance(value, float)


def _to_bool(parameter: PipelineParameter, value: object) -> bool:
    if isinstance(value, bool):
        return value
    # v1 typed bools as ints on the wire, so its callers send 0 and 1, and all of them as text.
    word = str(value).lower() if isinstance(value, int | str) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    _refuse(parameter, value, "a bool")


def _to_str(parameter: PipelineParameter, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    _refuse(parameter, value, "a str")


def _to_scalar(parameter: PipelineParameter, value: object) -> bool | int | float | str | None:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    _refuse(parameter, value, "an int, a finite float, a str, a bool or None")


def _to_path(parameter: PipelineParameter, value: object) -> dict[str, str]:
    if isinstance(value, DataPath):
        return value.to_document()
    if isinstance(value, Mapping):
        for store, path in (("datastore", "path"), ("DataStoreName", "RelativePath")):  # ours, v1's REST
            if set(value) == {store, path}:
                return DataPath(value[store], value[path]).to_document()
    _refuse(parameter, value, 'a DataPath, or {"datastore": …, "path": …}')


def _to_dataset(parameter: PipelineParameter, value: object) -> dict[str, Any]:
    document = _definition_of(value)
    if document is None and isinstance(value, Mapping):
        document = dict(value)
    if document is None or not (_is_definition(document) or _is_dataset_reference(document)):
        _refuse(parameter, value, 'a dataset, its definition, {"dataset_id": …} or {"dataset_name": …}')
    kind, expected = document.get("kind"), _default_kind(parameter)
    if kind is not None and expected is not None and kind != expected:
        _refuse(parameter, value, f"a {expected} dataset")
    return document


def _default_kind(parameter: PipelineParameter) -> str | None:
    default = parameter.default_value
    document = default if isinstance(default, Mapping) else _definition_of(default) or {}
    kind = document.get("kind")
    return kind if isinstance(kind, str) else None


def _is_definition(document: Mapping[str, Any]) -> bool:
    return document.get("kind") in {"file", "tabular"} and isinstance(document.get("source"), Mapping)


def _is_dataset_reference(document: Mapping[str, Any]) -> bool:
    return set(document) in ({"dataset_id"}, {"dataset_name"}, {"dataset_name", "version"})


_CONVERTERS: dict[ParameterType, Callable[[PipelineParameter, Any], Any]] = {
    ParameterType.INT: _to_int,
    ParameterType.FLOAT: _to_float,
    ParameterType.STR: _to_str,
    ParameterType.BOOL: _to_bool,
    ParameterType.NONE: _to_scalar,
    ParameterType.DATAPATH: _to_path,
    ParameterType.DATASET: _to_dataset,
}

_SCHEMAS: dict[ParameterType, dict[str, Any]] = {
    ParameterType.INT: {"type": "integer"},
    ParameterType.FLOAT: {"type": "number"},
    ParameterType.STR: {"type": "string"},
    ParameterType.BOOL: {"type": "boolean"},
    ParameterType.NONE: {"type": ["null", "string", "number", "boolean"]},
    ParameterType.DATAPATH: {
        "type": "object",
        "properties": {"datastore": {"type": "string", "minLength": 1}, "path": {"type": "string"}},
        "required": ["datastore", "path"],
        "additionalProperties": False,
    },
    ParameterType.DATASET: {"type": "object"},
}
