"""Duet: joint audio-video generation for ComfyUI. Nodes are imported only when the host asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes import DuetExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> DuetExtension:
    """ComfyUI's entry point: the extension that lists the pack's nodes."""
    from .nodes import DuetExtension

    return DuetExtension()
