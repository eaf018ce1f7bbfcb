"""Mounted inputs of a datastore elsewhere: read on demand where the machine can mount, downloaded where it can't."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import DataPath, DataReference, Dataset
from airflow_azureml.compute import virtual_mount
from airflow_azureml.compute.mounting.kernel import is_mounted
from airflow_azureml.runtime.exceptions import ComputeTargetException, StepCanceled, StepFailed, StoreError
from airflow_azureml.storage.files import FileChanged, StoreBusy

MIB = 1 << 20


class Site:
    """A lab whose steps read from the lake."""

    def __init__(self, lab: Any, lake: Any, caplog: pytest.LogCaptureFixture) -> None:
        self.lab = lab
        self.lake = lake
        self.log = caplog
        caplog.set_level(logging.INFO, "step")
        lab.with_services(mount="fuse")

    def put(self, path: str, data: bytes | str) -> Any:
        source = self.lab.root / "put"
        source.write_bytes(data if isinstance(data, bytes) else data.encode())
        return self.lake.store.put_file(path, source)

    def read(self, script: str, path: str = "data", **more: Any) -> Any:
        """Run a script that is given the path of the mounted input."""
        self.lab.script(f"import os, sys\nplace = sys.argv[1]\n{script}")
        source = more.pop("source", None) or DataReference("lake", "data", path_on_datastore=path)
        return self.lab.run(inputs=[source], arguments=[source], **more)

    def said(self, text: str) -> bool:
        return any(text in message for message in self.log.messages)

    @property
    def printed(self) -> list[str]:
        return self.log.messages

    def mounts(self) -> list[Path]:
        return [path for path in (self.lab.root / "scratch").glob("*/virtual") if is_mounted(str(path))]


@pytest.fixture
def site(lab: Any, lake: Any, caplog: pytest.LogCaptureFixture) -> Site:
    return Site(lab, lake, caplog)


LIST = """
for folder, _, names in sorted(os.walk(place)):
    for name in sorted(names):
        path = os.path.join(folder, name)
        with open(path) as file:
            print("SAW", os.path.relpath(path, place), file.read(), os.path.getsize(path))
"""


@pytest.mark.service("fuse")
class TestOnDemand:
    def test_a_script_sees_what_a_download_shows(self, site: Site) -> None:
        site.put("data/a b%.txt", "one")
        site.put("data/deep/er/c.csv", "three")
        site.put("other/d", "not this")
        expected = ["SAW a b%.txt one 3", "SAW deep/er/c.csv three 5"]
        for mount in ("fuse", "download"):
            site.log.clear()
            site.lab.with_services(mount=mount)
            site.read(LIST, allow_reuse=False)
            assert [line for line in site.printed if line.startswith("SAW")] == expected

    def test_only_what_is_read_comes_and_the_log_says_so(self, site: Site) -> None:
        site.put("data/big.bin", os.urandom(MIB) * 20)
        site.put("data/small.txt", "one")
        site.lake.counted.calls.clear()
        outcome = site.read(
            "print(len(open(place + '/small.txt').read()), os.path.getsize(place + '/big.bin'))"
        )
        assert site.said("input 'data': mounted, 2 files of 20.0 MiB are read from ")
        assert site.said("of the mounted inputs came from their datastores")
        assert site.said("3 20971520")
        assert site.lake.counted.calls["get_file"] == 0
        assert site.lake.counted.calls["read"] <= 2
        assert outcome.document["status"] == "Finished"
        assert not site.mounts()

    def test_a_single_file_keeps_its_name(self, site: Site) -> None:
        site.put("data/only.csv", "a,b")
        site.read("print('SAW', os.path.basename(place), open(place).read())", path="data/only.csv")
        assert site.said("SAW only.csv a,b")

    def test_a_file_dataset_is_read_on_demand(self, site: Site) -> None:
        site.put("data/x/1.csv", "one")
        site.put("data/y/2.csv", "two")
        source = Dataset.File.from_files(DataPath("lake", "data/**/*.csv"))
        site.lake.counted.calls.clear()
        site.read(LIST, source=source.as_named_input("files").as_mount())
        assert [line for line in site.printed if line.startswith("SAW")] == [
            "SAW x/1.csv one 3",
            "SAW y/2.csv two 3",
        ]
        assert site.lake.counted.calls["get_file"] == 0

    def test_inputs_on_one_datastore_stand_beside_each_other(self, site: Site) -> None:
        site.put("data/a/1", "one")
        site.put("data/b/2", "two")
        sources = [DataReference("lake", name, path_on_datastore=f"data/{name}") for name in "ab"]
        site.lab.script(
            """
            import os, sys
            a, b = sys.argv[1:]
            print("SAW", open(a + "/1").read(), open(b + "/2").read(), os.path.relpath(b, a))
            open(a + "/beside", "w").write("folders are the script's own")
            """
        )
        site.lab.run(inputs=sources, arguments=sources)
        assert site.said("SAW one two ../b")

    def test_the_second_step_finds_what_the_first_has_read(self, site: Site) -> None:
        site.put("data/file", os.urandom(3 * MIB))
        site.read("open(place + '/file', 'rb').read()")
        site.lake.counted.calls.clear()
        site.read("print(len(open(place + '/file', 'rb').read()))", run_id="run-2")
        assert site.said(str(3 * MIB))
        assert site.lake.counted.calls["read"] == 0

    def test_the_key_is_that_of_a_download(self, site: Site) -> None:
        site.put("data/file", "one")
        first = site.read("print(1)")
        site.lab.with_services(mount="download")
        assert site.read("print(1)", run_id="run-2").document["reused_from"] == first.document["step_run_id"]


@pytest.mark.service("fuse")
class TestTrouble:
    def test_a_file_that_changes_while_it_is_read_fails_the_step(self, site: Site) -> None:
        site.put("data/file", os.urandom(MIB) * 8)
        first = threading.Event()

        def change(number: int) -> None:
            if number == 1:
                first.set()
            else:
                site.put("data/file", os.urandom(MIB) * 8)

        site.lake.counted.faults["read"] = change
        with pytest.raises(
            FileChanged, match="could not be read any more, the script got an I/O error: .*data/file"
        ):
            site.read(
                """
