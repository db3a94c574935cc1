"""Training of the adapter: the loss, its mask penalty and the sufficiency score."""

from dataclasses import replace

import pytest
import torch

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.adapter.gates import OPEN
from duet_av.pipelines.models.adapter.load import load_adapter
from duet_av.pipelines.models.adapter.net import (
    AdapterConfig,
    MaskedAdapter,
)
from duet_av.pipelines.training import judges
from duet_av.pipelines.training.ablations.adapter import report, run_arm
from duet_av.pipelines.training.adapter import (
    STILL,
    AdapterObjective,
    AdapterStage,
    Price,
    sufficiency,
)


def test_the_mask_penalty_rises_to_its_price(cache, codecs, net, tmp_path):
    stage = AdapterStage(
        cache, net.train(), codecs, tmp_path / "a.safetensors", price=Price(4.0, 1.0), steps=4, judge=dict
    )
    batch = stage.batch(torch.Generator().manual_seed(0), 6)
    first, _, later = (stage.objective(batch) for _ in range(3))
    assert stage.objective.step == 3
    assert stage.objective.rise == (2, 3)
    assert float(later["loss"].detach() - first["loss"].detach()) > 1.0, "the penalty has risen"
    later["loss"].backward()
    assert all(p.grad is None for codec in codecs for p in codec.parameters())
    assert net.mask["audio"].token.bias.grad.abs().sum() > 0
    assert [path.name for path in stage.save({})] == ["a.safetensors"]


def test_sufficiency_is_one_without_a_mask(codecs, latents):
    bare = MaskedAdapter(AdapterConfig(16, 24, gate=OPEN, dim=24, hidden=16, heads=2)).eval()
    found = sufficiency(bare, codecs, latents)
    assert found["sufficiency_video"] == found["sufficiency_audio"] == 1
    assert found["support_video"] == 1
    assert AdapterObjective(bare, codecs, Price(), rise=(0, 1)).error("audio", latents.audio, latents) == 0


@torch.inference_mode()
def test_each_clips_changes_have_equal_weight(net, codecs, latents):
    objective = AdapterObjective(net, codecs, Price(), rise=(0, 1))
    still = latents.video.mean(2, keepdim=True)
    moved = latents.video[1:2]
    clips = torch.cat([moved, still[1:2] + 0.5 * (moved - still[1:2])])
    own = torch.tensor([1.0, 0.25])  # a clip, and the same clip with half the motion
    nothing = float(objective.error("video", still[1:2].expand_as(clips), Streams(clips, None)))
    assert nothing == pytest.approx(float((own / (own + STILL * own.mean())).mean()), rel=1e-3)


def test_a_segment_arm_trains_on_longer_renders_and_is_reused(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "MASKED_CLIPS", 8)
    few = replace(cache, video=cache.video[:4], audio=cache.audio[:4], tokens=cache.tokens[:4])
    name = "segments of 1 s"
    found = run_arm(name, cache=few, run=tmp_path, steps=1, compiled=False)
    assert (tmp_path / "longer-2.safetensors").is_file()
    assert load_adapter(tmp_path / name / "pocket-adapter.safetensors").config.seconds == 1.0
    assert {"auroc_video", "auroc_audio", "open_audio"} <= set(found["masks"])
    assert run_arm(name, cache=few, run=tmp_path, steps=1, compiled=False) == found
    scores = [{"stratum": "single", "sync_f1": 0.5}, {"stratum": "silent", "silent_false_alarm": 1.0}]
    table = report({"gate": found | {"scores": scores}, name: found}, steps=1, cache=few)
    assert table.rows["gate"]["all"]["sync_f1"].mean == 0.5
    assert list(table.rows[name]) == ["masks"]
