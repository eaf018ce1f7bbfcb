"""A stand-in for Azure Files: a server that does what the REST documentation of the File service says, over HTTP.

There is no emulator of Azure Files. This one checks signatures (Shared Key) and SAS, keeps shares, directories and files on
the disk, and knows the operations that a client of files needs: shares (create, properties, delete, list), directories
(create, properties, delete, list), files (create, properties, set properties, put range, get, delete, rename, copy). Names
ignore case and have Windows' rules; a directory is deleted only when it is empty; a parent must be there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

ACCOUNT = "filesaccount"
# Base64 as the service's keys are, and worth nothing.
KEY = base64.b64encode(b"not a secret, but as long as the keys of the service: 64 bytes..").decode()
SAS = "sv=2022-11-02&ss=f&srt=sco&sp=rwdlc&se=2999-01-01&sig=stands-in-for-a-signature"

_SIGNED = (
    "content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
    "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
)  # fmt: skip
_IMPOSSIBLE = frozenset('"\\:|<>*?')
_MAX_RANGE_BYTES = 4 << 20
_PAGE = 5000


class Refused(Exception):
    """An answer with an error."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass
class StoredFile:
    """A file of a share, and where its bytes are."""

    name: str
    bytes_at: Path
    size: int
    md5: str | None = None
    etag: str = ""
    written: datetime = field(default_factory=lambda: datetime.now(UTC))

    def touch(self) -> None:
        """Give it a new etag."""
        self.etag = f'"0x{uuid.uuid4().hex[:15].upper()}"'
        self.written = datetime.now(UTC)


@dataclass
class Share:
    """A share: its directories and files by their path in lower case."""

    name: str
    directories: dict[str, str] = field(default_factory=lambda: {"": ""})
    files: dict[str, StoredFile] = field(default_factory=dict)


