"""Sweeps and comparisons inside a real ComfyUI."""

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from duet_av.pipelines.bench.takes import ANY, EVENTS
from duet_av.pipelines.guidance.strategy import PerStreamCFG

PROMPT = "a small red ball bounces slowly on the left at night"


@pytest.fixture
def output(comfy, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    return tmp_path


@pytest.fixture
def guider(run, loaded):
    positive, negative = run("DuetEncodePrompt", loaded[1], PROMPT, "", "")[:2]
    return run("DuetGuider", loaded[0], positive, PerStreamCFG(2.0, 2.0), negative)[0]


def sweep(run, loaded, guider, empty, **changes):
    settings = {"seed": 5, "takes": 3, "keep": 2, "score": EVENTS, "label": "mine", "steps": 4, **changes}
    return run("DuetSeedSweep", guider, empty, loaded[2], loaded[3], **settings)


def test_the_best_takes_equal_their_seeds_sampled_alone(run, loaded, guider, empty, output):
    latent, best, picture, takes, report = sweep(run, loaded, guider, empty)
    assert latent["samples"].unbind()[0].shape[0] == 2
    assert best == takes.takes[0].seed
    assert [t.score for t in takes.takes] == sorted((t.score for t in takes.takes), reverse=True)
    alone = run("DuetSampler", guider, empty, best, 4)[0]
    for kept, own in zip(latent["samples"].unbind(), alone["samples"].unbind(), strict=True):
        assert torch.allclose(kept[:1], own, atol=1e-5)
    assert picture.ndim == 4
    assert report.startswith("mine: 3 take(s)")
    images, _, _ = run("DuetDecode", latent, loaded[2], loaded[3], False)
    assert len(images) == 2


def test_a_sweep_requires_batch_size_one(run, loaded, guider, output):
    two = run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 16, 2)[0]
    with pytest.raises(ValueError, match="batch size 2; a sweep needs 1"):
        sweep(run, loaded, guider, two)


def test_a_cancelled_sweep_keeps_finished_takes(comfy, run, loaded, guider, empty, output, monkeypatch):
    import comfy.model_management as management

    from duet_av.nodes.host import takes as host

    sampled, sample = [], host.sample_latent

    def stopping(*args, seed, **named):
        if seed == 7 and 7 not in sampled:
            sampled.append(seed)
            raise management.InterruptProcessingException
        sampled.append(seed)
        return sample(*args, seed=seed, **named)

    monkeypatch.setattr(host, "sample_latent", stopping)
    with pytest.raises(management.InterruptProcessingException):
        sweep(run, loaded, guider, empty)
    sampled_before = list(sampled)
    takes = sweep(run, loaded, guider, empty)[3]
    assert sampled_before == [5, 6, 7]
    assert sampled[len(sampled_before) :] == [7], "finished takes are not sampled again"
    assert {t.seed for t in takes.takes} == {5, 6, 7}


def test_another_clip_or_prompt_starts_another_sweep(run, loaded, guider, empty, output):
    from duet_av.nodes.host.takes import sweep_folder

    graph = {
        "1": {"class_type": "DuetSeedSweep", "inputs": {"steps": 4, "takes": 3, "guider": ["2", 0]}},
        "2": {"inputs": {}},
    }
    own = sweep_folder(graph, "1", empty, guider)
    more = {**graph, "1": {"class_type": "DuetSeedSweep", "inputs": {"steps": 4, "takes": 9, "guider": ["2", 0]}}}
    assert sweep_folder(more, "1", empty, guider) == own, "more seeds are the same sweep"
    other = {**graph, "1": {"class_type": "DuetSeedSweep", "inputs": {"steps": 5, "takes": 3, "guider": ["2", 0]}}}
    given = {**empty, "samples": type(empty["samples"])([z + 1 for z in empty["samples"].unbind()])}
    assert len({own, sweep_folder(other, "1", empty, guider), sweep_folder(graph, "1", given, guider)}) == 3


def test_sweeps_and_videos_are_compared_and_saved_as_csv(comfy, run, loaded, guider, empty, output):
    latent, _, _, takes, _ = sweep(run, loaded, guider, empty, score=ANY)
    images, sounds, fps = run("DuetDecode", latent, loaded[2], loaded[3], False)
    mux = comfy.pack["DuetMux"]
    mux.hidden = SimpleNamespace(prompt={}, unique_id="")
    video = run("DuetMux", images[0], sounds[0], fps, 1)[0]
    picture, report = run("DuetCompareTakes", "duet/takes", a=takes, c=video)
    assert picture.std() > 0
    assert "mine: 3 take(s)" in report
    assert "clip c: 1 take(s)" in report
    (path,) = Path(output).rglob("*.csv")
    with path.open(encoding="utf-8") as file:
        assert [row["setting"] for row in csv.DictReader(file)] == ["mine"] * 3 + ["clip c"]
    run("DuetCompareTakes", "duet/takes", a=takes)
    assert len(list(Path(output).rglob("*.csv"))) == 2, "nothing is overwritten"
