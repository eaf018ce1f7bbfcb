"""The one question about graphs that a definition has to answer: is there a circle in it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

__all__ = ["find_cycle"]

NodeT = TypeVar("NodeT", bound=Hashable)


def find_cycle(edges: Iterable[tuple[NodeT, NodeT]]) -> list[NodeT] | None:
    """Return the nodes of one cycle, first one repeated at the end, or None.

    :param edges: (before, after) pairs.
    """
    after: dict[NodeT, list[NodeT]] = {}
    for start, end in edges:
        after.setdefault(start, []).append(end)
    done: set[NodeT] = set()
    for root in after:
        if root not in done and (cycle := _cycle_from(root, after, done)):
            return cycle
    return None


def _cycle_from(root: NodeT, after: dict[NodeT, list[NodeT]], done: set[NodeT]) -> list[NodeT] | None:
    # By hand, not by recursion: a pipeline may be a chain longer than Python's stack.
    path: list[NodeT] = [root]
    on_path = {root}
    waiting = [iter(after.get(root, ()))]
    while path:
        for node in waiting[-1]:
            if node in on_path:
                return [*path[path.index(node) :], node]
            if node not in done:
                path.append(node)
                on_path.add(node)
                waiting.append(iter(after.get(node, ())))
                break
        else:
            waiting.pop()
            finished = path.pop()
            on_path.discard(finished)
            done.add(finished)
    return None
