"""Whatever fails on the way to a commit, nobody sees half of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute import files, overlay, staging
from airflow_azureml.runtime.exceptions import AzureMLException


@pytest.mark.parametrize("after", [False, True], ids=["refused", "done but answered with an error"])
def test_whichever_call_of_the_store_fails_the_step_counts_wholly_or_not_at_all(
    bench: Any, after: bool
) -> None:
    """Every call in turn: reads, writes, listings; the very same step is tried again until one run meets no failure."""
    number, outcomes = 0, {"failed": 0, "succeeded all the same": 0}
    while True:
        number += 1
        bench.store.arm(number, after=after)
        try:
            outcome = bench.run(f"run-{number}")
        except (AzureMLException, OSError) as error:
            bench.store.disarm()
            assert "injected" in str(error), bench.store.calls
            bench.check_nothing(bench.store.calls[number - 1])
            bench.check_all(bench.run("run-after").document["step_run_id"])
            outcomes["failed"] += 1
        else:
            calls = bench.store.disarm()
            bench.check_all(outcome.document["step_run_id"])
            if calls < number:
                break
            # The step did not need that call: an explanation, an entry, the answer to a write that was done.
            outcomes["succeeded all the same"] += 1
        bench.forget()
    assert outcomes["failed"] > 20
    assert outcomes["succeeded all the same"] > 5
    assert bench.run("run-after").reuse["code"] == "hit"


FILE_CALLS = [
    (files.shutil, "copyfile"),
    (files.shutil, "copytree"),
    (overlay.shutil, "move"),
    (Path, "rename"),
    (Path, "mkdir"),
    (Path, "chmod"),
    (os, "link"),
    (os, "unlink"),
]


@pytest.mark.parametrize(("owner", "name"), FILE_CALLS, ids=[name for _, name in FILE_CALLS])
def test_whichever_call_of_the_file_system_fails_nothing_is_seen(
    bench: Any, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """Within the commit: from the end of the script on."""
    real = getattr(owner, name)
    armed: dict[str, Any] = {"at": None, "calls": 0}

    def failing(*args: Any, **options: Any) -> Any:
        armed["calls"] += 1
        if armed["calls"] == armed["at"]:
            raise OSError(28, "injected: no space left")
        return real(*args, **options)

    for method in ("collect", "publish"):
        genuine = getattr(staging.OutputStaging, method)

        def watched(self: Any, *args: Any, genuine: Any = genuine, **options: Any) -> Any:
            with monkeypatch.context() as patched:
                patched.setattr(owner, name, failing)
                return genuine(self, *args, **options)

        monkeypatch.setattr(staging.OutputStaging, method, watched)
    for number in range(1, 50):
        armed.update(at=number, calls=0)
        try:
            outcome = bench.run(f"run-{number}")
        except (AzureMLException, OSError) as error:
            assert "injected" in str(error) or "No space left" in str(error)
            bench.check_nothing()
        else:
            # Clearing up failed, or there was another way.
            bench.check_all(outcome.document["step_run_id"])
            if armed["calls"] < number:
                return
        bench.forget()
    pytest.fail("it never ended")
