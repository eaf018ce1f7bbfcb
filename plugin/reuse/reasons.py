"""Why a step was reused or ran: one code each, the words a person reads, and which code outranks which."""

from __future__ import annotations

from enum import StrEnum


class ReasonCode(StrEnum):
    """The reason behind a reuse decision.

    The order of declaration is the rank: when several hold, the first is named first.
    """

    HIT = "hit"
    JOINED = "joined"
    BYPASSED_BY_RUN = "bypassed_by_run"
    BYPASSED_BY_STEP = "bypassed_by_step"
    INDEX_DOWN = "index_down"
    SAMPLED = "sampled"
    INVALIDATED = "invalidated"
    OUTPUT_GONE = "output_gone"
    OUTPUT_CORRUPT = "output_corrupt"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    STALE_FOR_RUN = "stale_for_run"
    WEAK_IDENTITY = "weak_identity"
    CODE = "code"
    PARAMETER = "parameter"
    INPUT = "input"
    ENVIRONMENT = "environment"
    INTERFACE = "interface"
    NEW = "new"

    @property
    def rank(self) -> int:
        """Position in the order of importance; 0 is named first."""
        return list(ReasonCode).index(self)
