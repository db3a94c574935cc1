"""The command line: its outputs and its errors."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from duet_av.pipelines.cli import generate
from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.cli.options import GUIDANCE_FORMS, SAMPLERS
from duet_av.pipelines.cli.request import request_of
from duet_av.pipelines.guidance import sampling
from duet_av.pipelines.guidance.modifiers import Window
from duet_av.pipelines.guidance.strategy import DEFAULT, FORMS, PerStreamCFG
from duet_av.pipelines.media.mp4 import read_mp4
from duet_av.pipelines.media.provenance import read_provenance
from duet_av.pipelines.models.pocket.generate import DEFAULT_SAMPLER, DEFAULT_STEPS
from duet_av.pipelines.world import is_caption

PROMPT = "a small red ball bounces slowly on the left at night"
FAST = ["--steps", "4"]


def duet(*arguments):
    return cli.main([str(a) for a in arguments])


def test_generate_writes_a_clip_and_its_timeline(tmp_path, capsys):
    out, timeline = tmp_path / "out.mp4", tmp_path / "out.png"
    assert duet("generate", PROMPT, *FAST, "-o", out, "--timeline", timeline) == 0
    clip = read_mp4(out)
    assert (clip.frames.shape, clip.fps) == ((32, 512, 512, 3), 16.0)
    assert timeline.read_bytes().startswith(b"\x89PNG")
    assert "synchrony F1" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_file_and_another_seed_another_file(tmp_path):
    files = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert duet("generate", PROMPT, *FAST, "--seed", seed, "-o", tmp_path / f"{name}.mp4") == 0
        files.append((tmp_path / f"{name}.mp4").read_bytes())
    assert files[0] == files[1] != files[2]


def test_clip_k_of_a_batch_uses_seed_plus_k(tmp_path):
    assert duet("generate", PROMPT, *FAST, "--batch", 2, "--seed", 5, "-o", tmp_path / "take.mp4") == 0
    assert duet("generate", PROMPT, *FAST, "--seed", 6, "-o", tmp_path / "alone.mp4") == 0
    take, alone = read_mp4(tmp_path / "take-1.mp4"), read_mp4(tmp_path / "alone.mp4")
    assert (take.frames - alone.frames).abs().mean() < 1e-3, "equal but for the rounding of a batch and H.264"


def test_prompts_from_a_file_and_a_separate_audio_prompt(tmp_path):
    (tmp_path / "prompts.txt").write_text(f"{PROMPT}\n\na large green drum beats quickly\n")
    arguments = [
        "--prompts",
        tmp_path / "prompts.txt",
        "--audio-prompt",
        "a bell rings once",
        "--negative",
        "a cloud drifts",
    ]
    assert duet("generate", *arguments, *FAST, "--form", "cfg", "--cfg", "1.5", "-o", tmp_path / "c.mp4") == 0
    assert sorted(p.name for p in tmp_path.glob("*.mp4")) == ["c-0.mp4", "c-1.mp4"]


def test_a_file_of_prompts_resumes_and_other_settings_start_again(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "BATCH", 1)
    (tmp_path / "prompts.txt").write_text(f"{PROMPT}\na bell rings\n")
    command = ["generate", "--prompts", tmp_path / "prompts.txt", "--steps", 2, "-o", tmp_path / "c.mp4"]
    changed = lambda: [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*.mp4"))]  # noqa: E731 - one use
    assert duet(*command) == 0
    first = changed()
    (tmp_path / "c-1.mp4").write_bytes(b"damaged")
    assert duet(*command, "--jobs", 2) == 0
    assert changed()[0] == first[0], "its request is the same"
    assert read_mp4(tmp_path / "c-1.mp4").frames.shape[0] == 32
    assert duet(*command, "--cfg", 1.5) == 0
    assert changed()[0] != first[0]


def test_seconds_sets_the_length(tmp_path):
    assert duet("generate", PROMPT, *FAST, "--seconds", "3", "-o", tmp_path / "long.mp4") == 0
    assert read_mp4(tmp_path / "long.mp4").frames.shape[0] == 48


def test_guidance_can_be_limited_to_a_range_of_noise_levels():
    def strategy(*options):
        arguments = cli._parser().parse_args(["generate", PROMPT, "-o", "o.mp4", *options])
        return request_of(arguments, [PROMPT]).strategy

    assert strategy() == DEFAULT
    assert strategy("--guide-until", "0.5") == Window(DEFAULT, 1.0, 0.5)
    assert strategy("--guide-from", "0.9", "--form", "cfg") == Window(PerStreamCFG(2.0, 2.0), 0.9, 0.0)


def test_world_writes_clips_with_their_ground_truth(tmp_path):
    assert duet("world", "--count", 2, "--stratum", "simultaneous", "-o", tmp_path / "world") == 0
    truth = json.loads((tmp_path / "world" / "scene-1.json").read_text())
    assert (truth["stratum"], len(truth["subjects"])) == ("simultaneous", 2)
    assert read_mp4(tmp_path / "world" / "scene-1.mp4").frames.shape[0] == 32


def test_the_caption_a_prompt_is_read_as_and_unknown_words_are_reported(tmp_path, capsys):
    assert duet("generate", "a wobbly red ball", *FAST, "-o", tmp_path / "o.mp4") == 0
    printed = capsys.readouterr().err
    assert "duet: Prompt read as: " in printed
    assert "Unknown word, ignored: 'wobbly'" in printed
    prompts = read_provenance(tmp_path / "o.mp4")["duet"]
    assert prompts["prompts"] == ["a wobbly red ball"]
    assert is_caption(prompts["prompts read as"][0])


BAD = {
    "empty prompt": (["generate", " ", "-o", "o.mp4"], "The prompt is empty"),
    "no known word": (["generate", "zebra quartz", "-o", "o.mp4"], "names nothing that the pocket model can generate"),
    "absent subject": (
        ["generate", "a dog barks", "-o", "o.mp4"],
        "cannot generate 'dog'. It knows, nearest first: bird",
    ),
    "too many words": (
        ["generate", PROMPT, "--negative", "ball " * 60, "-o", "o.mp4"],
        "60 words; the pocket text encoder takes at most 47",
    ),
    "no steps": (["generate", PROMPT, "--steps", "0", "-o", "o.mp4"], "steps is 0; it must be from 1 to 1000"),
    "absurd length": (
        ["generate", PROMPT, "--seconds", "1e9", "-o", "o.mp4"],
        "--seconds is 1000000000.0; it must be from",
    ),
    "negative length": (["generate", PROMPT, "--seconds", "-1", "-o", "o.mp4"], "seconds is -1.0"),
    "not a number": (["generate", PROMPT, "--seconds", "nan", "-o", "o.mp4"], "seconds is nan"),
    "infinite guidance": (["generate", PROMPT, "--cfg", "inf", "-o", "o.mp4"], "scale video is inf"),
    "negative context": (["generate", PROMPT, "--form", "U2", "--context", "-1", "-o", "o.mp4"], "scale a2v is -1"),
    "guidance without steps": (
        ["generate", PROMPT, "--guide-from", "0.5", "--guide-until", "0.5", "-o", "o.mp4"],
        "they must satisfy 1 >= from > until >= 0",
    ),
    "negative seed": (["generate", PROMPT, "--seed", "-1", "-o", "o.mp4"], "seed is -1"),
    "absurd batch": (
        ["generate", PROMPT, "--batch", "100000", "-o", "o.mp4"],
        "--batch is 100000; it must be from 1 to 256",
    ),
    "missing folder": (["generate", PROMPT, "-o", "nowhere/o.mp4"], "the folder nowhere does not exist"),
    "wrong ending": (["generate", PROMPT, "-o", "o.avi"], "o.avi does not end in .mp4"),
    "a folder as output": (["generate", PROMPT, "-o", "folder.mp4"], "folder.mp4 is a folder"),
    "missing prompts": (["generate", "--prompts", "none.txt", "-o", "o.mp4"], "none.txt"),
    "empty prompts": (["generate", "--prompts", "empty.txt", "-o", "o.mp4"], "empty.txt holds no prompt"),
    "binary prompts": (
        ["generate", "--prompts", "binary.txt", "-o", "o.mp4"],
        "binary.txt is not a text file in UTF-8",
    ),
    "two sources": (["generate", PROMPT, "--prompts", "empty.txt", "-o", "o.mp4"], "Both a prompt and --prompts"),
    "bad stratum": (["world", "--stratum", "loud", "-o", "w"], "stratum is 'loud'"),
    "no clips": (["world", "--count", "0", "-o", "w"], "--count is 0"),
    "bench of one": (["bench", "core", "--prompts", "1"], "--prompts is 1"),
    "missing footage": (
        ["generate", PROMPT, "--video", "gone.mp4", "-o", "o.mp4"],
        "gone.mp4 is not a file",
    ),
    "data from nowhere": (["data", "none", "-o", "o.safetensors"], "none is not a folder"),
    "data without media": (["data", "folder.mp4", "-o", "o.safetensors"], "holds no media file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_a_one_line_error_and_no_files(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    before = sorted(tmp_path.rglob("*"))
    arguments, message = BAD[case]
    assert duet(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("duet: error: ")
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_read_only_folder_is_refused_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda *_: pytest.fail("a model was built"))
    assert duet("generate", PROMPT, "-o", tmp_path / "o.mp4") == 2
    assert "cannot be written to" in capsys.readouterr().err


def test_a_full_disk_is_reported_and_leaves_no_files(tmp_path, monkeypatch, capsys):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("duet_av.pipelines.media.mp4._write_streams", full)
    assert duet("generate", PROMPT, *FAST, "-o", tmp_path / "o.mp4") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_ctrl_c_leaves_no_partial_file(tmp_path):
    command = [sys.executable, "-c", "import sys; from duet_av.pipelines.cli.main import main; sys.exit(main())"]
    command += ["generate", PROMPT, "--steps", "1000", "-o", str(tmp_path / "o.mp4")]
    # Whoever runs the tests in the background has SIGINT ignored, and a child would inherit that.
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 - one use
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path, preexec_fn=heed)
    assert process.stderr.read(7) == b"\rsample", "the progress bar of the sampling comes first"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted" in error
    assert not list(tmp_path.iterdir())


def test_the_form_options_are_plain_guidance_and_the_forms_that_use_the_other_stream():
    assert set(GUIDANCE_FORMS) == {"cfg", *FORMS} - {"U4"}  # U4 is plain guidance
    given = cli._parser().parse_args(["generate", PROMPT, "-o", "o.mp4"])
    assert request_of(given, [PROMPT]).strategy == DEFAULT
    assert (given.steps, given.sampler) == (DEFAULT_STEPS, DEFAULT_SAMPLER)
    assert set(SAMPLERS) == set(sampling.SAMPLERS)
