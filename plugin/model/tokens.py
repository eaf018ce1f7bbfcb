"""A step's arguments between declaration and run: text, references to ports and parameters, and mixtures of them.

An argument list is tokenised once, when the step is declared, because only then are the objects in it known. Text
that comes in later (rendered templates, XCom values) is never searched for placeholders again: data can't address ports.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from airflow_azureml.model.parameters import PARAMETER_PLACEHOLDER
from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = [
    "Concatenation",
    "InputToken",
    "Opaque",
    "OutputToken",
    "ParameterToken",
    "Text",
    "Token",
    "map_tokens",
    "parameters_of",
    "render_arguments",
    "token_from_document",
    "token_to_document",
    "tokenise_text",
]


@dataclass(frozen=True, slots=True)
class Text:
    """An argument, or a part of one, that is what it says."""

    text: str


@dataclass(frozen=True, slots=True)
class InputToken:
    """Stands for the path of an input, or the id of a dataset in direct mode."""

    name: str


@dataclass(frozen=True, slots=True)
class OutputToken:
    """Stands for the path of an output."""

    name: str


@dataclass(frozen=True, slots=True)
class ParameterToken:
    """Stands for the value of a pipeline parameter."""

    name: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """Something that only the run can turn into text, such as Airflow's XCom references."""

    value: Any


@dataclass(frozen=True, slots=True)
class Concatenation:
    """One argument made of several parts."""

    parts: tuple[Text | InputToken | OutputToken | ParameterToken, ...]


Token: TypeAlias = Text | InputToken | OutputToken | ParameterToken | Opaque | Concatenation
Part: TypeAlias = Text | InputToken | OutputToken | ParameterToken

_FIRST_LETTERS = "$D"
"""What placeholders begin with: ``$AZUREML_…``, ``$AML_…``, ``Dataset…``."""

_UNRESOLVED = re.compile(r"\$AZUREML_DATAREFERENCE_\w+|DatasetConsumptionConfig:\w+|DatasetOutputConfig:\w+")
_PARAMETER_BY_NAME = re.compile(re.escape(PARAMETER_PLACEHOLDER) + r"(\w+)")
_WHOLE_PARAMETER = "parameter:"
_OPTION = re.compile(r"--?[A-Za-z][^=\s]*")
_OPTION_WITH_VALUE = re.compile(r"--?[A-Za-z][^=\s]*=")


def tokenise_text(text: str, placeholders: Mapping[str, Part], where: str) -> Text | Part | Concatenation:
    """Find the placeholders in an argument's text.

    :param text: the argument.
    :param placeholders: placeholder text to what it stands for. The longest that fits wins, so that
        ``out.arg_val + "x.csv"`` works, and names may start alike.
    :param where: the argument for the message: ``PythonScriptStep 'train': argument arguments[1]``.
    :raises DefinitionError: a placeholder names a port that the step doesn't have.
    """
    if text.startswith(_WHOLE_PARAMETER) and len(text) > len(_WHOLE_PARAMETER):
        return ParameterToken(text.removeprefix(_WHOLE_PARAMETER))
    if "$" not in text and ":" not in text:
        return Text(text)
    parts: list[Part] = []
    for piece, known in _split(text, placeholders):
        parts += [known] if known is not None else _parameters_in(piece)
    for part in parts:
        if isinstance(part, Text) and (lost := _UNRESOLVED.search(part.text)):
            raise DefinitionError(
                f"{where} has {lost.group()!r} in it, which is no input or output of this step; "
                "put the object that it comes from into inputs or outputs"
            )
    if not parts:
        return Text("")
    return parts[0] if len(parts) == 1 else Concatenation(tuple(parts))


def _split(text: str, placeholders: Mapping[str, Part]) -> list[tuple[str, Part | None]]:
    """Cut text at the placeholders in it."""
    # By hand: compiling a pattern of its own for every step costs more than all else in declaring it.
    longest_first = sorted(placeholders, key=lambda word: (-len(word), word))
    pieces: list[tuple[str, Part | None]] = []
    start = 0
    for place, letter in enumerate(text):
        if place < start or letter not in _FIRST_LETTERS:
            continue
        word = next((word for word in longest_first if text.startswith(word, place)), None)
        if word is not None:
            pieces += [(text[start:place], None), (word, placeholders[word])]
            start = place + len(word)
    pieces.append((text[start:], None))
    return [(piece, part) for piece, part in pieces if piece]


def _parameters_in(text: str) -> list[Part]:
    pieces = _PARAMETER_BY_NAME.split(text)
    return [
        ParameterToken(piece) if place % 2 else Text(piece) for place, piece in enumerate(pieces) if piece
    ]


