"""Timed events on the command line: generating with them, reporting against them, ranking by them."""

import json

import pytest

from duet_av.pipelines.cli import generate, worker
from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.media.provenance import read_provenance
from duet_av.pipelines.models.choose import with_timed_text

PROMPT = "a large red ball bounces once on the left in a meadow"


def duet(*arguments):
    return cli.main([str(a) for a in arguments])


def test_a_clip_with_timed_events_is_generated_and_reported(tmp_path, capsys):
    events, clip, report = tmp_path / "events.txt", tmp_path / "clip.mp4", tmp_path / "report.json"
    events.write_text("# one bounce\n0.6 both: the ball\n")
    assert duet("generate", PROMPT, "--steps", 3, "--timed", events, "--timed-soft", 0.1, "-o", clip) == 0
    assert read_provenance(clip)["duet"]["settings"]["timed"] == "0.6 both: the ball"
    assert "pocket-timed.safetensors" in read_provenance(clip)["duet"]["weights"]
    assert duet("measure", clip, "--plan", events, "--json", report) == 0
    plan = json.loads(report.read_text())[str(clip)]["plan"]
    assert [event["asked"] for event in plan["events"]] == [0.6]
    assert "of 1 events within 125 ms" in capsys.readouterr().out
    events.write_text("5: the ball")
    assert duet("measure", clip, "--plan", events) == 0
    assert "Line 1 of the timed events" in capsys.readouterr().out


def test_the_lora_of_timed_text_is_used_with_events_alone_and_decides_the_takes(tmp_path, monkeypatch):
    events, out = tmp_path / "events.txt", tmp_path / "out"
    events.write_text("0.6: the ball")
    used = []
    monkeypatch.setattr(worker, "with_timed_text", lambda model: used.append(model.name) or with_timed_text(model))
    sweep = ["sweep", PROMPT, "--steps", 1, "-n", 1, "--keep", 1, "-o", out]
    assert duet(*sweep) == 0
    assert used == []
    assert duet(*sweep, "--timed", events) == 0
    assert len(used) == 1
    names = {path.name for path in out.glob(".duet-*")}
    monkeypatch.setattr(worker, "with_timed_text", lambda model: model)
    assert duet(*sweep, "--timed", events) == 0
    assert len({path.name for path in out.glob(".duet-*")} - names) == 1, "takes without the LoRA are others"


def test_timed_events_hold_in_every_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "BATCH", 1)
    events, prompts = tmp_path / "events.txt", tmp_path / "prompts.txt"
    events.write_text("0.6: the ball")
    prompts.write_text(f"{PROMPT}\n{PROMPT}\n")
    assert duet("generate", "--prompts", prompts, "--steps", 1, "--timed", events, "-o", tmp_path / "clip.mp4") == 0
    clips = sorted(tmp_path.glob("clip-*.mp4"))
    assert len(clips) == 2
    assert all(read_provenance(clip)["duet"]["settings"]["timed"] == "0.6 both: the ball" for clip in clips)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soon: the ball", "events.txt: Line 1 of the timed events"),
        ("2.5: the ball", "the clip ends at 2 s"),
        ("0.5: the dog", "names none of the subjects of the prompt (ball)"),
        ("4000 ball left", "times must be from 0 to 3600 seconds"),
        ('[{"when": 4000, "what": "ball", "where": "left"}]', "events.txt: times must be from 0 to 3600 seconds"),
    ],
)
def test_bad_events_are_refused_before_sampling(tmp_path, capsys, text, message):
    events = tmp_path / "events.txt"
    events.write_text(text)
    assert duet("generate", PROMPT, "--timed", events, "-o", tmp_path / "clip.mp4") != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "clip.mp4").exists()


def test_a_sweep_ranks_by_the_planned_times(tmp_path, capsys):
    events = tmp_path / "events.txt"
    events.write_text("0.6: the ball")
    sweep = ["sweep", PROMPT, "--steps", 2, "-n", 2, "--keep", 1, "--by", "plan", "-o", tmp_path / "out"]
    assert duet(*sweep) != 0
    assert "--by plan compares the clips with timed events" in capsys.readouterr().err
    assert duet(*sweep, "--timed", events) == 0
    assert "plan_hits" in (tmp_path / "out" / "takes.csv").read_text()


def test_pocket_ltx2_reads_timed_events_with_its_own_lora(tmp_path):
    pytest.importorskip("diffusers")
    events, clip = tmp_path / "events.txt", tmp_path / "clip.mp4"
    events.write_text("0.6 both: the ball")
    options = ["--model", "pocket-ltx2", "--steps", 1, "-o", clip]
    assert duet("generate", PROMPT, *options, "--timed", events) == 0
    weights = read_provenance(clip)["duet"]["weights"]
    assert {"pocket-ltx2.safetensors", "pocket-ltx2-timed.safetensors"} <= weights.keys()
    assert "pocket-timed.safetensors" not in weights
    assert duet("generate", PROMPT, *options) == 0
    assert "pocket-ltx2-timed.safetensors" not in read_provenance(clip)["duet"]["weights"]
