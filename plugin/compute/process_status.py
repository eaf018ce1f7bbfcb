"""How a step's process ended."""

from __future__ import annotations

import signal as signals
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a step's process ended.

    :param code: exit code; ``None`` if a signal ended it.
    :param signal: number of the signal that ended it; ``None`` if it exited.
    :param timed_out: it was stopped because its time was up.
    :param canceled: it was stopped on request.
    :param oom: it was killed, not by us, while the kernel's out-of-memory killer was at work: most likely by that.
        A hint, because the kernel counts its victims per machine.
    :param duration_s: from the start of the process to its end.
    :param leftovers_killed: processes that it had started and that were still there at its end.
    :param leftovers_alive: of these, the ones that could not be killed (another user's, uninterruptible sleep).
    :param memory_exceeded_bytes: memory of the process tree when it was killed for exceeding the limit, else 0.
    :param peak_memory_bytes: largest resident memory of the process or of a child it waited for.
    :param guard_lost: the guard disappeared; ``code`` and ``signal`` are then not known exactly.
    """

    code: int | None
    signal: int | None
    timed_out: bool = False
    canceled: bool = False
    oom: bool = False
    duration_s: float = 0.0
    leftovers_killed: int = 0
    leftovers_alive: int = 0
    memory_exceeded_bytes: int = 0
    peak_memory_bytes: int = 0
    guard_lost: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether it exited with 0 by itself; a process that was stopped and says 0 did not do its work."""
        return self.code == 0 and not (self.timed_out or self.canceled)

    def describe(self) -> str:
        """Return one line for a log: the exit code or the signal, and why if that is known."""
        if self.code is not None:
            ending = f"exit code {self.code}"
        elif self.signal is not None:
            ending = f"killed by {_signal_name(self.signal)}"
        else:
            ending = "ended in a way that is not known"
        reason = self._reason()
        return f"{ending} ({reason})" if reason else ending

    def _reason(self) -> str:
        if self.memory_exceeded_bytes:
            return f"its processes used {self.memory_exceeded_bytes:,} bytes, more than the memory limit"
        if self.oom:
            return "the machine, or the worker's container, ran out of memory"
        if self.timed_out:
            return "its time was up"
        if self.canceled:
            return "it was asked to stop"
        return "its guard process was killed" if self.guard_lost else ""


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"
