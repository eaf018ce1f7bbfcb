"""A mount as its supervisor sees it: starts the process that serves it, fetches what that asks for, and takes it away."""

from __future__ import annotations

import marshal
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Self

from airflow_azureml.compute.mounting import kernel
from airflow_azureml.compute.mounting.fetching import BlockFetcher, RangedFile
from airflow_azureml.compute.mounting.nodes import FIRST_FILE, File
from airflow_azureml.compute.mounting.server import (
    ARRIVED,
    ECHO,
    FAILED,
    GAVE_UP,
    MESSAGE,
    MESSAGE_BYTES,
    MOUNTED,
    TROUBLE,
    WANTED_NOW,
)
from airflow_azureml.runtime.exceptions import ObjectNotFound, RunEnvironmentException, StoreError
from airflow_azureml.storage.files import FileChanged, StoreBusy

if TYPE_CHECKING:
    from airflow_azureml.storage.files import FileInfo
    from airflow_azureml.workspace.data_cache import DataCache

_BOOTSTRAP = """\
import marshal, sys
data = sys.stdin.buffer.read()
modules, arguments = marshal.loads(data)
for name, code in modules:
    module = sys.modules[name] = type(sys)(name)
    exec(code, module.__dict__)
    parent, _, own = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], own, module)
module.main(*arguments)
"""
_PACKAGE = "airflow_azureml.compute.mounting"
_MODULES = (
    "airflow_azureml.workspace.block_cache",
    _PACKAGE,
    f"{_PACKAGE}.kernel",
    f"{_PACKAGE}.nodes",
    f"{_PACKAGE}.ranges",
    f"{_PACKAGE}.server",
)
"""What the serving process runs, each after what it imports. Sent compiled: it has no packages, and starts in no time."""
_STARTS_WITHIN_S = 30.0
_ENDS_WITHIN_S = 10.0
_ANSWERS_WITHIN_S = 10.0


