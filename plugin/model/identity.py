"""Which step writes an output, shared by every object that stands for that output."""

from __future__ import annotations

import itertools
from typing import Any

from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = ["OutputIdentity"]

_unnamed = itertools.count(1)


class OutputIdentity:
    """One output of one step, whichever object a user holds it by.

    A PipelineData and its bindings, an OutputFileDatasetConfig and all its copies, point at one of these. Edges
    are drawn from it: producer and consumers may be declared in either order.

    :param name: the output's name, None when it takes one from its place among its step's outputs.
    :param kind: how messages call it (``PipelineData``).
    """

    __slots__ = ("_producer", "_producer_label", "consumers", "kind", "name", "placeholder", "port_name")

    def __init__(self, name: str | None, kind: str) -> None:
        self.name = name
        """The name the user gave, if any."""
        self.kind = kind
        self.placeholder = name or f"output_unnamed_{next(_unnamed)}"
        """What stands for the output inside an argument's text until it is bound. A counter, so that the same file
        parsed twice says the same; never used as a port name, because it depends on what else was imported."""
        self.port_name = name
        """Name of the output at its step: the user's, else set when a step binds it."""
        self.consumers: list[Any] = []
        """What reads the output, in order of declaration (any objects; the caller says which)."""
        self._producer: Any = None
        self._producer_label = ""

    @property
    def description(self) -> str:
        """How messages call it: ``PipelineData 'prepared'``."""
        return f"{self.kind} {self.name!r}" if self.name else f"an unnamed {self.kind}"

    @property
    def producer(self) -> Any:
        """What writes the output: the object given to :meth:`claim`, or None."""
        return self._producer

    def claim(self, producer: object, label: str) -> None:
        """Say who writes the output.

        :param producer: any object; claiming again for the same or an equal one does nothing.
        :param label: how messages call it (``PythonScriptStep 'prepare'``).
        :raises DefinitionError: another producer has it already.
        """
        known = self._producer
        # Equality too: Airflow makes new but equal operators when it unmaps or copies a DAG.
        if known is not None and known is not producer and known != producer:
            raise DefinitionError(
                f"{label}: argument outputs has {self.description}, which {self._producer_label} writes already; "
                "to read it here put it, or its as_input(...), into inputs; to write other data declare another output"
            )
        self._producer = producer
        self._producer_label = label

    def add_consumer(self, consumer: object) -> None:
        """Note something that reads the output; twice is once.

        :param consumer: any object.
        """
        if not any(known is consumer for known in self.consumers):
            self.consumers.append(consumer)

    def __copy__(self) -> OutputIdentity:
        """Return itself: copies of a declaration stand for the same output."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> OutputIdentity:
        """Return itself. A deep copy would tear producer and consumer apart, and copy whole steps with it."""
        return self

    def __repr__(self) -> str:
        """Return the description, for debugging."""
        return f"<output: {self.description}>"
