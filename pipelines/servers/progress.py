"""Steps of a running job, from a server's websocket (package websockets, extra [servers]).

A server's history decides what is finished, because it outlives a lost connection. The websocket adds how far a job is, and when to look.
Without the package, or if the connection fails, jobs are only polled.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from typing import Any

from ..core.documents import parse_json

MAX_MESSAGE = 2**24  # bytes; previews come over the same connection
ENDS = ("execution_success", "execution_error", "execution_interrupted")


class Progress:
    """Listens while the block runs: ``steps`` is (done, total) of the node that runs, and ``ended`` is set when a job ends."""

    def __init__(self, address: str, client: str) -> None:
        scheme, _, rest = address.partition("://")
        self.url = f"{'wss' if scheme == 'https' else 'ws'}://{rest}/ws?clientId={client}"
        self.steps: tuple[int, int] | None = None
        self.ended = threading.Event()
        self._open = ExitStack()

    def __enter__(self) -> Progress:
        with suppress(ImportError, OSError):
            from websockets.exceptions import WebSocketException
            from websockets.sync.client import connect

            with suppress(WebSocketException):
                opened = connect(self.url, open_timeout=5, close_timeout=1, max_size=MAX_MESSAGE)
                socket = self._open.enter_context(opened)
                threading.Thread(target=self._listen, args=(socket, WebSocketException), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _listen(self, socket: Any, closed: type[Exception]) -> None:
        with suppress(closed, OSError):
            for message in socket:
                if isinstance(message, str):  # previews are bytes
                    self.note(message)

    def note(self, message: str) -> None:
        """Take over what a message says; others are ignored."""
        with suppress(ValueError, TypeError, KeyError):
            found = parse_json(message, "message")
            if found["type"] == "progress":
                self.steps = int(found["data"]["value"]), int(found["data"]["max"])
            elif found["type"] in ENDS:
                self.ended.set()
