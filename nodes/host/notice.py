"""Text shown on a node: costs, warnings, and settings without effect."""

from __future__ import annotations

from comfy_api.latest import io, ui
from server import PromptServer

_shown: set[str] = set()  # ids of the nodes that show a text


def show(node: type[io.ComfyNode], *texts: str) -> ui.PreviewText | None:
    """Show ``texts`` on ``node`` at once, before it has finished, and return them for the ``ui`` of its output, which the host keeps
    in the history. Empty texts are skipped; None if all are empty. ``node`` needs the hidden input ``unique_id``."""
    text = "\n".join(filter(None, texts))
    server, name = getattr(PromptServer, "instance", None), str(node.hidden.unique_id) if node.hidden else ""
    if server is not None and name and (text or name in _shown):
        # The front end ignores an empty text, so a space replaces that of an earlier run.
        server.send_progress_text(text or " ", name, server.client_id)
        (_shown.add if text else _shown.discard)(name)
    return ui.PreviewText(text) if text else None
