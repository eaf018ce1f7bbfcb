"""Tables, queries and stored procedures of databases, as a DAG file declares them.

v1 source: ``azureml.data.sql_data_reference`` and ``azureml.data.stored_procedure_parameter``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NoReturn

from airflow_azureml.model import names
from airflow_azureml.model.parameters import PipelineParameter
from airflow_azureml.model.paths import DataReference, datastore_name
from airflow_azureml.model.sql_source import SqlParameter, SqlSource, check_parameters, typed_value
from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = ["SqlDataReference", "StoredProcedureParameter", "StoredProcedureParameterType"]


class StoredProcedureParameterType(Enum):
    """Type of a stored procedure's parameter. v1 source: ``StoredProcedureParameterType``."""

    String = "String"
    Int = "Int"
    Decimal = "Decimal"
    Guid = "Guid"
    Boolean = "Boolean"
    Date = "Date"


class StoredProcedureParameter:
    """A value for a parameter of a stored procedure.

    :param name: what the procedure calls it; ``@`` before it is dropped.
    :param value: the value or its text, or a PipelineParameter.
    :param type: what it is to the database; text without one.
    :raises DefinitionError: a name that is none.
    :raises UserErrorException: a value that isn't of the type. v1 source: ``StoredProcedureParameter``; it looked at neither.
    """

    def __init__(
        self, name: str, value: object, type: StoredProcedureParameterType | str | None = None
    ) -> None:
        (checked,) = check_parameters("StoredProcedureParameter", [(name, None)])
        self.name = checked.name
        self.type = _parameter_type(self.name, type)
        self.value = value
        if not isinstance(value, PipelineParameter):
            self.bound({})

    def bound(self, values: Mapping[str, Any]) -> SqlParameter:
        """Return the parameter with the value it has in a run.

        :param values: the run's pipeline parameters by name.
        :raises UserErrorException: the value isn't of the type.
        """
        value = _value_of(self.value, values)
        return SqlParameter(
            self.name, typed_value(f"StoredProcedureParameter {self.name!r}", self.type.value, value)
        )

    def __repr__(self) -> str:
        """Return the constructor's call without the value."""
        return f"StoredProcedureParameter({self.name!r}, …, {self.type})"


