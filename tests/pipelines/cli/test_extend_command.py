"""``duet extend``: long clips, loops, continued clips, and what is refused."""

import pytest
import torch

from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.media.mp4 import read_mp4
from duet_av.pipelines.media.provenance import read_provenance
from duet_av.pipelines.models.pocket import extend as pocket

PROMPT = "a large red ball bounces once on the left in a meadow"
FAST = ("--steps", 2, "--form", "cfg", "--cfg", 1)


def duet(*arguments):
    return cli.main([str(a) for a in arguments])


def test_a_long_clip_resumes_after_an_interruption(tmp_path, capsys, monkeypatch):
    whole, resumed = tmp_path / "whole.mp4", tmp_path / "resumed.mp4"
    command = ["extend", PROMPT, *FAST, "--seconds", 5, "--seed", 3]
    assert duet(*command, "-o", whole) == 0
    assert "5 s, 3 pieces, audio +0.00 ms longer than video" in capsys.readouterr().out
    sample, seeds = pocket.sample, []

    def stopping(*args, **named):
        seeds.append(args[2].seed)
        if len(seeds) == 3:
            raise KeyboardInterrupt
        return sample(*args, **named)

    monkeypatch.setattr(pocket, "sample", stopping)
    assert duet(*command, "-o", resumed) == 130
    assert not resumed.exists()
    assert duet(*command, "-o", resumed) == 0
    assert seeds[0] == 3
    assert len(seeds) == 4
    assert seeds[2] == seeds[3], "only the piece that was not finished is generated again"
    a, b = read_mp4(whole), read_mp4(resumed)
    assert torch.equal(a.frames, b.frames)
    assert torch.equal(a.waveform, b.waveform)
    assert len(a.frames) == 80
    assert sorted(path.name for path in tmp_path.iterdir()) == ["resumed.mp4", "whole.mp4"]


def test_a_clip_is_continued_and_closed_to_a_loop(tmp_path, capsys):
    clip, longer, loop = (tmp_path / f"{name}.mp4" for name in ("clip", "longer", "loop"))
    assert duet("generate", PROMPT, *FAST, "-o", clip) == 0
    assert duet("extend", PROMPT, *FAST, "--clip", clip, "--seconds", 4, "-o", longer) == 0
    begin, found = read_mp4(clip), read_mp4(longer)
    assert len(found.frames) == 64
    assert (found.frames[:32] - begin.frames).abs().mean() < 0.02
    assert read_provenance(longer)["duet"]["settings"]["kept"] == "clip.mp4"
    assert duet("extend", PROMPT, *FAST, "--clip", clip, "--seconds", 3, "--loop", "-o", loop) == 0
    around = read_mp4(loop)
    assert len(around.frames) == 48
    assert (around.frames[-8:] - begin.frames[:8]).abs().mean() < 0.02, "the end is the beginning of the clip"
    assert (around.frames[:24] - begin.frames[8:]).abs().mean() < 0.02


def test_plans_and_timed_events_are_cut_to_the_pieces(tmp_path, monkeypatch):
    events, out, seen = tmp_path / "events.txt", tmp_path / "out.mp4", []
    events.write_text("0.6: the ball\n3.2: the ball\n")
    sample = pocket.sample

    def spy(network, text, request, **named):
        seen.append(request)
        return sample(network, text, request, **named)

    monkeypatch.setattr(pocket, "sample", spy)
    assert duet("extend", PROMPT, *FAST, "--seconds", 5, "--timed", events, "-o", out) == 0
    asked = [None if r.timed is None else [round(e.asked, 3) for e in r.timed[0].events] for r in seen]
    assert asked == [[0.6], [1.7], [0.2]]
    seen.clear()
    events.write_text("0.6: the ball\n")
    assert duet("extend", PROMPT, *FAST, "--seconds", 5, "--timed", events, "-o", out) == 0
    assert [r.timed is None for r in seen] == [False, True, True]
    assert seen[1].prompts == ["a large red ball on the left in a meadow"], "nothing acts where nothing is asked for"
    seen.clear()
    plan = tmp_path / "plan.txt"
    plan.write_text("0.6 ball left\n3.2 ball left\n")
    assert duet("extend", PROMPT, *FAST, "--seconds", 5, "--plan", plan, "-o", out) == 0
    assert all(r.plan is not None for r in seen)
    assert any("pocket-plan" in name for name in read_provenance(out)["duet"]["weights"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seconds", 2), "it must be more than 2 s, because one piece lasts 2 s"),
        (("--overlap", 1.9), "The overlap is 2 s; with pieces of 2 s it must be from 0.25 to 1.75 s"),
        (("--loop", "--overlap", 1), "it must be from 0.25 to 0.625 s in a loop"),
        (("--overlap", 0), "--overlap is 0.0; it must be from 0.01 to 30"),
        (("--timed", "EVENTS"), "the clip ends at 5 s"),
        (("--clip", "MISSING"), "MISSING"),
    ],
)
def test_impossible_requests_are_refused_before_sampling(tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EVENTS").write_text("6: the ball")
    assert duet("extend", PROMPT, "--seconds", 5, *options, "-o", "out.mp4") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()