file = os.open(place + '/file', os.O_RDONLY)
os.pread(file, 1, 0)
try:
    os.pread(file, 1, 6 << 20)
except OSError as error:
    print("SAW", error.strerror)
"""
            )
        assert first.is_set()
        assert site.said("SAW Input/output error")
        assert not site.mounts()

    @pytest.mark.parametrize("error", [StoreBusy("503"), StoreError("403")])
    def test_a_store_that_fails_is_named_and_not_the_script(self, site: Site, error: StoreError) -> None:
        site.put("data/file", "one")
        site.lake.counted.fails("read", error)
        with pytest.raises(type(error), match=str(error)):
            site.read("open(place + '/file').read()")
        assert site.said("the script got an I/O error")

    def test_a_script_that_waits_for_bytes_is_stopped(self, site: Site) -> None:
        site.put("data/file", "one")
        asked, release = threading.Event(), threading.Event()

        def hang(number: int) -> None:
            asked.set()
            site.lab.stopping.set()
            release.wait(60)

        site.lake.counted.faults["read"] = hang
        started = time.monotonic()
        try:
            with pytest.raises((StepFailed, StepCanceled)):
                site.read("open(place + '/file').read()")
        finally:
            release.set()
        assert asked.is_set()
        assert time.monotonic() - started < 20
        assert not site.mounts()


@pytest.mark.service("fuse")
@pytest.mark.parametrize("lake_store", ["folder"], indirect=True)
def test_a_killed_worker_leaves_no_mount_and_no_script(site: Site) -> None:
    site.put("data/file", "one")
    started, asked = site.lab.root / "started", site.lab.root / "asked"

    def hang(number: int) -> None:
        asked.touch()
        time.sleep(600)

    script = f"open({str(started)!r}, 'w').write(str(os.getpid()))\nprint(open(place + '/file').read())"
    worker = os.fork()
    if worker == 0:
        try:
            site.lake.counted.faults["read"] = hang
            site.read(script)
        finally:
            os._exit(1)
    until(asked.exists)
    assert site.mounts()
    reader = int(started.read_text())
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    until(lambda: not site.mounts() and not Path(f"/proc/{reader}").exists())
    site.read(script, try_number=2)
    assert site.said("one")


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


class TestWithout:
    def test_a_machine_that_cannot_mount_downloads_and_says_why(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(virtual_mount, "why_not", lambda: "there is no /dev/fuse")
        site.lab.with_services(mount="auto")
        site.put("data/file", "one")
        site.read("print('SAW', open(place + '/file').read())")
        assert site.said(
            "input 'data': downloaded before the script starts, not read on demand: there is no /dev/fuse"
        )
        assert site.said("SAW one")

    def test_a_machine_that_must_mount_and_cannot_says_why(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(virtual_mount, "why_not", lambda: "there is no /dev/fuse")
        site.put("data/file", "one")
        with pytest.raises(
            ComputeTargetException, match=r"cannot be mounted: there is no /dev/fuse.*mount to auto"
        ):
            site.read("pass")

    def test_download_never_mounts(self, site: Site) -> None:
        site.lab.with_services(mount="download")
        site.put("data/file", "one")
        site.read("print('SAW', open(place + '/file').read())")
        assert site.said("not read on demand: [azureml] mount is download")
        assert site.said("SAW one")

    def test_inputs_that_are_here_are_not_spoken_of(self, site: Site) -> None:
        site.lab.datastore_file("data/file", "one")
        site.read(
            "print('SAW', open(place + '/file').read())",
            source=DataReference("workspaceblobstore", "data", path_on_datastore="data"),
        )
        assert site.said("SAW one")
        assert not site.said("mounted")