class AzureFilesServer:
    """The account's file service on a free port.

    :param account: its name.
    """

    def __init__(self, account: str = ACCOUNT) -> None:
        self.account = account
        self.folder = Path(tempfile.mkdtemp(prefix="azure-files-"))
        self.shares: dict[str, Share] = {}
        self.lock = threading.RLock()
        self.requests: list[str] = []
        self.troubles: list[tuple[int, str]] = []
        """Answers (status, code) that the next requests get."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": self}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """URL of the account."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/{self.account}"

    def share(self, name: str | None = None) -> str:
        """Make a share, and return its name."""
        name = name or f"share-{uuid.uuid4().hex[:12]}"
        self.shares[name] = Share(name)
        return name

    def connection(self, **fields: Any) -> dict[str, Any]:
        """An Airflow connection to it, as JSON has it; signs in with the key unless fields say otherwise."""
        given = fields or {"password": KEY}
        return {"conn_type": "azureml_storage", "login": self.account, "host": self.endpoint, **given}

    def stop(self) -> None:
        """End it and remove its files."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- shares -------------------------------------------------------------------------------------------------

    def find_share(self, name: str) -> Share:
        try:
            return self.shares[name]
        except KeyError:
            raise Refused(404, "ShareNotFound") from None


class _Handler(BaseHTTPRequestHandler):
    service: AzureFilesServer
    protocol_version = "HTTP/1.1"
    # An answer goes out in one piece; in two, the second would wait for the first to be acknowledged.
    wbufsize = -1

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.query = {name.lower(): value for name, value in parse_qsl(urlsplit(self.path).query, True)}
        try:
            with self.service.lock:
                self._check_signature()
                self.service.requests.append(f"{self.command} {self.path}")
                if self.service.troubles:
                    raise Refused(*self.service.troubles.pop(0))
                status, headers, data = self._answer()
            self._send(status, headers, data)
        except Refused as refused:
            text = f"<?xml version='1.0'?><Error><Code>{refused.code}</Code><Message>{refused.code}</Message></Error>"
            self._send(
                refused.status,
                {"x-ms-error-code": refused.code, "Content-Type": "application/xml"},
                text.encode(),
            )

    def _send(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Length": str(len(data)),
            "x-ms-version": self.headers.get("x-ms-version", ""),
            **headers,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # -- who asks -----------------------------------------------------------------------------------------------

    def _check_signature(self) -> None:
        sent = self.headers.get("authorization")
        if sent is None:
            if self.query.get("sig") != "stands-in-for-a-signature":
                raise Refused(403, "AuthenticationFailed")
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        values = [headers.get(name, "") for name in _SIGNED]
        if values[2] == "0":
            values[2] = ""
        extra = sorted((name, value) for name, value in headers.items() if name.startswith("x-ms-"))
        lines = [self.command, *values, *(f"{name}:{value}" for name, value in extra)]
        lines.append(f"/{self.service.account}{urlsplit(self.path).path}")
        lines += [f"{name}:{value}" for name, value in sorted(self.query.items())]
        digest = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
        if sent != f"SharedKey {self.service.account}:{base64.b64encode(digest).decode()}":
            raise Refused(403, "AuthenticationFailed")

    # -- what is asked ------------------------------------------------------------------------------------------

    def _answer(self) -> tuple[int, dict[str, str], bytes]:
        account, _, rest = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        if account != self.service.account:
            raise Refused(404, "ResourceNotFound")
        share, _, path = rest.partition("/")
        kind, comp = self.query.get("restype"), self.query.get("comp")
        if not share:
            return self._list_shares()
        if kind == "share":
            return self._share(share)
        where = self.service.find_share(share)
        path = path.strip("/")
        if kind == "directory" and comp == "list":
            return self._list(where, path)
        if kind == "directory":
            return self._directory(where, path)
        return self._file(where, path, comp)

    def _list_shares(self) -> tuple[int, dict[str, str], bytes]:
        names = "".join(
            f"<Share><Name>{name}</Name><Properties/></Share>" for name in sorted(self.service.shares)
        )
        text = f"<EnumerationResults><Shares>{names}</Shares><NextMarker/></EnumerationResults>"
        return 200, {"Content-Type": "application/xml"}, text.encode()

    def _share(self, name: str) -> tuple[int, dict[str, str], bytes]:
        if self.command == "PUT":
            if name in self.service.shares:
                raise Refused(409, "ShareAlreadyExists")
            self.service.share(name)
            return 201, _stamp(), b""
        self.service.find_share(name)
        if self.command == "DELETE":
            del self.service.shares[name]
            return 202, {}, b""
        return 200, {**_stamp(), "x-ms-share-quota": "5120"}, b""

    def _directory(self, share: Share, path: str) -> tuple[int, dict[str, str], bytes]:
        key = path.lower()
        if self.command == "PUT":
            self._check_new(share, path)
            if key in share.directories or key in share.files:
                raise Refused(409, "ResourceAlreadyExists")
            share.directories[key] = path
            return 201, _stamp(), b""
        if key in share.files:
            raise Refused(409, "ResourceTypeMismatch")
        if key not in share.directories:
            raise Refused(404, "ResourceNotFound" if _parent(key) in share.directories else "ParentNotFound")
        if self.command == "DELETE":
            if any(True for _ in _children(share, key)):
                raise Refused(409, "DirectoryNotEmpty")
            del share.directories[key]
            return 202, {}, b""
        return 200, _stamp(), b""

    def _list(self, share: Share, path: str) -> tuple[int, dict[str, str], bytes]:
        key = path.lower()
        if key not in share.directories:
            raise Refused(404, "ResourceNotFound")
        prefix, marker = self.query.get("prefix", ""), self.query.get("marker", "")
        at_most = min(int(self.query.get("maxresults", _PAGE)), _PAGE)
        named = sorted(
            (name, found) for name, found in _children(share, key) if name.lower().startswith(prefix.lower())
        )
        shown = [item for item in named if item[0] >= marker]
        after = shown[at_most][0] if len(shown) > at_most else ""
        entries = "".join(_entry(name, found) for name, found in shown[:at_most])
        text = (
            '<?xml version="1.0" encoding="utf-8"?>'
            f'<EnumerationResults ShareName="{share.name}"><Entries>{entries}</Entries>'
            f"<NextMarker>{escape(after)}</NextMarker></EnumerationResults>"
        )
        return 200, {"Content-Type": "application/xml"}, text.encode()

    def _file(self, share: Share, path: str, comp: str | None) -> tuple[int, dict[str, str], bytes]:
        if self.command == "PUT":
            if comp == "range":
                return self._put_range(self._known(share, path))
            if comp == "properties":
                return self._set_properties(self._known(share, path))
            if comp == "rename":
                return self._rename(share, path)
            if "x-ms-copy-source" in self.headers:
                return self._copy(share, path)
            return self._create(share, path)
        found = self._known(share, path)
        if self.command == "DELETE":
            del share.files[path.lower()]
            found.bytes_at.unlink(missing_ok=True)
            return 202, {}, b""
        return self._get(found)

    def _known(self, share: Share, path: str) -> StoredFile:
        key = path.lower()
        if key in share.files:
            return share.files[key]
        if key in share.directories:
            raise Refused(409, "ResourceTypeMismatch")
        raise Refused(404, "ResourceNotFound" if _parent(key) in share.directories else "ParentNotFound")

    def _check_new(self, share: Share, path: str) -> None:
        names = path.split("/")
        if not _IMPOSSIBLE.isdisjoint(path) or any(not name or len(name) > 255 for name in names):
            raise Refused(400, "InvalidResourceName")
        if len(path) > 2048:
            raise Refused(400, "InvalidUri")
        if _parent(path.lower()) not in share.directories:
            raise Refused(404, "ParentNotFound")

    def _new(self, share: Share, path: str, size: int) -> StoredFile:
        self._check_new(share, path)
        if path.lower() in share.directories:
            raise Refused(409, "ResourceTypeMismatch")
        old = share.files.get(path.lower())
        if old is not None:
            old.bytes_at.unlink(missing_ok=True)
        place = self.service.folder / uuid.uuid4().hex
        with place.open("wb") as file:
            file.truncate(size)
        found = share.files[path.lower()] = StoredFile(path.rpartition("/")[2], place, size)
        found.touch()
        return found

    def _create(self, share: Share, path: str) -> tuple[int, dict[str, str], bytes]:
        found = self._new(share, path, int(self.headers["x-ms-content-length"]))
        found.md5 = self.headers.get("x-ms-content-md5")
        return 201, _stamp(found), b""

    def _set_properties(self, found: StoredFile) -> tuple[int, dict[str, str], bytes]:
        size = self.headers.get("x-ms-content-length")
        if size is not None:
            found.size = int(size)
            with found.bytes_at.open("r+b") as file:
                file.truncate(found.size)
        # As documented: what isn't given is cleared.
        found.md5 = self.headers.get("x-ms-content-md5")
        found.touch()
        return 200, _stamp(found), b""

    def _put_range(self, found: StoredFile) -> tuple[int, dict[str, str], bytes]:
        start, end = _range(self.headers["x-ms-range"])
        sent = self.headers.get("content-md5")
        if len(self.body) != end - start + 1 or len(self.body) > _MAX_RANGE_BYTES:
            raise Refused(413 if len(self.body) > _MAX_RANGE_BYTES else 400, "RequestBodyTooLarge")
        if end >= found.size:
            raise Refused(416, "InvalidRange")
        if sent is not None and base64.b64decode(sent) != hashlib.md5(self.body).digest():
            raise Refused(400, "Md5Mismatch")
        with found.bytes_at.open("r+b") as file:
            file.seek(start)
            file.write(self.body)
        found.touch()
        return 201, _stamp(found), b""

    def _rename(self, share: Share, path: str) -> tuple[int, dict[str, str], bytes]:
        source = self._source(self.headers["x-ms-file-rename-source"])
        self._check_new(share, path)
        key = path.lower()
        if key in share.directories:
            raise Refused(409, "ResourceTypeMismatch")
        if key in share.files and self.headers.get("x-ms-file-rename-replace-if-exists") != "true":
            raise Refused(409, "ResourceAlreadyExists")
        found = self._known(share, source)
        del share.files[source.lower()]
        share.files[key] = found
        found.name = path.rpartition("/")[2]
        found.touch()
        return 200, _stamp(found), b""

    def _copy(self, share: Share, path: str) -> tuple[int, dict[str, str], bytes]:
        source = self._known(share, self._source(self.headers["x-ms-copy-source"]))
        found = self._new(share, path, source.size)
        shutil.copyfile(source.bytes_at, found.bytes_at)
        found.md5 = source.md5
        return 202, {**_stamp(found), "x-ms-copy-id": uuid.uuid4().hex, "x-ms-copy-status": "success"}, b""

    def _source(self, url: str) -> str:
        return unquote(urlsplit(url).path).lstrip("/").split("/", 2)[2]

    def _get(self, found: StoredFile) -> tuple[int, dict[str, str], bytes]:
        headers = {**_stamp(found), "x-ms-type": "File", "Content-Type": "application/octet-stream"}
        if self.command == "HEAD":
            headers["Content-Length"] = str(found.size)
            if found.md5:
                headers["Content-MD5"] = found.md5
            return 200, headers, b""
        asked = self.headers.get("x-ms-range") or self.headers.get("range")
        start, end = _range(asked) if asked else (0, found.size - 1)
        if asked and start >= found.size:
            raise Refused(416, "InvalidRange")
        with found.bytes_at.open("rb") as file:
            file.seek(start)
            data = file.read(end - start + 1)
        if asked:
            headers["Content-Range"] = f"bytes {start}-{start + len(data) - 1}/{found.size}"
        return 206 if asked else 200, headers, data


def _children(share: Share, key: str) -> Iterator[tuple[str, StoredFile | None]]:
    for path, spelled in share.directories.items():
        if path and _parent(path) == key:
            yield spelled.rpartition("/")[2], None
    for path, found in share.files.items():
        if _parent(path) == key:
            yield found.name, found


def _entry(name: str, found: StoredFile | None) -> str:
    if found is None:
        return f"<Directory><Name>{escape(name)}</Name><Properties/></Directory>"
    return (
        f"<File><Name>{escape(name)}</Name><Properties><Content-Length>{found.size}</Content-Length>"
        f"<LastWriteTime>{_iso(found.written)}</LastWriteTime>"
        f"<Last-Modified>{format_datetime(found.written, usegmt=True)}</Last-Modified>"
        f"<Etag>{escape(found.etag)}</Etag></Properties></File>"
    )


def _stamp(found: StoredFile | None = None) -> dict[str, str]:
    written = found.written if found else datetime.now(UTC)
    return {
        "ETag": found.etag if found else '"0x1"',
        "Last-Modified": format_datetime(written, usegmt=True),
        "x-ms-file-last-write-time": _iso(written),
    }


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def _range(text: str) -> tuple[int, int]:
    start, _, end = text.removeprefix("bytes=").partition("-")
    return int(start), int(end)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


@contextmanager
def running() -> Iterator[AzureFilesServer]:
    """Run a server."""
    server = AzureFilesServer()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def azure_files() -> Iterator[AzureFilesServer]:
    """A stand-in for the file service of a storage account, one per test session; make a share per test."""
    with running() as server:
        yield server
