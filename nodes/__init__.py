"""The pack's nodes. Each is a schema and a few lines; the method lives in ``pipelines``."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .conditioning import DuetEncodePrompt
from .guidance import DuetCrossModalGuidance, DuetGuider
from .latent import DuetDecode, DuetEmptyLatent, DuetMux
from .loaders import DuetLoadAV
from .sampling import DuetSampler
from .strategies import (
    DuetStrategyAPG,
    DuetStrategyCFG,
    DuetStrategyCFGZero,
    DuetStrategyCrossModal,
    DuetStrategyRescale,
    DuetStrategySchedule,
    DuetStrategyUCG,
    DuetStrategyWindow,
)

NODES: list[type[io.ComfyNode]] = [
    DuetLoadAV,
    DuetEncodePrompt,
    DuetEmptyLatent,
    DuetStrategyCFG,
    DuetStrategyUCG,
    DuetStrategyCrossModal,
    DuetStrategyWindow,
    DuetStrategySchedule,
    DuetStrategyRescale,
    DuetStrategyAPG,
    DuetStrategyCFGZero,
    DuetGuider,
    DuetCrossModalGuidance,
    DuetSampler,
    DuetDecode,
    DuetMux,
]


class DuetExtension(ComfyExtension):
    """What ComfyUI asks the pack for."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
