"""Order without data: one step after another.

v1 source: ``azureml.pipeline.core.StepSequence``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from airflow_azureml.model.names import kind_of
from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = ["StepSequence"]


class StepSequence:
    """Steps that run one after another; an inner list is a group that runs in parallel.

    Inside ``with Pipeline(…):`` making one is enough; elsewhere it is given to ``Pipeline(steps=…)``, as in v1.

    :param steps: steps, lists of steps, sequences; empty lists count for nothing.
    :raises DefinitionError: something else, or no list at all.
    """

    def __init__(self, steps: list[Any] | tuple[Any, ...] | None = None) -> None:
        if steps is not None and not isinstance(steps, list | tuple):
            raise DefinitionError(f"StepSequence: argument steps is {kind_of(steps)}; give a list of steps")
        for place, item in enumerate(steps or ()):
            if item is None or isinstance(item, str | dict | set):
                raise DefinitionError(
                    f"StepSequence: argument steps[{place}] is {item!r}; give a step or a list of them"
                )
        self.items = tuple(steps or ())
        self.connect(_order_in_pipeline)

    @property
    def steps(self) -> list[Any]:
        """All steps in it, in order, each once."""
        found: dict[int, Any] = {}
        for item in self.items:
            for step in _flat(item):
                found.setdefault(id(step), step)
        return list(found.values())

    def __iter__(self) -> Iterator[Any]:
        """Go through the items as they were given."""
        return iter(self.items)

    def pairs(self) -> list[tuple[Any, Any]]:
        """Return (before, after) for every order between two steps that the sequence says directly."""
        found: list[tuple[Any, Any]] = []
        self.connect(lambda before, after: found.append((before, after)))
        return found

    def connect(self, link: Callable[[Any, Any], object]) -> None:
        """Call a function for every (before, after) of the sequence.

        :param link: called as ``link(before, after)``.
        """
        _connect_in_order(self.items, link)


def _order_in_pipeline(before: Any, after: Any) -> None:
    """Order two steps that are in a pipeline already, as those declared inside ``with`` are; others it orders later."""
    if all(hasattr(step, "has_dag") and step.has_dag() for step in (before, after)):
        after.set_upstream(before)


def _flat(item: Any) -> Iterator[Any]:
    if isinstance(item, StepSequence):
        yield from item.steps
    elif isinstance(item, list | tuple):
        for inner in item:
            yield from _flat(inner)
    else:
        yield item


def _connect_in_order(
    items: tuple[Any, ...], link: Callable[[Any, Any], object]
) -> tuple[list[Any], list[Any]]:
    """Link items one after another; return the steps that start and the steps that end the row."""
    first: list[Any] = []
    last: list[Any] = []
    for item in items:
        starts, ends = _ends_of(item, link)
        if not starts:
            continue
        for before in last:
            for after in starts:
                link(before, after)
        first = first or starts
        last = ends
    return first, last


def _ends_of(item: Any, link: Callable[[Any, Any], object]) -> tuple[list[Any], list[Any]]:
    if isinstance(item, StepSequence):
        return _connect_in_order(item.items, link)
    if isinstance(item, list | tuple):
        ends = [_ends_of(inner, link) for inner in item]
        return [step for starts, _ in ends for step in starts], [step for _, stops in ends for step in stops]
    return [item], [item]
