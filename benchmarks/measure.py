"""What the benchmarks share: timing two sides in turn, and a table with both, their ratio and the target."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPEATS = 7


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison; times in seconds.

    :param what: what was measured.
    :param here: the times of this package.
    :param peer: the times of what it is compared with.
    :param target: the ratio that must not be exceeded; None for a figure that is only of interest.
    :param limit_s: the time that must not be exceeded.
    """

    what: str
    here: Sequence[float]
    peer: Sequence[float]
    target: float | None = None
    limit_s: float | None = None

    @property
    def ratio(self) -> float:
        """Median against median."""
        return statistics.median(self.here) / statistics.median(self.peer)

    def cells(self) -> list[str]:
        """Return the row as it is printed."""
        return [
            self.what,
            _shown(self.here),
            _shown(self.peer),
            f"{self.ratio:.2f}",
            self._wanted(),
            self._verdict(),
        ]

    def _wanted(self) -> str:
        if self.limit_s is not None:
            return f"≤ {self.limit_s * 1000:.0f} ms"
        return "" if self.target is None else f"≤ {self.target:.2f}"

    def _verdict(self) -> str:
        if self.limit_s is not None:
            return "ok" if statistics.median(self.here) <= self.limit_s else "over"
        if self.target is not None:
            return "ok" if self.ratio <= self.target else "over"
        return ""


def print_table(title: str, peer: str, rows: Sequence[Row]) -> None:
    """Print comparisons with one peer."""
    repeats = min(len(row.here) for row in rows)
    print(f"\n{title}\nmedian of {repeats} or more (fastest), milliseconds; load {load()}\n")
    table = [["", "here", peer, "ratio", "target", ""], *(row.cells() for row in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
    for cells in table:
        first, *others = zip(cells, widths, strict=True)
        print("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip())
    print(flush=True)


def alternately(sides: Mapping[str, Callable[[], float]], repeats: int = REPEATS) -> dict[str, list[float]]:
    """Take each side's time in turn, so that other work on the machine meets all of them; the first round is for warming up."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats + 1):
        for name, measure in sides.items():
            taken = measure()
            if number:
                times[name].append(taken)
    return times


def fresh_python(*arguments: str, cwd: Path, variables: Mapping[str, str] | None = None) -> str:
    """Run a new interpreter, compiled files allowed, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**environment, **(variables or {})},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def machine() -> str:
    """Return what the figures depend on."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {load()}"
    )


def load() -> str:
    """Return the load average of the last minute and the last five."""
    one, five, _ = os.getloadavg()
    return f"{one:.1f} ({five:.1f})"


def _shown(times: Sequence[float]) -> str:
    return f"{statistics.median(times) * 1000:.1f} ({min(times) * 1000:.1f})"
