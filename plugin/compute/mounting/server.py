"""The process that serves a mount: answers the kernel out of the block cache, and asks the supervisor for what isn't there.

A loop without threads: whatever has to be waited for is remembered and answered when it has come, so the kernel, the supervisor
and the end of either are always heard. When the supervisor dies, the mount goes: reads fail, and nothing hangs or stays behind.

Messages on the channel, a socket that keeps them apart: see ``MESSAGE``.
"""

from __future__ import annotations

import errno
import os
import select
import struct
import time

from airflow_azureml.compute.mounting import kernel
from airflow_azureml.compute.mounting.nodes import File, Nodes
from airflow_azureml.compute.mounting.ranges import Ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGE = struct.Struct("=IIQI")
"""Kind, node, first block, number of blocks; a text may follow."""
WANTED, WANTED_NOW, GAVE_UP, MOUNTED, TROUBLE = 1, 2, 3, 4, 5
"""Kinds of messages to the supervisor."""
ARRIVED, FAILED = 6, 7
"""Kinds of messages from the supervisor."""
ECHO = 8
"""Comes from the supervisor and goes back, so that it knows to have heard all that was said before."""
MESSAGE_BYTES = 4096

_PARENT_CHECK_MS = 2000
_AT_ONCE = 64
"""Requests of the kernel that are answered before the supervisor is listened to."""


