"""Why a step was reused or ran, as short as a table needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_NAMED = 3
SAME = "same code, inputs and parameters"
_BEGINNINGS = ("ran again because ", "ran because ", "runs every time: ")


def because(reuse: Mapping[str, Any] | None, message: str) -> str:
    """Return the reason of a decision without the words that all of them share.

    :param reuse: the reuse document; ``None`` where no decision could be made.
    :param message: the sentence for people.
    """
    if reuse is None:
        return message
    if reuse["decision"] == "reuse":
        return SAME
    named = [str(item["what"]) for item in reuse["differences"]]
    if named and reuse["code"] == reuse["differences"][0]["code"]:
        more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
        return "; ".join(named[:MAX_NAMED]) + more
    for beginning in _BEGINNINGS:
        message = message.removeprefix(beginning)
    return message
