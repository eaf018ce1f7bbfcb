"""Resource limits of a step's process."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_azureml.runtime.exceptions import DefinitionError


@dataclass(frozen=True, slots=True)
class Limits:
    """What a step may use of the machine; ``None`` means no limit.

    :param memory_bytes: Memory of the whole process tree. Two mechanisms hold it, because control groups are not
        writable where workers usually live (containers, unprivileged users). Each single process gets it as
        ``RLIMIT_DATA``, so that the usual case ends in a ``MemoryError`` with the script's own traceback (``RLIMIT_AS``
        would count address space that numpy or CUDA reserve and never touch). The guard also looks at the
        proportional memory of the tree twice a second and kills it above the limit, so a burst of several processes
        may pass the limit for half a second.
    :param cpus: Number of CPUs, as affinity: libraries that size their thread pools by the CPUs they may use follow it.
    :raises DefinitionError: not a positive whole number.
    """

    memory_bytes: int | None = None
    cpus: int | None = None

    def __post_init__(self) -> None:
        for name in ("memory_bytes", "cpus"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise DefinitionError(
                    f"Limits: {name} is {value!r}; give a whole number of at least 1, or None"
                )
