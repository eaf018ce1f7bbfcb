"""Types of text columns, decided by all of their values.

v1 looked at the first rows only and made later values that didn't fit missing. Deciding by the whole column loses
nothing: a column is numeric, boolean or a time only when every value is.
"""

from __future__ import annotations

from typing import Any

from airflow_azureml.runtime.dataset.engine import times
from airflow_azureml.runtime.dataset.engine.libraries import pandas

MISSING_MARKERS = frozenset(("NA", "N/A", "n/a", "NaN", "nan", "NULL", "Null", "null", "None", "#N/A"))
"""Text that stands for a missing number; in a column of text it is text (``NA`` is a country)."""

_TRUTH = {"true": True, "false": False}


def infer_types(frame: Any, columns: Any) -> Any:
    """Return a frame whose text columns have the types their values spell.

    :param frame: what a reader made of the files: numbers are numbers already.
    :param columns: the columns to look at; the others were given a type.
    """
    inferred = {}
    for name in columns:
        if is_text(frame[name]):
            values = _inferred(frame[name])
            if values is not None:
                inferred[name] = values
    return frame.assign(**inferred) if inferred else frame


def is_text(values: Any) -> bool:
    """Tell whether a column holds text, or a mixture that some file's reader left as objects."""
    types = pandas().api.types
    return bool(types.is_object_dtype(values.dtype) or types.is_string_dtype(values.dtype))


def _inferred(values: Any) -> Any | None:
    present = values.dropna()
    if present.empty or not _is_all_text(present):
        return None
    for infer in (_numbers, _truths, times.inferred):
        found = infer(values)
        if found is not None:
            return found
    return None


def _is_all_text(present: Any) -> bool:
    types = pandas().api.types
    return bool(not types.is_object_dtype(present.dtype) or types.infer_dtype(present) == "string")


def _numbers(values: Any) -> Any | None:
    if not _could_be_number(values.dropna().iloc[0]):
        return None
    texts = values.where(~values.isin(list(MISSING_MARKERS)))
    if texts.isna().all():
        return None
    numbers = pandas().to_numeric(texts, errors="coerce")
    return None if numbers.isna().sum() > texts.isna().sum() else numbers


def _could_be_number(text: str) -> bool:
    if text in MISSING_MARKERS:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _truths(values: Any) -> Any | None:
    if values.dropna().iloc[0].lower() not in _TRUTH:
        return None
    truths = [_TRUTH.get(text.lower(), text) if isinstance(text, str) else None for text in values.tolist()]
    if any(isinstance(truth, str) for truth in truths):
        return None
    dtype = "object" if None in truths else "bool"
    return pandas().Series(truths, index=values.index, name=values.name, dtype=dtype)
