"""One running ComfyUI server: send a workflow, wait for it, download its clip."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from ..core.documents import printable
from ..core.schema import Length, checked
from .progress import Progress
from .transport import LOST, SHOWN, ServerError, download, exchange, patiently
from .workflow import Graph

CLIPS = (".mp4", ".webm", ".mkv", ".mov")
POLL = 1.0  # seconds between looks into the history
Name = Annotated[str, Length(1, 255)]


@dataclass(frozen=True)
class SavedFile:
    """A file that a node saved on the server.

    Raises:
        ValueError: a name that leaves the server's output folder.
    """

    filename: Name
    subfolder: Annotated[str, Length(0, 1024)] = ""
    type: Annotated[str, Length(0, 64)] = "output"

    def __post_init__(self) -> None:
        parts = f"{self.subfolder}/{self.filename}".replace("\\", "/").lstrip("/").split("/")
        absolute = self.subfolder.startswith(("/", "\\")) or any(":" in part for part in parts)
        if absolute or ".." in parts or any(c in self.filename for c in "/\\"):
            raise ValueError(
                f"the file name {printable(self.subfolder)}/{printable(self.filename)} leaves the output folder."
            )


@dataclass
class Server:
    """A server at ``address``. ``patience``: seconds without an answer after which it is given up; ``limit``: seconds for one clip."""

    address: str
    patience: float = 30.0
    limit: float = 3600.0
    stop: threading.Event = field(default_factory=threading.Event)
    steps: tuple[int, int] | None = None  # of the node that runs now
    client: str = field(default_factory=lambda: uuid.uuid4().hex)

    def check(self) -> str:
        """ComfyUI's version on the server.

        Raises:
            ServerError: it does not answer, or is not ComfyUI.
        """
        system = self._ask("/system_stats").get("system")
        if not isinstance(system, dict) or "comfyui_version" not in system:
            raise ServerError("it answers, but not as ComfyUI does. Check the address.")
        return printable(system["comfyui_version"])[:32]

    def clip(
        self, graph: Graph, target: Path, *, node: str | None = None, check: Callable[[Path], object] = lambda _: None
    ) -> Path:
        """Run ``graph`` and download the clip that it saves (with ``node``: that this node saves) to ``target`` with the clip's suffix,
        if ``check`` of the downloaded file raises no ValueError.

        Raises:
            ServerError: the server is lost or refuses the graph, a node fails, or its answer is not acceptable.
            ValueError: the graph saves no clip or several.
        """
        with Progress(self.address, self.client) as progress:
            job = self._send(graph)
            try:
                entry = self._wait(job, progress)
            except BaseException:
                self._cancel(job)
                raise
            finally:
                self.steps = None
        saved = clip_of(entry, node)
        target = target.with_suffix(Path(saved.filename).suffix.lower())
        url = f"{self.address}/view?{urlencode(vars(saved))}"
        patiently(lambda: download(url, target, check), seconds=self.patience, stop=self.stop.is_set)
        return target

    def _ask(self, path: str, body: Any = None) -> Any:
        return patiently(lambda: exchange(self.address + path, body), seconds=self.patience, stop=self.stop.is_set)

    def _send(self, graph: Graph) -> str:
        """Queue ``graph``. The job's id is ours, so that a request whose answer was lost is not sent twice."""
        job, tried = str(uuid.uuid4()), False

        def send() -> str:
            nonlocal tried
            if tried and self._known(job):
                return job
            tried = True
            answer = exchange(f"{self.address}/prompt", {"prompt": graph, "client_id": self.client, "prompt_id": job})
            found = answer.get("prompt_id")
            if not isinstance(found, str) or not 0 < len(found) <= 64 or not found.replace("-", "").isalnum():
                raise ServerError("it does not answer as ComfyUI does: no prompt_id")
            return found

        return patiently(send, seconds=self.patience, stop=self.stop.is_set)

    def _known(self, job: str) -> bool:
        return job in exchange(f"{self.address}/history/{job}") or self._queued(job)

    def _queued(self, job: str) -> bool:
        queue = self._ask("/queue")
        waiting = (queue.get(name) for name in ("queue_running", "queue_pending"))
        rows = [row for part in waiting if isinstance(part, list) for row in part]
        return any(isinstance(row, list) and job in row for row in rows)

    def _wait(self, job: str, progress: Progress) -> dict[str, Any]:
        """The history entry of a job."""
        end = time.monotonic() + self.limit
        while not self.stop.is_set():
            waits = self._queued(job)  # asked first: a job that ends between both questions is in the history
            entry = self._ask(f"/history/{job}").get(job)
            if isinstance(entry, dict):
                return entry
            if not waits:
                raise ServerError("it lost the job: it was started again, or somebody cleared its queue")
            if time.monotonic() > end:
                raise ServerError(f"it did not finish a clip within {self.limit / 60:g} minutes")
            progress.ended.wait(POLL)
            progress.ended.clear()
            self.steps = progress.steps
        raise ServerError("the sweep was stopped")

    def _cancel(self, job: str) -> None:
        """Take back a job whose clip nobody waits for; a server that does not answer keeps it."""
        with suppress(ServerError, *LOST):
            exchange(f"{self.address}/queue", {"delete": [job]})
            exchange(f"{self.address}/interrupt", {"prompt_id": job})


def clip_of(entry: dict[str, Any], node: str | None = None) -> SavedFile:
    """The clip in a history entry.

    Raises:
        ServerError: the job failed, or the entry is not acceptable.
        ValueError: no clip was saved, or several.
    """
    status, outputs = entry.get("status"), entry.get("outputs")
    if not isinstance(status, dict) or not isinstance(outputs, dict):
        raise ServerError("it does not answer as ComfyUI does: a history entry without status and outputs")
    if status.get("status_str") != "success":
        raise ServerError(_failure(status.get("messages")))
    found = {
        (id_, saved.subfolder, saved.filename): saved
        for id_, shown in outputs.items()
        if node in (None, id_) and isinstance(shown, dict)
        for files in shown.values()
        if isinstance(files, list)
        for file in files
        if (saved := _saved(file)) is not None
    }
    if len(found) != 1:
        ids = ", ".join(sorted({printable(id_) for id_, *_ in found})) or "no node"
        raise ValueError(
            f"The workflow saves {len(found)} clips (from {ids}); a sweep ranks one clip for each seed. Add one 'Save Video' node, or name "
            "the node whose clip is ranked with --output-node."
        )
    return next(iter(found.values()))


def _saved(file: Any) -> SavedFile | None:
    """A file in a node's outputs if it is a clip in the output folder."""
    if not isinstance(file, dict) or not str(file.get("filename", "")).lower().endswith(CLIPS):
        return None
    try:
        saved = checked(SavedFile, file, source="its answer", ignore_unknown=True)
    except ValueError as error:
        raise ServerError(f"its answer was refused: {printable(error)[:SHOWN]}") from error
    return saved if saved.type == "output" else None


def _failure(messages: Any) -> str:
    """What went wrong, from the messages of a history entry."""
    for message in messages if isinstance(messages, list) else ():
        name, data = message if isinstance(message, list) and len(message) == 2 else ("", None)
        if name == "execution_interrupted":
            return "somebody cancelled the job there"
        if name == "execution_error" and isinstance(data, dict):
            where = f"node {data.get('node_id')} ({data.get('node_type')})"
            return printable(f"{where} failed: {data.get('exception_message')}")[:SHOWN]
    return "the job failed, and the server does not say why"
