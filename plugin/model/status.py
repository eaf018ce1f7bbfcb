"""The states of a run."""

from __future__ import annotations

from enum import StrEnum

from airflow_azureml.runtime.exceptions import UserErrorException

__all__ = ["RunStatus"]


class RunStatus(StrEnum):
    """State of a pipeline run or a step run, in v1's words.

    Read one with :meth:`parse`, once, where it enters the process.
    """

    NOT_STARTED = "NotStarted"
    QUEUED = "Queued"
    PREPARING = "Preparing"
    RUNNING = "Running"
    CANCEL_REQUESTED = "CancelRequested"
    FINISHED = "Finished"
    FAILED = "Failed"
    CANCELED = "Canceled"

    @classmethod
    def parse(cls, word: str) -> RunStatus:
        """Return the state that a word names.

        :param word: one of v1's status words, spelled exactly.
        :raises UserErrorException: the word is not known.
        """
        try:
            return cls(word)
        except ValueError:
            known = ", ".join(status.value for status in cls)
            raise UserErrorException(f"{word!r} is not the status of a run; known are {known}") from None

    @property
    def is_terminal(self) -> bool:
        """Whether a run in this state stays in it."""
        return self in _TERMINAL


_TERMINAL = frozenset({RunStatus.FINISHED, RunStatus.FAILED, RunStatus.CANCELED})