def parameters_of(tokens: Iterable[Token]) -> list[str]:
    """Return the names of the parameters that arguments use, in order, each once.

    :param tokens: an argument list.
    """
    found: dict[str, None] = {}
    for token in tokens:
        for part in token.parts if isinstance(token, Concatenation) else (token,):
            if isinstance(part, ParameterToken):
                found[part.name] = None
    return list(found)


def map_tokens(tokens: Iterable[Token], render: Callable[[Any], Any]) -> tuple[Token, ...]:
    """Return arguments with their text and opaque values rendered, everything else as it is.

    :param tokens: an argument list.
    :param render: given text or an opaque value, returns what it becomes (Airflow's template rendering).
    """
    return tuple(_mapped(token, render) for token in tokens)


def _mapped(token: Token, render: Callable[[Any], Any]) -> Token:
    if isinstance(token, Text):
        return Text(str(render(token.text)))
    if isinstance(token, Opaque):
        return Text(str(render(token.value)))
    if isinstance(token, Concatenation):
        return Concatenation(
            tuple(Text(str(render(part.text))) if isinstance(part, Text) else part for part in token.parts)
        )
    return token


def render_arguments(
    tokens: Sequence[Token],
    *,
    input_values: Mapping[str, str],
    output_values: Mapping[str, str],
    parameter_values: Mapping[str, Any],
) -> list[str]:
    """Return the argument vector of a run. Everything becomes text as ``str`` makes it (``True``, ``None``, ``0.1``).

    A parameter whose value is None leaves its argument out, and with it the option just before (``"--alpha", alpha``)
    or around it (``"--alpha=" + alpha.arg_val``), so that the script's own default applies.

    :param tokens: an argument list.
    :param input_values: input name to path or dataset id.
    :param output_values: output name to path.
    :param parameter_values: parameter name to value.
    :raises KeyError: a value is missing.
    """
    values = _Values(input_values, output_values, parameter_values)
    rendered: list[str] = []
    previous: Token | None = None
    for token in tokens:
        text = values.text_of(token)
        if text is not None:
            rendered.append(text)
        elif isinstance(previous, Text) and _OPTION.fullmatch(previous.text):
            rendered.pop()
        previous = token
    return rendered


@dataclass(frozen=True, slots=True)
class _Values:
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    parameters: Mapping[str, Any]

    def text_of(self, token: Token) -> str | None:
        """Return an argument's text, None when it is left out."""
        if isinstance(token, Opaque):
            return str(token.value)
        if not isinstance(token, Concatenation):
            return self._part(token)
        texts = [self._part(part) for part in token.parts]
        first = token.parts[0]
        if (
            len(texts) == 2
            and texts[1] is None
            and isinstance(first, Text)
            and _OPTION_WITH_VALUE.fullmatch(first.text)
        ):
            return None
        return "".join(text or "" for text in texts)

    def _part(self, part: Part) -> str | None:
        if isinstance(part, Text):
            return part.text
        if isinstance(part, InputToken):
            return str(self.inputs[part.name])
        if isinstance(part, OutputToken):
            return str(self.outputs[part.name])
        value = self.parameters[part.name]
        return None if value is None else str(value)


_KEYS: dict[type, str] = {
    Text: "text",
    InputToken: "input",
    OutputToken: "output",
    ParameterToken: "parameter",
}


def token_to_document(token: Token) -> dict[str, Any]:
    """Return an argument as JSON; an opaque value becomes its text (for Airflow's references, a template).

    :param token: an argument.
    """
    if isinstance(token, Concatenation):
        return {"parts": [token_to_document(part) for part in token.parts]}
    if isinstance(token, Opaque):
        return {"text": str(token.value)}
    return {_KEYS[type(token)]: token.text if isinstance(token, Text) else token.name}


def token_from_document(document: Mapping[str, Any]) -> Token:
    """Return the argument that a document describes.

    :param document: as written by :func:`token_to_document`.
    :raises DefinitionError: it is no such document.
    """
    if set(document) == {"parts"}:
        return Concatenation(tuple(_part_from(part) for part in document["parts"]))
    return _part_from(document)


def _part_from(document: Mapping[str, Any]) -> Part:
    for kind, key in (
        (Text, "text"),
        (InputToken, "input"),
        (OutputToken, "output"),
        (ParameterToken, "parameter"),
    ):
        if set(document) == {key}:
            part: Part = kind(document[key])
            return part
    raise DefinitionError(
        f"an argument is one of text, input, output, parameter or parts, not {dict(document)!r}"
    )
