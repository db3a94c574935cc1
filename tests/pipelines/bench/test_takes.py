"""Sweeps: ranking, storing, resuming, comparing, and the command."""

import csv
import json

import pytest
import torch

from duet_av.pipelines.bench.takes import (
    ANY,
    EVENTS,
    SCORES,
    Take,
    Takes,
    compare,
    fingerprint,
    rank,
    sweep,
    take_of,
    takes_of,
    write_csv,
)
from duet_av.pipelines.cli.main import main
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.figures.canvas import pixels
from duet_av.pipelines.figures.takes import draw_comparison, draw_takes
from duet_av.pipelines.world import make_scene, render_picture, render_sound

SCORE = {0: 0.2, 1: 0.9, 2: 0.5, 3: 0.9, 4: 0.1}


class Maker:
    def __init__(self, stop=None):
        self.seeds, self.stop = [], stop

    def __call__(self, seed):
        if seed == self.stop:
            raise KeyboardInterrupt
        self.seeds.append(seed)
        return Take(seed, SCORE[seed], {"in_step": SCORE[seed]}), {"video": torch.full((1, 2), float(seed))}


def select_rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def clip():
    shape = ClipShape()
    scene = make_scene(3, 1, stratum="single")
    sound = render_sound([scene], samples=shape.samples, sample_rate=shape.sample_rate)[0]
    return Clip(render_picture([scene], shape)[0].permute(0, 2, 3, 1), float(shape.fps), sound, shape.sample_rate)


def test_a_sweep_keeps_the_tensors_of_the_best_takes_only(tmp_path):
    make = Maker()
    best = sweep(tmp_path, range(5), make, keep=2)
    assert [take.seed for take, _ in best] == [1, 3], "of equals the lower seed"
    assert [float(tensors["video"][0, 0]) for _, tensors in best] == [1, 3]
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["take-1.safetensors", "take-3.safetensors"]
    assert len(list(tmp_path.glob("*.json"))) == 5


def test_an_interrupted_sweep_resumes_and_a_longer_one_only_generates_new_takes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, range(5), Maker(stop=3), keep=2)
    make = Maker()
    sweep(tmp_path, range(5), make, keep=2)
    assert make.seeds == [3, 4]
    again = Maker()
    best = sweep(tmp_path, range(5), again, keep=3)
    assert again.seeds == [2], "the third was measured and not kept: it alone is generated again"
    assert [take.seed for take, _ in best] == [1, 3, 2]
    (tmp_path / "take-4.json").write_text("{", encoding="utf-8")
    broken = Maker()
    sweep(tmp_path, range(5), broken, keep=3)
    assert broken.seeds == [4], "a record that is cut short is generated again"


def test_a_damaged_take_is_reported_without_its_control_characters(tmp_path, caplog):
    sweep(tmp_path, range(2), Maker(), keep=1)
    path = tmp_path / "take-1.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"F3\x7f"'))
    again = Maker()
    sweep(tmp_path, range(2), again, keep=1)
    assert again.seeds == [1]
    assert "Take 1 is generated again" in caplog.messages[0]
    assert caplog.messages[0].isprintable()


@pytest.mark.parametrize(
    ("seeds", "keep", "message"), [(range(0), 1, "number of seeds is 0"), (range(2), 0, "keep is 0")]
)
def test_invalid_sweeps_are_rejected(tmp_path, seeds, keep, message):
    with pytest.raises(ValueError, match=message):
        sweep(tmp_path, seeds, Maker(), keep=keep)


def test_takes_are_scored_by_motion_or_by_events(clip):
    by_events = take_of(1, clip, EVENTS, None)
    assert by_events.score == by_events.numbers["event_f1"] == 1
    by_motion = take_of(1, clip, ANY, None)
    assert by_motion.score == by_motion.numbers["in_step"] > 0.3
    shifted = Clip(clip.frames, clip.fps, clip.waveform.roll(clip.sample_rate // 3, dims=1), clip.sample_rate)
    assert take_of(1, shifted, EVENTS, None).score == 0
    assert take_of(1, shifted, ANY, None).score < by_motion.score
    with pytest.raises(ValueError, match="score is 'beauty'"):
        take_of(1, clip, "beauty", None)
    assert SCORES[:2] == (ANY, EVENTS)


def test_settings_are_compared_on_shared_seeds_and_written_as_csv(tmp_path):
    first = Takes("cfg 1", tuple(rank(Take(s, 0.1 * s, {"in_step": 0.1 * s}) for s in range(5))))
    second = Takes("cfg 3", tuple(rank(Take(s, 0.1 * s + 0.2, {"lufs": -20.0}) for s in range(5))))
    report = compare([first, second])
    assert "cfg 1: 5 take(s), mean 0.20, best 0.40 (seed 4)" in report
    assert "minus cfg 1 +0.20 [+0.20, +0.20] on 5 shared seeds" in report
    with pytest.raises(ValueError, match="nothing to compare"):
        compare([])
    path = tmp_path / "t.csv"
    write_csv(path, [first, second])
    rows = select_rows(path)
    assert len(rows) == 10
    assert rows[0] == {"setting": "cfg 1", "rank": "1", "seed": "4", "score": "0.4", "in_step": "0.4", "lufs": ""}
    assert pixels(draw_comparison([first, second])).std() > 0


def test_a_contact_sheet_has_a_row_for_each_take(clip):
    takes = [Take(k, 0.5, {}) for k in range(3)]
    assert len(draw_takes([clip] * 3, takes, title="three").axes) == 3


def test_the_fingerprint_depends_on_everything_that_determines_the_takes():
    one = {"b": 1, "a": [1, 2]}
    assert fingerprint(one, torch.ones(2)) == fingerprint({"a": [1, 2], "b": 1}, torch.ones(2))
    assert (
        len(
            {
                fingerprint(one),
                fingerprint({**one, "b": 2}),
                fingerprint(one, torch.ones(2)),
                fingerprint(one, torch.zeros(2)),
            }
        )
        == 4
    )


def test_the_command_keeps_the_best_takes_and_resumes(tmp_path, capsys):
    words = ["a small red ball bounces slowly on the left at night", "--steps", "4", "-o", str(tmp_path / "out")]
    assert main(["sweep", *words, "-n", "2", "--keep", "1"]) == 0
    assert main(["sweep", *words, "-n", "3", "--keep", "2"]) == 0
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir() if not p.name.startswith(".")) == [
        "best-1.mp4",
        "best-2.mp4",
        "takes.csv",
        "takes.png",
    ]
    assert len(select_rows(out / "takes.csv")) == 3
    (folder,) = (p for p in out.iterdir() if p.name.startswith("."))
    assert {json.loads(p.read_text())["seed"] for p in folder.glob("*.json")} == {0, 1, 2}
    assert takes_of(folder, range(3), "all").takes[0].score >= takes_of(folder, range(3), "all").takes[-1].score
    assert "best" in capsys.readouterr().out
    assert main(["sweep", *words, "-n", "0"]) == 2
    assert "--takes is 0" in capsys.readouterr().err
