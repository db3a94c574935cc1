"""Identifiability on synthetic sources whose shared dimensions are known."""

import pytest
import torch

from duet_av.pipelines.bench.identifiability import Setting, Source, learn_masks
from duet_av.pipelines.bench.suites import identifiability as suite
from duet_av.pipelines.models.adapter.gates import NOISE, SOFT


@pytest.mark.slow
def test_the_noise_gate_finds_the_shared_dimensions_and_the_soft_mask_does_not():
    prices, seeds = (0.3, 2.0), (0, 1)
    gate = learn_masks(Setting(NOISE, contexts=4), seeds=seeds, prices=prices, steps=1200)
    assert all(a.support_f1 > 0.95 and a.sufficiency < 1.02 for a in gate if a.price < 1)
    assert all(a.support_f1 < 0.1 for a in gate if a.price > 1), (
        "a price above the explained variance closes every channel"
    )
    soft = learn_masks(Setting(SOFT, contexts=4), seeds=seeds, prices=prices, steps=1200)
    assert all(a.support_f1 < 0.5 for a in soft), "a mask that only scales shrinks without selecting"


def test_only_the_shared_dimensions_of_a_source_correlate():
    source = Source(Setting(NOISE, contexts=3), (0,))
    video, audio, context = source.draw(20_000, torch.Generator().manual_seed(0))
    heard = audio @ source.audio_rotation.mT
    for k in range(3):
        here = context[0] == k
        correlation = [
            float(torch.corrcoef(torch.stack([video[0, here, j], heard[0, here, j]]))[0, 1]) for j in range(14)
        ]
        assert [c > 0.9 for c in correlation[:8]] == source.shared[0, k].tolist()
        assert all(abs(c) < 0.05 for c in correlation[8:])


def test_the_suite_has_one_row_for_each_setting(monkeypatch):
    from duet_av.pipelines.bench.runner import Run

    monkeypatch.setattr(suite, "SETTINGS", {"gate, rotation known": Setting(NOISE, contexts=2)})
    monkeypatch.setattr(
        suite, "learn_masks", lambda setting, seeds: learn_masks(setting, seeds=seeds, prices=suite.PRICES, steps=3)
    )
    table = suite.measure(Run(20, 0))
    assert list(table.rows["gate, rotation known"]) == [f"{p:g}" for p in suite.PRICES]
    assert table.to_json()["weights"] == {}
    assert suite.draw(table).axes[0].get_ylabel() == "support F1"
