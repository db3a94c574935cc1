"""CCL's ablation: the report over seeds."""

import pytest

from duet_av.pipelines.training.ablations.context import ARMS, Outcome, report


def _outcome(arm, seed, value):
    mass = {f"{way} {token}": 0.5 for way in ("a2v", "v2a") for token in ("event", "background")}
    return Outcome(
        arm, seed, [(64, value)], {"sync_normalised": value, "kind_accuracy": 1.0}, [value - 0.1, value + 0.1], mass
    )


def test_the_ablation_reports_intervals_over_its_seeds():
    outcomes = [
        _outcome(arm, seed, 0.8 - 0.3 * (arm == "gated") + 0.05 * seed)
        for arm in ("full", "gated")
        for seed in range(3)
    ]
    full, gated = report(outcomes, commit="x")["rows"]
    assert (full["variant"], full["seeds"]) == ("full", [0, 1, 2])
    assert gated["sync_f1_minus_full"]["mean"] == pytest.approx(-0.3)
    low, high = full["sync_f1"]["ci95"]
    assert low < full["sync_f1"]["mean"] < high
    assert set(ARMS) >= {"full", "no-context-tokens", "no-windows", "index-positions", "gated", "no-routing"}
