"""HTTP with a server that is not trusted: no redirects, limits on size and time, JSON through the checked door."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from ..core.documents import MAX_TEXT, parse_json, printable
from ..core.files import atomic_output

T = TypeVar("T")
SILENCE = 15.0  # seconds without a byte after which a request has failed
ANSWER_SECONDS, CLIP_SECONDS = 60.0, 1800.0  # of a whole answer
MAX_CLIP = 2**31  # bytes
SHOWN = 300  # characters of a server's own message that errors quote
LOST = (OSError, HTTPException)  # refused, reset, silent for too long or cut short; URLError is an OSError


class ServerError(Exception):
    """A server cannot be used any longer; the message says why, and names no address."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> None:
        """Refuse: a redirect would send the workflow to an address that nobody named."""


OPENER = urllib.request.build_opener(_NoRedirects)


def address_of(text: str) -> str:
    """An address such as http://127.0.0.1:8188, from what a user types; without a scheme it is http.

    Raises:
        ValueError: not an address of a server.
    """
    try:
        parts = urlsplit(text.strip() if "://" in text else f"http://{text.strip()}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("neither http nor https, or no host")
        if parts.username or parts.query or parts.fragment:
            raise ValueError("more than an address")
    except ValueError as error:
        raise ValueError(
            f"{printable(text)[:SHOWN]!r} is not the address of a ComfyUI server ({error}). Write for example http://192.168.0.7:8188, "
            "without user name and options; separate several addresses by commas."
        ) from error
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def patiently(call: Callable[[], T], *, seconds: float, stop: Callable[[], bool] = lambda: False) -> T:
    """The value of ``call``, repeated with growing pauses while the server does not answer, for ``seconds``.

    Raises:
        ServerError: it did not answer within that time, or ``stop`` returned true.
    """
    begun, pause = time.monotonic(), 0.25
    while True:
        try:
            return call()
        except LOST as error:
            if time.monotonic() + pause - begun > seconds or stop():
                reason = printable(getattr(error, "reason", None) or error or type(error).__name__)
                raise ServerError(f"it did not answer for {seconds:g} s ({reason[:SHOWN]})") from error
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def exchange(url: str, body: Any = None) -> Any:
    """The JSON object with which a server answers a GET request, or with ``body`` a POST request.

    Raises:
        ServerError: the server refuses the request, or answers with something else than a JSON object.
        OSError, HTTPException: see ``LOST``.
    """
    data = None if body is None else json.dumps(body).encode()
    head = {"Content-Type": "application/json"}
    with _opened(urllib.request.Request(url, data=data, headers=head)) as answer:  # noqa: S310 - http(s): `address_of`
        content = b"".join(_pieces(answer, limit=MAX_TEXT, seconds=ANSWER_SECONDS))
    try:
        found = parse_json(content.decode() if content else "{}", f"the answer to {urlsplit(url).path}")
    except ValueError as error:
        raise ServerError(f"it does not answer as ComfyUI does: {printable(error)[:SHOWN]}") from error
    if not isinstance(found, dict):
        raise ServerError(f"it does not answer as ComfyUI does: the answer to {urlsplit(url).path} is not an object")
    return found


def download(url: str, target: Path, check: Callable[[Path], object]) -> None:
    """Write the file at ``url`` to ``target``, which is complete and passes ``check``, or absent.

    Raises:
        ServerError: the server refuses, the file is larger than ``MAX_CLIP``, or ``check`` raises a ValueError.
        OSError, HTTPException: see ``LOST``.
    """
    request = urllib.request.Request(url)  # noqa: S310 - http or https: `address_of`
    with _opened(request) as answer, atomic_output(target) as temporary:
        expected, written = answer.headers.get("Content-Length"), 0
        with temporary.open("wb") as file:
            for piece in _pieces(answer, limit=MAX_CLIP, seconds=CLIP_SECONDS):
                written += _write(file, piece, target)
        if expected is not None and expected != str(written):
            raise ConnectionError(f"the clip has {expected} bytes, and {written} arrived")
        try:
            check(temporary)
        except ValueError as error:
            raise ServerError(f"it sent a file that is not a clip ({printable(error)[:SHOWN]})") from error


def _write(file: IO[bytes], piece: bytes, target: Path) -> int:
    """Write ``piece``; a full disk here is not a failure of the server.

    Raises:
        ValueError: it cannot be written.
    """
    try:
        return file.write(piece)
    except OSError as error:
        raise ValueError(f"{target} could not be written ({error.strerror or error}). Free disk space.") from error


def _opened(request: urllib.request.Request) -> HTTPResponse:
    try:
        return OPENER.open(request, timeout=SILENCE)
    except urllib.error.HTTPError as error:
        with error:
            text = b"".join(_pieces(error, limit=MAX_TEXT, seconds=ANSWER_SECONDS)).decode(errors="replace")
        if error.code >= 500:
            raise ConnectionError(f"status {error.code}") from error
        raise ServerError(f"it refuses the request (status {error.code}): {refusal(text)}") from error


def refusal(text: str) -> str:
    """The readable part of the answer with which ComfyUI refuses a workflow: the errors of its nodes."""
    try:
        found = parse_json(text, "answer")
        nodes = found["node_errors"] or {}
        errors = [
            f"node {node} ({part.get('class_type')}): {error['message']} {error['details']}".strip()
            for node, part in nodes.items()
            for error in part["errors"]
        ]
        text = "; ".join(errors) or f"{found['error']['message']} {found['error'].get('details', '')}".strip()
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # not ComfyUI's form: quoted as it is
    return printable(text)[:SHOWN]


def _pieces(answer: Any, *, limit: int, seconds: float) -> Iterator[bytes]:
    """The bytes of an answer as they arrive."""
    end, total = time.monotonic() + seconds, 0
    while piece := answer.read1(2**16):
        total += len(piece)
        if total > limit:
            raise ServerError(f"an answer is larger than {limit} bytes")
        if time.monotonic() > end:
            raise ServerError(f"an answer took longer than {seconds:g} s")
        yield piece
