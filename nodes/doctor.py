"""What is there and what is missing."""

from __future__ import annotations

from comfy_api.latest import io, ui

from .host.doctor import report
from .types import CATEGORY


class DuetDoctor(io.ComfyNode):
    """Lists the files of every joint model: there or missing, source, licence, memory."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetDoctor",
            display_name="Duet Doctor",
            category=CATEGORY,
            description="Lists what every joint model is made of: which files are there, where to get the others, their size, hash "
            "and licence, and about how much memory they need. Downloads nothing.",
            search_aliases=["files", "licence", "missing models", "javisdit download"],
            is_output_node=True,
            inputs=[io.Model.Input("model", optional=True, tooltip="Described too, if connected.")],
            outputs=[io.String.Output(display_name="report")],
        )

    @classmethod
    def execute(cls, model: io.Model.Type | None = None) -> io.NodeOutput:
        text = report(model)
        return io.NodeOutput(text, ui=ui.PreviewText(text))
