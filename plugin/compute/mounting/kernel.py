"""The kernel's side of a file system in user space: mounting, and the protocol spoken on ``/dev/fuse``.

The protocol is part of the kernel's stable interface (``linux/fuse.h``), so no library is needed. Only what a read-only file
system with a listing known in advance has to answer is here. Version 7.31 is spoken, which every kernel since 5.4 does.

Runs in the process that serves a mount, so it imports little: pathlib alone would double the time that takes to start.
"""
# ruff: noqa: PTH110, PTH118, PTH119, PTH120, PTH123

from __future__ import annotations

import errno
import os
import struct

DEVICE = "/dev/fuse"
FILE_SYSTEM = "azureml"
"""Subtype of the mount, which ``mount`` and ``df`` show."""

LOOKUP, FORGET, GETATTR, READLINK, OPEN, READ, STATFS = 1, 2, 3, 5, 14, 15, 17
INIT, OPENDIR, READDIR, INTERRUPT, DESTROY = 26, 27, 28, 36, 38
BATCH_FORGET, READDIRPLUS = 42, 44

_MAJOR, _MINOR = 7, 31
_ASYNC_READ, _DO_READDIRPLUS, _PARALLEL_DIROPS = 1 << 0, 1 << 13, 1 << 18
_NO_OPEN, _MAX_PAGES, _NO_OPENDIR = 1 << 17, 1 << 22, 1 << 24
# With the last three a file is opened and a folder listed again without a word from us, out of the kernel's own memory.
_WANTED_FLAGS = _ASYNC_READ | _DO_READDIRPLUS | _PARALLEL_DIROPS | _NO_OPEN | _MAX_PAGES | _NO_OPENDIR
_NEEDED_FLAGS = _NO_OPEN | _NO_OPENDIR

_HEADER = struct.Struct("=IIQQIIII")
_ANSWER = struct.Struct("=IiQ")
_INIT_IN = struct.Struct("=IIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")
_ATTRIBUTES = struct.Struct("=QQQQQQIIIIIIIIII")
_ENTRY = struct.Struct("=QQQQII")
_ATTRIBUTES_OUT = struct.Struct("=QII")
_DIRECTORY_ENTRY = struct.Struct("=QQII")
_READ_IN = struct.Struct("=QQII")
_STATFS_OUT = struct.Struct("=QQQQQIIII24x")
_UNIQUE = struct.Struct("=Q")

_BUFFER_BYTES = 64 << 10
_MAX_READAHEAD = 1 << 20
_MAX_REQUEST_PAGES = 256
_MAX_BACKGROUND = 32
_FOREVER_S = 1 << 31
"""How long the kernel may believe what it was told: the listing never changes."""
_BLOCK = 512

_MS_RDONLY, _MS_NOSUID, _MS_NODEV = 1, 2, 4
_MNT_DETACH = 2
_HELPERS = ("fusermount3", "fusermount")

Request = tuple[int, int, int, memoryview]
"""What the kernel asks: operation, number of the request, node, arguments."""


class MountError(Exception):
    """A folder cannot be mounted; the message says why."""


def why_not() -> str | None:
    """Return why nothing can be mounted on this machine, as far as that can be told without trying; None when it may work."""
    if not os.path.exists(DEVICE):
        return f"there is no {DEVICE} (in a container: --device {DEVICE} --cap-add SYS_ADMIN)"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return f"this user may not open {DEVICE}"
    if os.geteuid() != 0 and _helper() is None:
        return "fusermount3 is not installed (package fuse3)"
    return None


def mount(folder: str) -> int:
    """Mount a file system read-only and return the descriptor that its requests come from.

    :raises MountError: that is not possible here.
    """
    if os.geteuid() != 0:
        return _mount_by_helper(folder)
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MountError(f"{DEVICE} cannot be opened: {error.strerror}") from None
    options = (
        f"fd={descriptor},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},default_permissions"
    )
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    flags = ctypes.c_ulong(_MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    kind = b"fuse." + FILE_SYSTEM.encode()
    if libc.mount(b"airflow-azureml", os.fsencode(folder), kind, flags, options.encode()) != 0:
        os.close(descriptor)
        raise MountError(
            f"the kernel refuses to mount: {os.strerror(ctypes.get_errno())} (a container needs CAP_SYS_ADMIN)"
        )
    return descriptor


def unmount(folder: str) -> None:
    """Take a mount away at once, whoever still uses it; nothing happens where there is none."""
    if os.geteuid() == 0:
        import ctypes

        ctypes.CDLL(None).umount2(os.fsencode(folder), _MNT_DETACH)
        return
    helper = _helper()
    if helper is not None:
        child = os.posix_spawn(
            helper,
            [helper, "-u", "-z", "-q", "--", folder],
            dict(os.environ),
            file_actions=[(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)],
        )
        os.waitpid(child, 0)


def remove_mount(folder: str | os.PathLike[str]) -> None:
    """Take away a mount that is left, also one whose server is gone; nothing happens where there is none."""
    place = os.fspath(folder)
    if is_mounted(place):
        unmount(place)


def is_mounted(folder: str) -> bool:
    """Tell whether a folder is a mount, also one whose server is gone; never waits for it."""
    try:
        with open("/proc/self/mountinfo", "rb") as table:
            places = [line.split(b" ", 5)[4] for line in table]
    except OSError:
        return False
    wanted = os.fsencode(os.path.join(os.path.realpath(os.path.dirname(folder)), os.path.basename(folder)))
    for character in b"\\ \t\n":
        wanted = wanted.replace(bytes([character]), b"\\%03o" % character)
    return wanted in places


def _helper() -> str | None:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    for name in _HELPERS:
        for folder in folders:
            path = os.path.join(folder, name)
            if os.access(path, os.X_OK):
                return path
    return None


def _mount_by_helper(folder: str) -> int:
    """Mount by the program that may do so for users; it sends the descriptor through a socket."""
    import array
    import socket

    helper = _helper()
    if helper is None:
        raise MountError("fusermount3 is not installed (package fuse3)")
    ours, its = socket.socketpair()
    reading, writing = os.pipe()
    with ours, its:
        os.set_inheritable(its.fileno(), True)
        options = f"ro,nosuid,nodev,default_permissions,fsname=airflow-azureml,subtype={FILE_SYSTEM}"
        child = os.posix_spawn(
            helper,
            [helper, "-o", options, "--", folder],
            {**os.environ, "_FUSE_COMMFD": str(its.fileno())},
            file_actions=[(os.POSIX_SPAWN_DUP2, writing, 2)],
        )
        os.close(writing)
        its.close()
        numbers = array.array("i")
        _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_LEN(numbers.itemsize))
        said = os.read(reading, 500).decode(errors="replace").strip()
        os.close(reading)
        os.waitpid(child, 0)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: numbers.itemsize])
            return numbers[0]
    raise MountError(said or f"{helper} does not mount")


