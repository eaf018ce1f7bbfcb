"""From declared arguments to those of a run: templates, XCom values, and v1 text that is neither."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_azureml.model.parameters import PipelineParameter
from airflow_azureml.model.ports import Concatenation, Opaque, Ports, Text, Token, map_tokens
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from airflow_azureml.operators.step import PipelineStep


def rendered_ports(step: PipelineStep, context: Context) -> Ports:
    """Return a step's ports with the values of this run in its arguments and ``params``.

    Ports and placeholders were found when the step was declared; what a template or an XCom brings in now is plain text and
    cannot address them. Text without a template stays as it is, to the last line break: Jinja would change those.

    :param step: the step, whose template fields Airflow has rendered.
    :param context: Airflow's task context.
    :raises UserErrorException: an XCom value stands for all arguments and is no list.
    """
    environment = step.get_template_env()
    return replace(
        step.ports,
        arguments=_arguments(step, lambda text: _text(step, text, context, environment), environment),
        environment_parameters=_variables(step, environment),
    )


def _arguments(
    step: PipelineStep, render: Callable[[str], str], environment: jinja2.Environment
) -> tuple[Token, ...]:
    declared, given = step.ports.arguments, step.arguments
    if given is not None and not isinstance(given, list | tuple):
        raise UserErrorException(
            f"{step.title}: argument arguments is a {type(given).__name__} in this run, {given!r}; "
            "the task that it comes from has to return a list"
        )
    if not declared:
        return tuple(Text(str(value)) for value in given or ())
    return tuple(
        _argument(token, value, render, environment)
        for token, value in zip(declared, given or (), strict=True)
    )


def _argument(
    token: Token, value: Any, render: Callable[[str], str], environment: jinja2.Environment
) -> Token:
    if isinstance(token, Text):
        return Text(str(value)) if is_template(token.text, environment) else token
    if isinstance(token, Opaque):
        return Text(str(value))
    if isinstance(token, Concatenation):
        return map_tokens([token], render)[0]
    return token


def _variables(step: PipelineStep, environment: jinja2.Environment) -> dict[str, Any]:
    rendered = step.step_params or {}
    return {
        name: value if _is_final(value, environment) else rendered.get(name, value)
        for name, value in step.ports.environment_parameters.items()
    }


def _is_final(value: Any, environment: jinja2.Environment) -> bool:
    if isinstance(value, str):
        return not is_template(value, environment)
    return isinstance(value, PipelineParameter)


def _text(step: PipelineStep, text: str, context: Context, environment: jinja2.Environment) -> str:
    return str(step.render_template(text, context, environment)) if is_template(text, environment) else text


def is_template(text: str, environment: jinja2.Environment) -> bool:
    """Whether Jinja would find anything to do in a text.

    :param text: an argument.
    :param environment: the DAG's Jinja environment, which may have marks of its own.
    """
    marks = (
        environment.variable_start_string,
        environment.block_start_string,
        environment.comment_start_string,
        environment.line_statement_prefix,
        environment.line_comment_prefix,
    )
    return any(mark in text for mark in marks if mark)
