"""A report on installed and missing model files."""

from __future__ import annotations

from comfy_api.latest import io

from .host.doctor import report
from .host.notice import show
from .types import CATEGORY


class DuetDoctor(io.ComfyNode):
    """Lists the files of every supported model: whether installed, source, licence, memory."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DuetDoctor",
            display_name="Duet Doctor",
            category=CATEGORY,
            description="Lists the files of every supported audio-video model: which are installed, where to download the "
            "others, their size, hash and licence, and an estimate of the memory they need. Nothing is downloaded.",
            search_aliases=["files", "licence", "missing models", "javisdit download"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", optional=True, tooltip="If connected, the report also describes this MODEL.")
            ],
            outputs=[io.String.Output(display_name="report", tooltip="The report as text, also shown on the node.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model: io.Model.Type | None = None) -> io.NodeOutput:
        text = report(model)
        return io.NodeOutput(text, ui=show(cls, text))
