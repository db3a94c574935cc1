"""The suites of ``duet bench``: which variants over which prompts. Settings are chosen on the development list alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..guidance import PerStreamCFG
from ..models.pocket.codec import VideoCodec
from ..models.pocket.load import PocketModel
from ..modifiers import Apart
from .bench import Record, Rows, Task, Variant, chunks, differences, run_tasks, run_variants, summarise
from .fidelity import picture_fidelity, sound_fidelity
from .prompts import AUDIBLE, DEVELOPMENT, bench_prompts
from .reading import Probes
from .tables import Table

SCALES = (1.0, 2.0, 3.0, 5.0)
DEVELOPMENT_SHARE = 0.25  # length of the development list, in lengths of the test list


@dataclass(frozen=True)
class Run:
    """How much to measure, and how to tell of progress."""

    prompts: int
    seed: int
    jobs: int
    on_chunk: Callable[[int], object] = lambda _: None


def core(run: Run) -> Table:
    """The shipped base: plain CFG chosen on development, over all prompts; beside it, on half of those with an audible
    source, no guidance and each stream alone; and true clips."""
    listed = bench_prompts(round(DEVELOPMENT_SHARE * run.prompts), DEVELOPMENT, strata=AUDIBLE)
    trials = [Variant(f"cfg {scale:g}", PerStreamCFG(scale, scale)) for scale in SCALES]
    tried = run_variants(trials, listed, jobs=run.jobs, on_chunk=run.on_chunk)
    found = {name: summarise(records)["all"] for name, records in tried.items()}
    best = max(trials, key=lambda trial: found[trial.name]["sync_normalised"].mean)

    prompts, audible = bench_prompts(run.prompts, run.seed), bench_prompts(run.prompts // 2, run.seed, strata=AUDIBLE)
    chosen = Variant("cfg-chosen", best.strategy)
    others = [Variant("none", PerStreamCFG(1.0, 1.0)), Variant("context-only", Apart(best.strategy))]
    records = run_variants([chosen], prompts, jobs=run.jobs, on_chunk=run.on_chunk)
    records |= run_variants(others, audible, jobs=run.jobs, on_chunk=run.on_chunk)
    rows = {name: summarise(part) for name, part in records.items()}
    rows["true-clips"] = _true_clips(run)
    for other in others:
        rows[f"{other.name}-minus-cfg-chosen"] = differences(records[other.name], records["cfg-chosen"])
    development = {name: round(metrics["sync_normalised"].mean, 4) for name, metrics in found.items()}
    notes = {"cfg-chosen": best.name, "sync_normalised on development": development}
    return Table("core", len(prompts), run.seed, rows, notes)


def _true_clips(run: Run) -> Rows:
    """The instruments and metrics on the scenes' own clips."""
    tasks: list[Task] = [(part, None) for part in chunks(bench_prompts(run.prompts, run.seed))]
    return summarise(r for records in run_tasks(tasks, jobs=run.jobs, on_chunk=run.on_chunk) for r in records)


@torch.inference_mode()
def codecs(run: Run) -> Table:
    """True clips of held-out compositions through the codecs, and through parts of them."""
    model, probes = PocketModel.load(), Probes.load()
    linear = VideoCodec(channels=model.video_codec.channels)
    linear.pca = model.video_codec.pca
    pictures = {"as-rendered": None, "video-linear": linear, "video-learnt": model.video_codec}
    sounds = {"as-rendered": "nothing", "griffin-lim": "griffin-lim", "audio-codec": "codec"}
    found: dict[str, list[Record]] = {name: [] for name in (*pictures, *sounds)}
    for part in chunks(bench_prompts(run.prompts, run.seed)):
        scenes = [p.scene for p in part]
        for name, codec in pictures.items():
            found[name] += zip(part, picture_fidelity(codec, probes, scenes), strict=True)
        for name, through in sounds.items():
            found[name] += zip(part, sound_fidelity(model.audio_codec, probes, scenes, through=through), strict=True)
        run.on_chunk(len(part))
    rows = {name: summarise(records) for name, records in found.items()}
    rows["video-learnt-minus-video-linear"] = differences(found["video-learnt"], found["video-linear"])
    return Table("codecs", run.prompts, run.seed, rows)


SUITES: dict[str, Callable[[Run], Table]] = {"core": core, "codecs": codecs}
METRICS = {"core": "sync_normalised", "codecs": "event_f1"}  # what each suite's plot shows