class SqlDataReference(DataReference):
    """What a transfer reads from a database, or the table it writes to.

    :param datastore: Datastore object or name; a database.
    :param data_reference_name: name of the port; without it one is made from datastore and source.
    :param sql_table: a table or view, ``table`` or ``schema.table``, quoted as SQL does where a name needs it; or a
        PipelineParameter.
    :param sql_query: one query.
    :param sql_stored_procedure: a procedure that returns rows.
    :param sql_stored_procedure_params: its parameters.
    :param sql_query_parameters: values for ``:name`` in the query, PipelineParameters among them (v1 had no such thing).
    :raises DefinitionError: not exactly one of table, query and procedure, or parameters for another one. v1 source:
        ``azureml.data.sql_data_reference.SqlDataReference``; it checked nothing.
    """

    def __init__(
        self,
        datastore: object,
        data_reference_name: str | None = None,
        sql_table: str | PipelineParameter | None = None,
        sql_query: str | None = None,
        sql_stored_procedure: str | None = None,
        sql_stored_procedure_params: Sequence[StoredProcedureParameter] | None = None,
        *,
        sql_query_parameters: Mapping[str, Any] | None = None,
    ) -> None:
        store = datastore_name("SqlDataReference", datastore)
        self.sql_table = sql_table
        self.sql_query = sql_query
        self.sql_stored_procedure = sql_stored_procedure
        self.sql_stored_procedure_params = list(sql_stored_procedure_params or [])
        self.sql_query_parameters = dict(sql_query_parameters or {})
        self._check()
        generated = data_reference_name is None
        super().__init__(datastore, data_reference_name or self._stable_name(store or ""))
        self.has_generated_name = generated

    def source(self, values: Mapping[str, Any] | None = None) -> SqlSource:
        """Return what is read.

        :param values: the run's pipeline parameters by name; their defaults where it has none.
        :raises UserErrorException: a value that doesn't fit its type.
        """
        values = values or {}
        if self.sql_table is not None:
            return SqlSource.table(self.table(values))
        if self.sql_query is not None:
            pairs = {name: _value_of(value, values) for name, value in self.sql_query_parameters.items()}
            return SqlSource.query(self.sql_query, pairs)
        parameters = [parameter.bound(values) for parameter in self.sql_stored_procedure_params]
        return SqlSource.procedure(str(self.sql_stored_procedure), parameters)

    def table(self, values: Mapping[str, Any] | None = None) -> str:
        """Return the name of the table, for writing.

        :param values: the run's pipeline parameters by name.
        :raises DefinitionError: it names a query or procedure.
        """
        if self.sql_table is None:
            raise DefinitionError(
                f"SqlDataReference {self.data_reference_name!r} is no place to write to; give it sql_table"
            )
        return str(_value_of(self.sql_table, values or {}))

    def pipeline_parameters(self) -> list[PipelineParameter]:
        """Return the pipeline parameters it uses."""
        candidates = [
            self.sql_table,
            *self.sql_query_parameters.values(),
            *(parameter.value for parameter in self.sql_stored_procedure_params),
        ]
        return [candidate for candidate in candidates if isinstance(candidate, PipelineParameter)]

    def path(self, path: str | None = None, data_reference_name: str | None = None) -> NoReturn:
        """Refuse: a database has no paths (v1: the same error)."""
        raise NotImplementedError("a SqlDataReference has no paths; give sql_table, sql_query or a procedure")

    def as_mount(self) -> NoReturn:
        """Refuse: a database cannot be mounted (v1: the same error)."""
        self._refuse_mode()

    def as_download(self, path_on_compute: str | None = None, overwrite: bool = False) -> NoReturn:
        """Refuse: a database cannot be downloaded (v1: the same error)."""
        self._refuse_mode()

    def as_upload(self, path_on_compute: str | None = None, overwrite: bool = False) -> NoReturn:
        """Refuse: nothing is uploaded to a database as files (v1: the same error)."""
        self._refuse_mode()

    def _refuse_mode(self) -> NoReturn:
        raise NotImplementedError(
            "a SqlDataReference is for DataTransferStep; as a step input use Dataset.Tabular.from_sql_query"
        )

    def _check(self) -> None:
        texts = {
            "sql_table": self.sql_table,
            "sql_query": self.sql_query,
            "sql_stored_procedure": self.sql_stored_procedure,
        }
        given = [name for name, value in texts.items() if value is not None]
        if len(given) != 1:
            raise DefinitionError(
                f"SqlDataReference: {' and '.join(given) or 'none of sql_table, sql_query, sql_stored_procedure'} "
                "given; give exactly one of the three"
            )
        (name,) = given
        _check_text(name, texts[name])
        if self.sql_stored_procedure_params and name != "sql_stored_procedure":
            raise DefinitionError(
                f"SqlDataReference: sql_stored_procedure_params given with {name}; they are for sql_stored_procedure"
            )
        if self.sql_query_parameters and name != "sql_query":
            raise DefinitionError(
                f"SqlDataReference: sql_query_parameters given with {name}; they are for sql_query"
            )
        self._check_values()

    def _check_values(self) -> None:
        for parameter in self.sql_stored_procedure_params:
            if not isinstance(parameter, StoredProcedureParameter):
                raise DefinitionError(
                    f"SqlDataReference: sql_stored_procedure_params holds {names.kind_of(parameter)}; "
                    "give StoredProcedureParameter objects"
                )
        pairs = [(name, _value_of(value, {})) for name, value in self.sql_query_parameters.items()]
        check_parameters("SqlDataReference: sql_query_parameters", pairs)

    def _stable_name(self, store: str) -> str:
        described = [
            self.sql_query or self.sql_stored_procedure or str(self.sql_table),
            [[name, str(value)] for name, value in self.sql_query_parameters.items()],
            [[each.name, each.type.value, str(each.value)] for each in self.sql_stored_procedure_params],
        ]
        digest = hashlib.sha256(json.dumps([store, described]).encode("utf-8", "surrogatepass")).hexdigest()
        return f"sql_{digest[:8]}"


def _check_text(argument: str, text: object) -> None:
    if argument == "sql_table" and isinstance(text, PipelineParameter):
        return
    if isinstance(text, PipelineParameter):
        raise DefinitionError(
            f"SqlDataReference: {argument} is a PipelineParameter; write the statement here, with :name for what "
            "varies, and give sql_query_parameters"
        )
    if not isinstance(text, str) or not text.strip():
        raise DefinitionError(f"SqlDataReference: {argument} is {text!r}; give text")


def _parameter_type(name: str, given: object) -> StoredProcedureParameterType:
    if given is None:
        return StoredProcedureParameterType.String
    try:
        return StoredProcedureParameterType(given)
    except ValueError:
        known = ", ".join(member.value for member in StoredProcedureParameterType)
        raise DefinitionError(
            f"StoredProcedureParameter {name!r}: argument type is {given!r}; use one of {known}"
        ) from None


def _value_of(value: Any, values: Mapping[str, Any]) -> Any:
    if not isinstance(value, PipelineParameter):
        return value
    return values.get(value.name, value.airflow_default())
