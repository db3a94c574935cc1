"""``duet data`` and ``duet train``: own clips, output folders, and what is refused before any work."""

import json

import pytest
import torch

from duet_av.pipelines.bench.prompts import DEVELOPMENT, bench_prompts
from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.core.weights import WEIGHTS, load_weights
from duet_av.pipelines.training import judges, stages
from duet_av.pipelines.training.data import LatentCache
from duet_av.pipelines.training.stages import Job, registry


def duet(*arguments):
    return cli.main([str(a) for a in arguments])


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with two captioned clips of five seconds."""
    folder = tmp_path_factory.mktemp("clips")
    assert duet("world", "--count", 2, "--seconds", 5, "-o", folder) == 0
    return folder


@pytest.fixture(scope="module")
def encoded(clips, tmp_path_factory):
    """The same clips, encoded by ``duet data`` into four segments of two seconds."""
    target = tmp_path_factory.mktemp("encoded") / "clips.safetensors"
    assert duet("data", clips, "-o", target) == 0
    return target


def test_a_folder_of_clips_becomes_training_data_with_a_report(clips, tmp_path, capsys):
    own = tmp_path / "clips"
    own.mkdir()
    for name in ("scene-0", "scene-1"):
        for suffix in (".mp4", ".json"):
            (own / f"{name}{suffix}").write_bytes((clips / f"{name}{suffix}").read_bytes())
    (own / "lonely.mp4").write_bytes((clips / "scene-0.mp4").read_bytes())
    (own / "broken.mkv").write_bytes(b"not a film")
    (own / "broken.txt").write_text("a ball bounces")
    assert duet("data", own, "-o", tmp_path / "clips.safetensors") == 0
    report = json.loads((tmp_path / "clips.json").read_text())
    assert report["taken"] == {"scene-0.mp4": 2, "scene-1.mp4": 2}
    assert "cannot be read as a media file" in report["rejected"]["broken.mkv"]
    assert "it has no caption" in report["rejected"]["lonely.mp4"]
    assert report["outside"] == report["unknown"] == {}
    assert "4 segments from 2 files; 2 files left out" in capsys.readouterr().out


def test_unknown_words_of_captions_are_reported_with_counts_and_nearest_words(clips, tmp_path, capsys):
    for name, text in (("a", "a bouncy ball bounces"), ("b", "the Bouncy zebra ball"), ("c", "zebra quartz")):
        (tmp_path / f"{name}.mp4").write_bytes((clips / "scene-0.mp4").read_bytes())
        (tmp_path / f"{name}.txt").write_text(text)
    assert duet("data", tmp_path, "-o", tmp_path / "clips.safetensors") == 0
    report = json.loads((tmp_path / "clips.json").read_text())
    assert report["unknown"]["bouncy"]["captions"] == 2
    assert "bounces" in report["unknown"]["bouncy"]["nearest"]
    assert report["unknown"]["zebra"]["captions"] == 2
    assert "None of the prompt's words is known" in report["rejected"]["c.mp4"]
    assert "in 2 caption(s): 'bouncy' (nearest known: bounces" in capsys.readouterr().out


NEEDS = {
    "codecs": "the file holds latents",
    "video-decoder": "the file holds latents",
    "audio-decoder": "the file holds latents",
    "audio-probe": "the file holds latents",
    "video-probe": "the file holds latents",
    "planner": "the timeline of every clip",
    "plan-adapted": "the timeline of every clip",
    "prior": "the time and place of every event",
    "timed": "the times of every clip's events",
    "ablation": "rendered clips with a single subject",
}


@pytest.mark.parametrize("stage", NEEDS)
def test_stages_that_cannot_train_on_own_clips_reject_them_before_any_work(
    stage, encoded, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert duet("train", stage, "--data", encoded) == 2
    error = capsys.readouterr().err
    assert f"{stage} cannot train on {encoded}: it needs" in error
    assert NEEDS[stage] in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", ["joint", "plan", "prior-layers", "adapter", "plan-ablation", "adapter-ablation"])
def test_a_missing_file_of_clips_is_an_error_and_nothing_is_rendered(stage, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert duet("train", stage, "--data", "gone.safetensors") == 2
    assert "gone.safetensors does not exist. Create it with 'duet data" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", ["audio", "plan"])
def test_encoded_clips_of_another_kind_are_refused(stage, tmp_path, capsys):
    assert duet("train", stage, "--data", WEIGHTS / "pocket-audio-codec.safetensors", "--run", tmp_path) == 2
    assert "encoded clips are 'video', 'audio' and 'tokens'" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["plan", "prior-layers", "adapter"])
def test_clips_of_another_length_are_refused_where_the_length_is_fixed(stage, clips, tmp_path, capsys):
    target = tmp_path / "long.safetensors"
    assert duet("data", clips, "--seconds", 4, "-o", target) == 0
    assert LatentCache.read(target).video.shape[2] == 16
    assert duet("train", stage, "--data", target, "--run", tmp_path / "run") == 2
    assert f"segments of 16 latent frames; {stage} needs 8" in capsys.readouterr().err


def test_training_without_its_packages_names_the_extra_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("duet_av.pipelines.cli.train.find_spec", lambda _: None)
    assert duet("train", "joint", "--run", tmp_path) == 2
    error = capsys.readouterr().err
    assert "[train]" in error
    assert error.count("\n") == 1


BAD = {
    "no steps": (["joint", "--steps", "0"], "--steps is 0"),
    "uneven tokens": (["prior", "--tokens", "12"], "--tokens is 12; it must be a power of two"),
    "a prior over the shipped one": (
        ["prior", "--tokens", "8", "--weights", str(WEIGHTS)],
        "Name another folder for it with --weights",
    ),
    "unknown task": (["joint", "--mix", "t2x=1"], "'t2x' is not a task"),
    "mix without shares": (["joint", "--mix", "t2av"], "'t2av' is not TASK=SHARE"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options_give_a_one_line_error_and_no_files(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    assert duet("train", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", sorted(stages.STAGES))
def test_the_default_output_of_every_stage_is_inside_the_run_folder(stage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs = []
    monkeypatch.setitem(registry.STAGES, stage, lambda job: jobs.append(job) or {})
    model = "javisdit-v0.1" if stage.startswith("javis-") else "ltx2"
    own = ("--model", model, tmp_path, "--data", tmp_path) if stage in registry.REAL_STAGES else ()
    assert duet("train", stage, *own) == 0
    assert (tmp_path / "runs" / stage).is_dir()
    assert jobs[0].folder.resolve() == tmp_path / "runs" / stage
    assert duet("train", stage, *own, "--weights", "own") == 0
    assert jobs[1].folder.resolve() == tmp_path / "own"


@pytest.fixture
def quick_judges(monkeypatch):
    """Judges that look at one prompt, or at few clips."""
    one = bench_prompts(1, DEVELOPMENT, strata=("single",))[:1]
    monkeypatch.setattr(judges, "bench_prompts", lambda *_, **__: one)
    monkeypatch.setattr(stages.plan, "half_edited", lambda: one)
    monkeypatch.setattr(judges, "MASKED_CLIPS", 24)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_judges")
def test_stages_train_on_own_clips_and_resume_without_touching_the_shipped_weights(encoded, tmp_path, capsys):
    shipped = {path.name: path.stat().st_mtime_ns for path in WEIGHTS.rglob("*")}
    arguments = ["--data", encoded, "--run", tmp_path / "run", "--batch", 2]
    capsys.readouterr()
    for steps in (1, 2):  # the second call resumes from the checkpoint of the first
        assert duet("train", "audio", "--steps", steps, *arguments) == 0
        record = json.loads(capsys.readouterr().out)
        assert (record["stage"], record["steps"]) == ("audio", steps)
    for stage, name in (("plan", "plan"), ("prior-layers", "prior-layers"), ("adapter", "adapter")):
        assert duet("train", stage, "--steps", 1, *arguments) == 0
        assert "| clips | 4 |" in (tmp_path / "run" / stage / f"pocket-{name}.md").read_text()
    assert "auroc_video" in (tmp_path / "run" / "adapter" / "pocket-adapter.md").read_text()
    assert {path.name: path.stat().st_mtime_ns for path in WEIGHTS.rglob("*")} == shipped
    folders = (tmp_path / "run" / "audio", WEIGHTS)
    trained, original = (load_weights(folder / "pocket-av.safetensors", "pocket-av") for folder in folders)
    moved = {name for name, value in trained.tensors.items() if not torch.equal(value, original.tensors[name])}
    assert moved
    assert all(".audio." in name for name in moved)
    assert trained.record["clips"] == 4


def test_the_command_lists_every_registered_stage():
    from duet_av.pipelines.cli.train import ABLATIONS, STAGES

    assert set(STAGES) == set(stages.STAGES)
    assert set(registry.NO_OWN_CLIPS) <= {*STAGES, *ABLATIONS}


def test_a_job_of_the_library_writes_into_its_run_folder_too(tmp_path):
    assert Job("plan", tmp_path).folder == tmp_path / "plan"
