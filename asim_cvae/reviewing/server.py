"""Serve the page of a triage to a browser of this machine, and write each label to a journal at once."""

import hmac
import json
import logging
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from asim_cvae.archive.journal import Entry, append, read_journal
from asim_cvae.base.documents import parse_json
from asim_cvae.base.errors import InputError, first_line
from asim_cvae.labelling.consensus import PAGE
from asim_cvae.reviewing.page import content_policy
from asim_cvae.reviewing.shelf import Shelf
from asim_cvae.triaging.columns import OBSERVED
from asim_cvae.triaging.gathering import files_that_count

HOST = "127.0.0.1"

PORT = 8337
"""Port that is taken if it is free: with the same one, a browser still has the labels that a killed server missed."""

log = logging.getLogger(__name__)

_MOST_POSTED = 16_384  # bytes of a label
_SUGGESTIONS = 20
_SECONDS = 30  # that a browser may take to send a request


class RefusedError(Exception):
    """A request that is refused, with the status that says why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True)
class Desk:
    """What one reviewer works with.

    Attributes:
        shelf: the observations of the triage.
        reviewer: name of the reviewer.
    """

    shelf: Shelf
    reviewer: str

    @property
    def journal(self) -> Path:
        """The reviewer's journal."""
        return self.shelf.ledger.folder / "labels" / f"{self.reviewer}.jsonl"

    def page(self) -> bytes:
        """The page, as the triage wrote it."""
        return (self.shelf.ledger.folder / PAGE).read_bytes()

    def labels(self) -> dict[str, Any]:
        """What the reviewer says of all frames."""
        entries = read_journal(self.journal).entries.values() if self.journal.is_file() else ()
        return {"reviewer": self.reviewer, "entries": [json.loads(entry.line()) for entry in entries]}

    def label(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Write a label to the journal.

        Raises:
            InputError: it is no label, or of no frame of the triage.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        own = {"reviewer": self.reviewer, "model": self.shelf.model_digest}
        entry = Entry.of({"time": f"{now}Z", **given, **own})  # the page says when, as it may send it later
        if entry.frame >= self._frames.get(entry.file, 0):
            self.__dict__.pop("_frames", None)  # the triage may have gone on
            if entry.frame >= self._frames.get(entry.file, 0):
                raise InputError(f"{entry.file}: frame {entry.frame} is none of this triage")
        self.journal.parent.mkdir(exist_ok=True)
        append(self.journal, entry)
        return {"time": entry.time}

    @cached_property
    def _frames(self) -> dict[str, int]:
        """Number of frames of each file of the triage."""
        columns = [column for column in OBSERVED if column.name in ("file", "frames")]
        tables = (table.to_pydict() for table in files_that_count(self.shelf.ledger).tables("files", columns))
        return {file: count for table in tables for file, count in zip(table["file"], table["frames"], strict=True)}

    def queue(self) -> list[dict[str, Any]]:
        """Frames to label next, of those that have no class yet."""
        entries = read_journal(self.journal).entries if self.journal.is_file() else {}
        labelled = [place for place, entry in entries.items() if entry.classification]
        return [asdict(one) for one in self.shelf.suggested(labelled, _SUGGESTIONS)]

    def observation(self, file: str) -> dict[str, Any]:
        """One observation of the triage, as it would stand on the page.

        Raises:
            RefusedError: there is none of this name.
        """
        for entry in self.shelf.entries([file]):
            return entry
        raise RefusedError(HTTPStatus.NOT_FOUND, "no such observation in this triage")


class ReviewServer(ThreadingHTTPServer):
    """A server for one reviewer on this machine.

    The address holds a secret of its own, without which nothing is answered. Requests from other pages (``Origin``) and
    under other names of this machine (``Host``) are refused, as are other paths and methods.

    Args:
        desk: what is served.
        port: port to listen on; None for :data:`PORT`, or any that is free.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, desk: Desk, port: int | None) -> None:
        try:
            super().__init__((HOST, PORT if port is None else port), _Handler)
        except OSError:
            if port is not None:
                raise
            super().__init__((HOST, 0), _Handler)
            log.warning(
                "port %d is taken, and %d is listened on; if this server is killed, start the next one with port=%d, "
                "so that the browser sends it the labels that this one missed",
                *(PORT, self.server_port, self.server_port),
            )
        self.desk = desk
        self.secret = secrets.token_urlsafe(24)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless a browser has gone away in the middle of an answer."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            log.exception("a request failed")

    @property
    def origin(self) -> str:
        """Origin of the page, as browsers name it."""
        return f"http://{HOST}:{self.server_port}"

    @property
    def address(self) -> str:
        """Address to open."""
        return f"{self.origin}/{self.secret}/"


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "asim_cvae", ""
    timeout = _SECONDS

    def do_GET(self) -> None:
        desk = self.server.desk
        name, query = self._path()
        views: dict[str, Callable[[], Any]] = {
            "labels": desk.labels,
            "queue": desk.queue,
            "observation": lambda: desk.observation(query.get("file", [""])[0]),
        }
        self._answer(lambda: desk.page() if name == "" else self._known(views, name)())

    def do_POST(self) -> None:
        name, _ = self._path()
        self._answer(lambda: self._known({"labels": self._label}, name)())

    def _label(self) -> dict[str, Any]:
        if self.headers.get("Origin") != self.server.origin:
            raise RefusedError(HTTPStatus.FORBIDDEN, "labels are taken from the page alone")
        if self.headers.get("Content-Type") != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "labels are sent as application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "the length of a label has to be given")
        if int(length) > _MOST_POSTED:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a label has at most {_MOST_POSTED} bytes")
        return self.server.desk.label(parse_json(self.rfile.read(int(length)).decode("utf-8")))

    def _path(self) -> tuple[str | None, dict[str, list[str]]]:
        """Return what is asked for, after the secret, and the query; None if the secret is missing."""
        parts = urlsplit(self.path)
        _, secret, *rest = [*parts.path.split("/"), ""]
        knows = hmac.compare_digest(secret.encode(), self.server.secret.encode())
        return ("/".join(rest[:-1]) if knows and len(rest) > 1 else None), parse_qs(parts.query)

    def _known(self, views: Mapping[str, Callable[[], Any]], name: str | None) -> Callable[[], Any]:
        if name is None:
            raise RefusedError(HTTPStatus.FORBIDDEN, "open the address that review printed")
        if name not in views:
            raise RefusedError(HTTPStatus.NOT_FOUND, "nothing is here")
        return views[name]

    def _answer(self, view: Callable[[], Any]) -> None:
        """Send what a view gives, as JSON unless it is a page, or the reason why not."""
        status, kind = HTTPStatus.OK, "application/json"
        try:
            self._check_origin()
            content = view()
            if isinstance(content, bytes):
                kind, body = "text/html; charset=utf-8", content
            else:
                body = json.dumps(content, allow_nan=False).encode()
        except (RefusedError, InputError, UnicodeDecodeError, OSError) as error:
            status = _status(error)
            kind, body = "text/plain; charset=utf-8", first_line(error).encode()
        if status != HTTPStatus.OK:
            self.close_connection = True  # what was sent may not have been read
        self._send(status, kind, body)

    def _check_origin(self) -> None:
        if self.headers.get("Host") != f"{HOST}:{self.server.server_port}":
            raise RefusedError(HTTPStatus.FORBIDDEN, "open the address that review printed")
        if self.headers.get("Origin", self.server.origin) != self.server.origin:
            raise RefusedError(HTTPStatus.FORBIDDEN, "other pages are not answered")

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": f"{content_policy()}; frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: addresses hold the secret."""


def _status(error: Exception) -> HTTPStatus:
    if isinstance(error, RefusedError):
        return error.status
    return HTTPStatus.INTERNAL_SERVER_ERROR if isinstance(error, OSError) else HTTPStatus.BAD_REQUEST