class Mount:
    """A folder in which files of stores appear while this process lives. Used as a context.

    :param folder: an empty folder.
    :param files: path below the folder, file, and whether it is executable.
    :param cache: keeps what was read.
    :param tell: is told when something can't be read any more.
    :raises MountError: nothing can be mounted there.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[tuple[str, RangedFile, bool]],
        cache: DataCache,
        tell: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self._tell = tell
        self._problem: StoreError | None = None
        self._errors: dict[int, Exception] = {}
        self._closing = False
        self._heard = threading.Event()
        self._channel, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ranged = [file for _, file, _ in files]
        with its_end:
            self._process = _start(folder, [_plain(*item, cache) for item in files], its_end.fileno())
        try:
            self._wait_until_mounted()
        except BaseException:
            self._end()
            self._channel.close()
            raise
        self._fetcher = BlockFetcher(ranged, FIRST_FILE, cache, self._answer)
        self._listener = threading.Thread(target=self._listen, name="mount-requests", daemon=True)
        self._listener.start()
        # The kernel remembers a folder's files with their attributes once it is listed; from then on looking costs no question.
        for _ in os.walk(folder):
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def fetched_bytes(self) -> int:
        """How much came from the stores."""
        return self._fetcher.fetched_bytes

    @staticmethod
    def inode(index: int) -> int:
        """Return the inode of a file.

        :param index: its place in the files.
        """
        return FIRST_FILE + index

    @staticmethod
    def time_of(info: FileInfo) -> int:
        """Return what is shown as the time of a file, nanoseconds since the epoch."""
        return max(0, int(info.modified * 1e9))

    def refuse_damaged(self) -> None:
        """Raise what made a read fail, if one has failed.

        :raises StoreError: it couldn't be read; ``FileChanged`` or ``StoreBusy`` where another try may do better.
        """
        self._heard.clear()
        # A read that fails is told before it fails, but that may be on its way still.
        if self._say(ECHO):
            self._heard.wait(_ANSWERS_WITHIN_S)
        else:
            self._listener.join(_ANSWERS_WITHIN_S)
        if self._problem is not None:
            raise self._problem

    def close(self) -> None:
        """Take the mount away."""
        if not self._closing:
            self._closing = True
            self._end()
            self._listener.join()
            self._fetcher.close()
            self._channel.close()

    def _wait_until_mounted(self) -> None:
        self._channel.settimeout(_STARTS_WITHIN_S)
        try:
            data = self._channel.recv(MESSAGE_BYTES)
        except TimeoutError:
            raise kernel.MountError(f"mounting did not end in {_STARTS_WITHIN_S:.0f} s") from None
        if not data:
            raise kernel.MountError("the process that mounts has ended")
        if MESSAGE.unpack_from(data)[0] != MOUNTED:
            raise kernel.MountError(data[MESSAGE.size :].decode(errors="replace"))
        self._channel.settimeout(None)

    def _listen(self) -> None:
        while data := self._receive():
            kind, node, first, count = MESSAGE.unpack_from(data)
            if kind == GAVE_UP:
                self._note(_told(self._errors.get(node)))
            elif kind == ECHO:
                self._heard.set()
            elif kind == TROUBLE:
                self._note(StoreError(f"the mount broke: {data[MESSAGE.size :].decode(errors='replace')}"))
            else:
                self._fetcher.order(node, first, count, is_urgent=kind == WANTED_NOW)
        if not self._closing:
            self._note(
                StoreBusy(
                    "the process that serves mounted inputs was ended from outside; what the script read then failed"
                )
            )
        self._heard.set()

    def _receive(self) -> bytes:
        try:
            return self._channel.recv(MESSAGE_BYTES)
        except OSError:
            return b""

    def _answer(self, node: int, first: int, count: int, error: Exception | None) -> None:
        if error is not None:
            self._errors[node] = error
        self._say(ARRIVED if error is None else FAILED, node, first, count)

    def _say(self, kind: int, node: int = 0, first: int = 0, count: int = 0) -> bool:
        """Send a message, and tell whether there is still somebody to hear it."""
        try:
            self._channel.send(MESSAGE.pack(kind, node, first, count))
        except OSError:
            return False
        return True

    def _note(self, problem: StoreError) -> None:
        if self._problem is None and not self._closing:
            self._problem = problem
            self._tell(str(problem))

    def _end(self) -> None:
        """Let the process unmount and end, and do both for it when it doesn't."""
        try:
            self._channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already
        try:
            self._process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        kernel.remove_mount(self.folder)


def _told(error: Exception | None) -> StoreError:
    """Return the error of a step whose script could not read."""
    text = (
        f"a mounted file could not be read any more, the script got an I/O error: {error or 'unknown reason'}"
    )
    if isinstance(error, FileChanged | ObjectNotFound):
        return FileChanged(text)
    return StoreBusy(text) if isinstance(error, StoreBusy) else StoreError(text)


def _plain(
    path: str, file: RangedFile, is_program: bool, cache: DataCache
) -> tuple[str, int, int, bool, str]:
    info = file.info
    copy = str(cache.path_of(file.store, info))
    return File(path, info.size_bytes, Mount.time_of(info), is_program, copy).plain()


def _start(
    folder: Path, files: list[tuple[str, int, int, bool, str]], channel: int
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOOTSTRAP],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Nothing else of the worker's environment: a step may read it in /proc.
        env={name: value for name, value in os.environ.items() if name in {"LD_LIBRARY_PATH", "PATH"}},
        cwd="/",
        # Who ends the worker's group must leave it alive, to unmount.
        start_new_session=True,
        pass_fds=[channel],
    )
    if process.stdin is not None:
        try:
            with process.stdin as plan:
                plan.write(marshal.dumps((_codes(), (channel, str(folder), files))))
        except OSError:
            pass  # one that has ended already shows as the channel's end
    return process


def _codes() -> list[tuple[str, CodeType]]:
    return [(name, _code(name)) for name in _MODULES]


def _code(name: str) -> CodeType:
    """Return a module's code, from the byte code cache if there is one."""
    spec = find_spec(name)
    code = None
    if spec is not None and isinstance(spec.loader, SourceFileLoader):
        code = spec.loader.get_code(name)
    if code is None:
        raise RunEnvironmentException(f"the module {name} is missing; install the package again")
    return code
