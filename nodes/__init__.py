"""The pack's nodes. Each node is a schema and a few lines of code; the method is implemented in ``pipelines``."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .adapter import DuetLoadAdapter, DuetMaskedAdapter
from .conditioning import DuetApplyConditions, DuetEncodePrompt
from .doctor import DuetDoctor
from .extend import DuetExtend
from .footage import DuetEncodeAV, DuetFreezeStream
from .guidance import DuetCrossModalGuidance, DuetGuider
from .latent import DuetDecode, DuetEmptyLatent, DuetMux
from .loaders import DuetLoadAddOn, DuetLoadAV
from .measure import DuetAudioGuard, DuetShiftAudio, DuetSyncMeter, DuetTimelinePlot
from .plan import (
    DuetEditPlan,
    DuetLoadPlan,
    DuetLoadPlanner,
    DuetPlanner,
    DuetSavePlan,
)
from .prior import DuetLoadPrior, DuetPriorSampler
from .report import DuetPlanReport
from .sampling import DuetSampler, DuetSchedule
from .strategies import (
    DuetStrategyAPG,
    DuetStrategyCFG,
    DuetStrategyCFGZero,
    DuetStrategyCrossModal,
    DuetStrategyPlan,
    DuetStrategyRescale,
    DuetStrategySchedule,
    DuetStrategyUCG,
    DuetStrategyWindow,
)
from .takes import DuetCompareTakes, DuetSeedSweep
from .timed import DuetTimedPrompt
from .timeline import DuetLoadTimelineWriter, DuetTimelinePrompt
from .training import DuetTrainAddOn

NODES: list[type[io.ComfyNode]] = [
    DuetLoadAV,
    DuetLoadAddOn,
    DuetTrainAddOn,
    DuetLoadPlanner,
    DuetLoadPrior,
    DuetLoadAdapter,
    DuetEncodePrompt,
    DuetPlanner,
    DuetEditPlan,
    DuetSavePlan,
    DuetLoadPlan,
    DuetLoadTimelineWriter,
    DuetTimelinePrompt,
    DuetTimedPrompt,
    DuetPriorSampler,
    DuetMaskedAdapter,
    DuetApplyConditions,
    DuetEmptyLatent,
    DuetEncodeAV,
    DuetFreezeStream,
    DuetStrategyCFG,
    DuetStrategyUCG,
    DuetStrategyCrossModal,
    DuetStrategyWindow,
    DuetStrategySchedule,
    DuetStrategyPlan,
    DuetStrategyRescale,
    DuetStrategyAPG,
    DuetStrategyCFGZero,
    DuetGuider,
    DuetCrossModalGuidance,
    DuetSchedule,
    DuetSampler,
    DuetExtend,
    DuetDecode,
    DuetMux,
    DuetTimelinePlot,
    DuetSyncMeter,
    DuetPlanReport,
    DuetShiftAudio,
    DuetAudioGuard,
    DuetSeedSweep,
    DuetCompareTakes,
    DuetDoctor,
]


class DuetExtension(ComfyExtension):
    """The entry point through which ComfyUI lists the nodes of this pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
