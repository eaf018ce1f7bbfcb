"""A transfer from its manifests to its result.

Both sides are listed first and compared. Small files are copied many at a time, large ones a few at a time in ranges, so memory
has a bound whatever is copied. Each file that has arrived is noted in the journal. Deletions come last, when all files are there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

from airflow_azureml.runtime.exceptions import AzureMLException, StepCanceled, StoreError
from airflow_azureml.storage.files import StoreBusy
from airflow_azureml.transfer.azure_requests import close, quick
from airflow_azureml.transfer.copying import Copied, FileCopier
from airflow_azureml.transfer.folders import delete_extra, make_empty_folders, remove_empty_folders
from airflow_azureml.transfer.journal import Journal, JournalEntry
from airflow_azureml.transfer.lanes import Lanes
from airflow_azureml.transfer.pace import Pace, Stopped
from airflow_azureml.transfer.plan import Plan, make_plan
from airflow_azureml.transfer.progress import Progress, duration, size
from airflow_azureml.transfer.reading import PIECE_BYTES
from airflow_azureml.transfer.request import TransferRequest, TransferResult
from airflow_azureml.transfer.spool import Pair, Spool

LARGE_AT_ONCE = 2
RANGES_AT_ONCE = 6
JOURNAL_EVERY_S = 1.0
_DRY_RUN_LINES = 100


def transfer(
    request: TransferRequest,
    *,
    journal: Journal | None,
    stopping: threading.Event,
    tell: Callable[[str], None],
) -> TransferResult:
    """Copy what a request asks for.

    :param journal: what earlier transfers of the same request have done, and where this one is noted
        (``Journal(store, prefix)`` with ``request.key`` in the prefix); None to begin without memory.
    :param stopping: end early, as soon as it is set.
    :param tell: takes lines for the log; may be called by several threads.
    :raises StepCanceled: it was stopped.
    :raises UserErrorException: the request cannot be met as it is.
    :raises StoreError: a file could not be copied; ``transient`` says whether another try may do it. What was
        copied before is in the journal and isn't copied again.
    """
    began = time.monotonic()
    request = replace(request, source=quick(request.source), target=quick(request.target))
    with Spool() as spool, _connections(request):
        plan = make_plan(request, journal, spool)
        tell(_plan_line(request, plan))
        counts = _Copying(request, plan, spool, journal, stopping, tell).run()
        make_empty_folders(request)
        deleted = _mirror(request, plan, spool, stopping, tell)
        if journal is not None and not request.dry_run:
            journal.gather(spool.entries(), spool.count("done")[0])
        result = TransferResult(
            copied=counts["copied"],
            skipped=plan.files - counts["copied"] - counts["kept"],
            kept=counts["kept"],
            deleted=deleted,
            verified=counts["verified"],
            repeated=counts["repeated"],
            size_bytes=counts["bytes"],
            seconds=time.monotonic() - began,
            written=tuple(replace(file, path=request.target_file(file.path)) for file in spool.written()),
        )
    tell(_end_line(request, result))
    return result


@contextmanager
def _connections(request: TransferRequest) -> Iterator[None]:
    try:
        yield
    finally:
        close(request.source)
        close(request.target)


class _Copying:
    """The copying of all files. Everything but the copying itself happens in the thread that made it."""

    def __init__(
        self,
        request: TransferRequest,
        plan: Plan,
        spool: Spool,
        journal: Journal | None,
        stopping: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        self._request = request
        self._spool = spool
        self._journal = None if request.dry_run else journal
        self._stopping = stopping
        self._tell = tell
        self._halt = threading.Event()
        self._pace = Pace(self._halt, request.bandwidth_bytes_s)
        self._progress = Progress(plan.todo, plan.todo_bytes, tell)
        self._copier = FileCopier(request, self._pace, self._halt, ranges=RANGES_AT_ONCE, tell=tell)
        self._lanes: Lanes[Pair, Copied] = Lanes(
            self._copier.copy,
            [
                (spool.todo(above=-1, up_to=PIECE_BYTES), request.workers),
                (spool.todo(above=PIECE_BYTES), LARGE_AT_ONCE),
            ],
        )
        self._unnoted: list[JournalEntry] = []
        self._noted = time.monotonic()
        self._counts = dict.fromkeys(("copied", "skipped", "kept", "verified", "repeated", "bytes"), 0)
        self._failure: tuple[Pair, BaseException] | None = None

    def run(self) -> dict[str, int]:
        """Copy, and return what was counted."""
        try:
            self._copy_all()
        finally:
            # However this ends: no thread goes on writing, and what has arrived is noted.
            self._end()
            for outcome in self._lanes.outcomes():
                self._take(outcome)
            self._lanes.close()
            self._copier.close()
            self._note()
        if self._failure is not None:
            self._explain(*self._failure)
        if self._stopping.is_set():
            raise StepCanceled(
                f"transfer of {self._request.name} was stopped; {self._counts['copied']} files had been copied, "
                "which another try leaves as they are"
            )
        return self._counts

    def _copy_all(self) -> None:
        for outcome in self._lanes.outcomes():
            self._take(outcome)
            if self._stopping.is_set():
                self._end()
            if time.monotonic() - self._noted >= JOURNAL_EVERY_S:
                self._note()
            self._progress.say(self._pace.passed_bytes)

    def _end(self) -> None:
        self._halt.set()
        self._lanes.stop()

    def _take(self, outcome: tuple[Pair, Copied | BaseException] | None) -> None:
        if outcome is None:
            return
        pair, answer = outcome
        if isinstance(answer, Copied):
            self._count(answer)
        elif not isinstance(answer, Stopped) and self._failure is None:
            self._failure = pair, answer
            self._end()

    def _count(self, copied: Copied) -> None:
        counts = self._counts
        counts[copied.what] += 1
        counts["repeated"] += copied.repeated
        self._progress.file_done(copied.size_bytes)
        if copied.what == "copied":
            counts["verified"] += copied.verified
            counts["bytes"] += copied.size_bytes
            if self._request.dry_run:
                _say_some(self._tell, counts["copied"], f"would copy {copied.path!r}")
        if copied.what != "kept" and copied.target is not None:
            target, is_new = copied.target, copied.what == "copied"
            self._spool.add_done(copied.path, copied.source, target, copied.md5, copied=is_new)
            self._unnoted.append(JournalEntry(copied.path, copied.source, target.version, copied.md5))

    def _note(self) -> None:
        self._noted = time.monotonic()
        if self._journal is not None and self._unnoted:
            self._journal.append(self._unnoted)
        self._unnoted.clear()

    def _explain(self, pair: Pair, error: BaseException) -> NoReturn:
        if not isinstance(error, (AzureMLException, OSError)):
            raise error
        kind = StoreBusy if getattr(error, "transient", False) else StoreError
        raise kind(
            f"transfer of {self._request.name} stopped at {pair.path!r}: {error}. {self._counts['copied']} files "
            "had been copied; another try continues with the rest"
        ) from error


def _mirror(
    request: TransferRequest,
    plan: Plan,
    spool: Spool,
    stopping: threading.Event,
    tell: Callable[[str], None],
) -> int:
    if request.mode != "mirror":
        return 0
    if request.dry_run:
        for number, path in enumerate(spool.extra(), 1):
            _say_some(tell, number, f"would delete {path!r}")
        return plan.extra
    deleted = delete_extra(request, spool.extra(), stopping, tell)
    remove_empty_folders(request)
    return deleted


def _say_some(tell: Callable[[str], None], number: int, line: str) -> None:
    if number <= _DRY_RUN_LINES:
        tell(line)
    if number == _DRY_RUN_LINES + 1:
        tell("…")


def _plan_line(request: TransferRequest, plan: Plan) -> str:
    same = plan.files - plan.todo
    extra = f", {plan.extra:,} to delete" if request.mode == "mirror" else ""
    return (
        f"{request.mode} of {request.name}: {plan.files:,} files, {plan.todo:,} to copy ({size(plan.todo_bytes)}), "
        f"{same:,} unchanged{extra}"
    )


def _end_line(request: TransferRequest, result: TransferResult) -> str:
    rate = result.size_bytes / result.seconds if result.seconds else 0.0
    counts = [f"{result.copied:,} copied", f"{result.skipped:,} unchanged"]
    counts += [f"{result.kept:,} kept"] * bool(result.kept) + [f"{result.deleted:,} deleted"] * bool(
        result.deleted
    )
    return (
        f"{'dry run' if request.dry_run else 'done'}: {', '.join(counts)}; {size(result.size_bytes)} in "
        f"{duration(result.seconds)}, {size(rate)}/s, {result.verified:,} verified by checksum"
    )