class Device:
    """The requests of one mount, and the answers to them.

    :param descriptor: of :func:`mount`.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        os.set_blocking(descriptor, False)

    def next(self) -> Request | None:
        """Return the next request; None when there is none just now.

        :raises EOFError: the folder is not mounted any more.
        """
        while True:
            try:
                data = memoryview(os.read(self.descriptor, _BUFFER_BYTES))
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno == errno.ENODEV:
                    raise EOFError from None
                if error.errno not in {errno.EINTR, errno.ENOENT}:
                    raise
                continue
            _, operation, number, node, *_ = _HEADER.unpack_from(data)
            return operation, number, node, data[_HEADER.size :]

    def answer(self, number: int, *parts: bytes | memoryview) -> None:
        """Answer a request."""
        size = _ANSWER.size + sum(map(len, parts))
        self._write(_ANSWER.pack(size, 0, number), *parts)

    def refuse(self, number: int, code: int) -> None:
        """Answer a request by an error.

        :param code: of ``errno``.
        """
        self._write(_ANSWER.pack(_ANSWER.size, -code, number))

    def greet(self, number: int, arguments: memoryview) -> None:
        """Answer the first request, which settles the version and what both sides can do.

        :raises MountError: the kernel is too old.
        """
        major, minor, readahead, flags = _INIT_IN.unpack_from(arguments)
        if (major, minor) < (_MAJOR, _MINOR) or flags & _NEEDED_FLAGS != _NEEDED_FLAGS:
            self.refuse(number, errno.EPROTO)
            raise MountError(
                f"this kernel speaks FUSE {major}.{minor}; {_MAJOR}.{_MINOR} is needed (Linux 5.4)"
            )
        self.answer(
            number,
            _INIT_OUT.pack(
                _MAJOR,
                _MINOR,
                min(readahead, _MAX_READAHEAD),
                flags & _WANTED_FLAGS,
                _MAX_BACKGROUND,
                _MAX_BACKGROUND,
                os.sysconf("SC_PAGESIZE"),
                1,
                _MAX_REQUEST_PAGES,
                0,
                0,
            ),
        )

    def _write(self, *parts: bytes | memoryview) -> None:
        try:
            os.writev(self.descriptor, parts)
        except OSError as error:
            # Nobody waits for the answer any more.
            if error.errno not in {errno.ENOENT, errno.ENODEV}:
                raise


def attributes(node: int, mode: int, size_bytes: int, modified_ns: int, user: int, group: int) -> bytes:
    """Return what ``stat`` shows of a node."""
    seconds, rest = divmod(modified_ns, 10**9)
    blocks = -(-size_bytes // _BLOCK)
    return _ATTRIBUTES.pack(
        node,
        size_bytes,
        blocks,
        seconds,
        seconds,
        seconds,
        rest,
        rest,
        rest,
        mode,
        1,
        user,
        group,
        0,
        4096,
        0,
    )


def entry(node: int, shown: bytes) -> bytes:
    """Return the answer to a look-up.

    :param shown: its attributes; node 0 with any says that there is nothing of that name.
    """
    return _ENTRY.pack(node, 0, _FOREVER_S, _FOREVER_S, 0, 0) + shown


def attributes_answer(shown: bytes) -> bytes:
    """Return the answer to ``stat``."""
    return _ATTRIBUTES_OUT.pack(_FOREVER_S, 0, 0) + shown


def directory_entry(node: int, offset: int, mode: int, name: bytes) -> bytes:
    """Return one entry of a listing.

    :param offset: where the listing goes on after it.
    """
    padding = bytes(-len(name) % 8)
    return _DIRECTORY_ENTRY.pack(node, offset, len(name), mode >> 12) + name + padding


def file_system_answer(files: int, size_bytes: int) -> bytes:
    """Return what ``statfs`` shows: a full file system."""
    return _STATFS_OUT.pack(-(-size_bytes // 4096), 0, 0, files, 0, 4096, 255, 4096, 0)


def range_of(arguments: memoryview) -> tuple[int, int]:
    """Return offset and size of a request to read, of a file or a listing."""
    _, offset, size, _ = _READ_IN.unpack_from(arguments)
    return offset, size


def interrupted(arguments: memoryview) -> int:
    """Return the number of the request that nobody waits for any more."""
    number: int = _UNIQUE.unpack_from(arguments)[0]
    return number
