"""Stages ``javis-audio``, ``javis-prior`` and ``javis-joint``: JavisDiT v0.1's own training on clips of the user's."""

from __future__ import annotations

from ...models.javisdit.folder01 import JavisFolder01
from ...models.javisdit.prior_heads import HeadsConfig
from ..clip_stage import learn
from ..encode import processor
from ..javisdit import AudioObjective, JointObjective, OfficialStage, PriorObjective
from ..javisdit_start import AUDIO, JOINT, audio_network, joint_network, new_heads
from ..memory import check_memory
from ..own_models import OwnJavisDiT01
from ..shards import ClipShards
from .estimates import PRESETS, estimate_of
from .registry import Job, register


def _start(job: Job) -> tuple[JavisFolder01, ClipShards]:
    """The model's folder and the clips, checked before weights are read."""
    name, path, data = job.real()
    folder, clips = JavisFolder01(path), ClipShards.read(data)
    clips.check(name, folder.fingerprint())
    check_memory(estimate_of(job), processor()[0])
    return folder, clips


@register("javis-audio", PRESETS["javis-audio"])
def build_audio(job: Job) -> OfficialStage:
    """Text to audio: the audio branch learns."""
    folder, clips = _start(job)
    network = audio_network(folder, *processor(), seed=job.seed)
    learn(network, AUDIO)
    return OfficialStage(job.stage, clips, AudioObjective(network), job.folder, folder)


@register("javis-prior", PRESETS["javis-prior"])
def build_prior(job: Job) -> OfficialStage:
    """The prior and its training heads learn, with the official losses."""
    folder, clips = _start(job)
    estimator, heads = folder.prior()
    if heads is None:
        own = estimator.config
        sizes = HeadsConfig(own.spatial_token_num, own.temporal_token_num, own.out_dim)
        heads = new_heads(sizes, seed=job.seed)
    return OfficialStage(job.stage, clips, PriorObjective(estimator, heads), job.folder, folder)


@register("javis-joint", PRESETS["javis-joint"])
def build_joint(job: Job) -> OfficialStage:
    """Both streams: prior attention and the cross-attention between the streams learn; self-attention, text and the prior are frozen."""
    folder, clips = _start(job)
    network = joint_network(folder, *processor(), seed=job.seed)
    learn(network, JOINT)
    model = OwnJavisDiT01(network, folder.prior()[0])
    return OfficialStage(job.stage, clips, JointObjective(model), job.folder, folder)