class Server:
    """Answers what is asked of one mount.

    :param device: the kernel's side.
    :param channel: descriptor of the supervisor's side.
    :param files: the files.
    """

    def __init__(self, device: kernel.Device, channel: int, files: list[File]) -> None:
        self._device = device
        self._channel = channel
        self._parent = os.getppid()
        self._nodes = Nodes(files, time.time_ns())
        self._ranges = Ranges(files, self._ask)
        self._waiting: dict[int, tuple[int, int, int]] = {}
        self._failed: set[int] = set()
        self._handlers: dict[int, Callable[[int, int, memoryview], None]] = {
            kernel.INIT: self._init,
            kernel.LOOKUP: self._lookup,
            kernel.GETATTR: self._getattr,
            kernel.READDIR: self._readdir,
            kernel.READDIRPLUS: self._readdirplus,
            kernel.READ: self._read,
            kernel.STATFS: self._statfs,
            kernel.INTERRUPT: self._interrupt,
            kernel.FORGET: self._ignore,
            kernel.BATCH_FORGET: self._ignore,
        }

    def run(self) -> None:
        """Serve until the supervisor or the mount is gone."""
        poller = select.poll()
        poller.register(self._device.descriptor, select.POLLIN)
        poller.register(self._channel, select.POLLIN)
        try:
            while os.getppid() == self._parent:
                for descriptor, _ in poller.poll(_PARENT_CHECK_MS):
                    if descriptor == self._channel:
                        self._hear()
                    else:
                        self._serve()
        except EOFError:
            pass
        for number in list(self._waiting):
            self._refuse(number, errno.EIO)

    def _serve(self) -> None:
        for _ in range(_AT_ONCE):
            request = self._device.next()
            if request is None:
                return
            operation, number, node, arguments = request
            handler = self._handlers.get(operation)
            if handler is None:
                # The kernel asks most things once, and does without.
                self._refuse(number, errno.ENOSYS)
            else:
                handler(number, node, arguments)

    def _hear(self) -> None:
        data = os.read(self._channel, MESSAGE_BYTES)
        if not data:
            raise EOFError
        kind, node, first, count = MESSAGE.unpack_from(data)
        if kind == ECHO:
            self._say(ECHO)
            return
        self._ranges.arrived(node, first, count)
        waiting = [number for number, request in self._waiting.items() if request[0] == node]
        for number in waiting:
            request = self._waiting.pop(number)
            if kind == ARRIVED:
                self._answer_read(number, *request)
            elif self._ranges.touches(first, count, *request[1:]):
                self._give_up(number, node)
            else:
                self._waiting[number] = request

    def _ask(self, node: int, first: int, count: int, is_urgent: bool) -> None:
        self._say(WANTED_NOW if is_urgent else WANTED, node, first, count)

    def _say(self, kind: int, node: int = 0, first: int = 0, count: int = 0) -> None:
        try:
            os.write(self._channel, MESSAGE.pack(kind, node, first, count))
        except OSError:
            raise EOFError from None

    def _give_up(self, number: int, node: int) -> None:
        """Let a read fail, and all others of that file: what the script has seen of it can't be trusted any more."""
        if node not in self._failed:
            self._failed.add(node)
            self._say(GAVE_UP, node)
        self._refuse(number, errno.EIO)

    def _refuse(self, number: int, code: int) -> None:
        self._device.refuse(number, code)

    def _init(self, number: int, node: int, arguments: memoryview) -> None:  # noqa: ARG002
        self._device.greet(number, arguments)
        self._say(MOUNTED)

    def _lookup(self, number: int, node: int, arguments: memoryview) -> None:
        self._device.answer(number, self._nodes.entry(node, bytes(arguments[:-1])))

    def _getattr(self, number: int, node: int, arguments: memoryview) -> None:  # noqa: ARG002
        shown = self._nodes.attributes(node)
        if shown is None:
            self._refuse(number, errno.ENOENT)
        else:
            self._device.answer(number, kernel.attributes_answer(shown))

    def _readdir(self, number: int, node: int, arguments: memoryview) -> None:
        self._list(number, node, arguments, with_attributes=False)

    def _readdirplus(self, number: int, node: int, arguments: memoryview) -> None:
        self._list(number, node, arguments, with_attributes=True)

    def _list(self, number: int, node: int, arguments: memoryview, *, with_attributes: bool) -> None:
        part = self._nodes.listing(node, *kernel.range_of(arguments), with_attributes=with_attributes)
        if part is None:
            self._refuse(number, errno.ENOTDIR)
        else:
            self._device.answer(number, part)

    def _read(self, number: int, node: int, arguments: memoryview) -> None:
        file = self._nodes.file(node)
        if file is None:
            self._refuse(number, errno.EISDIR)
            return
        start, size = kernel.range_of(arguments)
        end = min(start + size, file.size_bytes)
        if node in self._failed:
            self._refuse(number, errno.EIO)
        elif end <= start:
            self._device.answer(number)
        else:
            self._answer_read(number, node, start, end)
            self._ranges.look_ahead(node, start, end)

    def _answer_read(self, number: int, node: int, start: int, end: int) -> None:
        parts = self._ranges.read(node, start, end)
        if parts is None:
            self._waiting[number] = (node, start, end)
        else:
            self._device.answer(number, *parts)

    def _statfs(self, number: int, node: int, arguments: memoryview) -> None:  # noqa: ARG002
        files = self._nodes.files
        self._device.answer(number, kernel.file_system_answer(len(files), self._nodes.size_bytes))

    def _interrupt(self, number: int, node: int, arguments: memoryview) -> None:  # noqa: ARG002
        """Let go of who got a signal while he waited: a killed script would stay until its bytes have come."""
        given_up = kernel.interrupted(arguments)
        if self._waiting.pop(given_up, None) is not None:
            self._refuse(given_up, errno.EINTR)

    def _ignore(self, number: int, node: int, arguments: memoryview) -> None:
        """Do nothing: that request has no answer."""


def main(channel: int, folder: str, plain_files: list[tuple[str, int, int, bool, str]]) -> None:
    """Mount and serve; called by the supervisor's bootstrap.

    :param channel: descriptor of the supervisor's side.
    :param folder: where to mount, an empty folder.
    :param plain_files: what makes the files.
    """
    mounted = False
    try:
        files = [File(*plain) for plain in plain_files]
        device = kernel.Device(kernel.mount(folder))
        mounted = True
        Server(device, channel, files).run()
    except BaseException as error:  # noqa: BLE001 - told to the supervisor, which waits
        text = str(error) or repr(error)
        try:
            os.write(
                channel, MESSAGE.pack(TROUBLE, 0, 0, 0) + text.encode(errors="replace")[: MESSAGE_BYTES // 2]
            )
        except OSError:
            pass
    finally:
        if mounted:
            kernel.unmount(folder)
        os._exit(0)
