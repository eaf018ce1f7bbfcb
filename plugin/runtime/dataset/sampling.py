"""Random choices that every process repeats exactly.

The chosen items depend on the seed and on their position alone: not on the versions of Python, numpy or pandas.
``random.Random(int).random()`` is guaranteed to give one sequence in all Python versions.
"""

from __future__ import annotations

import random
from typing import Iterator


def draws(seed: int) -> Iterator[float]:
    """Yield the endless sequence of numbers in [0, 1) that belongs to a seed."""
    generator = random.Random(seed)  # noqa: S311 - repeatable is what it has to be
    while True:
        yield generator.random()


def choices(operation: dict[str, object]) -> Iterator[bool]:
    """Yield, item by item, whether a ``sample`` or ``split`` operation chooses it.

    The two parts of a split use the same draws, so each item is in exactly one of them.

    :param operation: an operation document with ``seed`` and ``probability``, and ``part`` for a split.
    """
    probability = float(operation["probability"])  # type: ignore[arg-type]
    second = operation.get("part") == "second"
    for draw in draws(int(operation["seed"])):  # type: ignore[call-overload]
        yield (draw < probability) is not second
