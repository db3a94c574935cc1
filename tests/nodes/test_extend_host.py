"""Long clips inside a real ComfyUI: pocket model, and LTX-2 and MiniMax H3 with their own VAEs, loaded from tiny official files."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from duet_av.pipelines.guidance.strategy import PerStreamCFG
from duet_av.pipelines.media.mp4 import read_mp4
from duet_av.pipelines.media.provenance import read_provenance

PROMPT = "a small red ball bounces slowly on the left at night"


@pytest.fixture(autouse=True)
def folders(comfy, tmp_path, monkeypatch):
    import folder_paths

    for name in ("output", "temp"):
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    return tmp_path


@pytest.fixture
def guider(run, loaded):
    positive, negative = run("DuetEncodePrompt", loaded[1], PROMPT, "", "")[:2]
    return run("DuetGuider", loaded[0], positive, PerStreamCFG(1.0, 1.0), negative)[0]


@pytest.fixture(scope="module")
def tiny_ltx(comfy, tmp_path_factory):
    """MODEL, video VAE and audio VAE of a tiny LTX-2, through the host's own loaders."""
    import comfy.sd
    import folder_paths
    from comfy_extras.nodes_lt_audio import LTXVAudioVAELoader
    from official_files import write_ltx2

    path = tmp_path_factory.mktemp("ltx2") / "tiny.safetensors"
    write_ltx2(path)
    folder_paths.add_model_folder_path("checkpoints", str(path.parent))
    model, _, video, _ = comfy.sd.load_checkpoint_guess_config(str(path), output_vae=True, output_clip=False)
    return model, video, LTXVAudioVAELoader.execute(path.name).args[0]


def extend(run, guider, latent, vaes, seconds, overlap=0.5, loop=False, **more):
    options = {"seed": 5, "steps": 2, **more}
    video, report = run("DuetExtend", guider, latent, *vaes, seconds, overlap, loop, **options)
    return video, report


def stock(comfy, model, positive):
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, positive)
    guider.set_cfg(1.0)
    return guider


def sigmas_of(comfy, model, steps=2):
    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", steps)


def test_a_long_clip_of_the_pocket_model(comfy, run, loaded, guider, empty, folders):
    video, report = extend(run, guider, empty, loaded[2:4], 5.0)
    assert report == "5 s, 3 pieces, audio +0.00 ms longer than video"
    parts = video.get_components()
    assert len(parts.images) == 80
    assert parts.frame_rate == 16
    assert abs(parts.audio["waveform"].shape[-1] - 80_000) <= 2048
    assert not list((folders / "output").rglob("piece-*")), "finished pieces are removed when the clip is complete"
    single = run("DuetDecode", run("DuetSampler", guider, empty, 5, 2)[0], *loaded[2:4], False)[0][0]
    shown = torch.nn.functional.avg_pool2d(parts.images[:20].permute(0, 3, 1, 2), 8).permute(0, 2, 3, 1)
    assert (shown - single[:20]).abs().mean() < 0.02, "the first piece is the clip of the seed"


def test_the_command_line_makes_the_same_clip(comfy, run, loaded, guider, empty, tmp_path):
    from duet_av.pipelines.cli import main as cli

    video, _ = extend(run, guider, empty, loaded[2:4], 3.5)
    options = ["--steps", "2", "--form", "cfg", "--cfg", "1", "--seed", "5", "--seconds", "3.5"]
    assert cli.main(["extend", PROMPT, *options, "-o", str(tmp_path / "own.mp4")]) == 0
    own, hosted = read_mp4(tmp_path / "own.mp4"), read_mp4(Path(video.get_stream_source()))
    assert (hosted.frames - own.frames).abs().mean() < 1e-3
    assert (hosted.waveform - own.waveform).abs().mean() < 1e-3


def test_a_video_and_a_sampled_latent_are_continued(comfy, run, loaded, guider, empty):
    from comfy_api.latest import InputImpl, Types

    grey = torch.full((30, 90, 120, 3), 0.5)
    silent = Types.VideoComponents(images=grey, audio=None, frame_rate=15)
    video, report = extend(run, guider, empty, loaded[2:4], 4.0, video=InputImpl.VideoFromComponents(silent))
    assert report.startswith("4 s, 2 pieces")
    assert (video.get_components().images[:32] - 0.5).abs().mean() < 0.02
    sampled = run("DuetSampler", guider, empty, 5, 2)[0]
    assert extend(run, guider, sampled, loaded[2:4], 4.0)[1].startswith("4 s, 2 pieces")


def test_a_cancelled_run_resumes(comfy, run, loaded, guider, empty, monkeypatch):
    import comfy.model_management as management

    from duet_av.nodes.host import extend as host

    sample, seeds = host.sample_latent, []

    def stopping(*args, seed, **named):
        seeds.append(seed)
        if len(seeds) == 2:
            raise management.InterruptProcessingException
        return sample(*args, seed=seed, **named)

    monkeypatch.setattr(host, "sample_latent", stopping)
    with pytest.raises(management.InterruptProcessingException):
        extend(run, guider, empty, loaded[2:4], 5.0)
    extend(run, guider, empty, loaded[2:4], 5.0)
    assert seeds[0] == 5
    assert seeds[1] == seeds[2]
    assert len(set(seeds)) == 3


def test_timed_events_are_cut_to_the_pieces(comfy, run, loaded, empty, monkeypatch):
    from duet_av.nodes.host import extend as host
    from duet_av.nodes.types import TIMED

    timeline = "0.6: the ball\n3.2: the ball"
    model, positive, _, _ = run("DuetTimedPrompt", *loaded[:2], PROMPT, "", timeline, 5.0, 1.0, 0.0, True)
    guider = run("DuetGuider", model, positive, PerStreamCFG(1.0, 1.0), positive)[0]
    sample, seen = host.sample_latent, []

    def spy(own, *args, **named):
        timed = own.original_conds["positive"][0][TIMED].timed
        seen.append([round(event.asked, 3) for _, event in timed.events.video])
        return sample(own, *args, **named)

    monkeypatch.setattr(host, "sample_latent", spy)
    extend(run, guider, empty, loaded[2:4], 5.0)
    assert seen == [[0.6], [1.7], [0.2]]


@pytest.mark.parametrize("loop", [False, True])
def test_ltx2_with_its_own_vaes(comfy, run, words, tiny_ltx, loop, monkeypatch):
    from comfy_extras.nodes_lt_audio import LTXVEmptyLatentAudio

    from duet_av.nodes.host import extend as host

    model, *vaes = tiny_ltx
    positive = words(1, 6, 96, frame_rate=24.0)
    audio = LTXVEmptyLatentAudio.execute(33, 24.0, 1, vaes[1]).args[0]["samples"]
    latent = {"samples": comfy.nested((torch.zeros(1, 128, 5, 2, 2), audio))}
    sample, kept = host.sample_latent, []

    def spy(guider, latent, **named):
        sampled = sample(guider, latent, **named)
        if "noise_mask" in latent:
            for z, mask, out in zip(
                *(x.unbind() for x in (latent["samples"], latent["noise_mask"], sampled["samples"])), strict=True
            ):
                same = (mask == 0).expand_as(z)
                kept.append((int(same.sum()), float((out - z)[same].abs().max()) if same.any() else 0.0))
        return sampled

    monkeypatch.setattr(host, "sample_latent", spy)
    sigmas = sigmas_of(comfy, model)
    seconds = 97 / 24
    video, report = extend(run, stock(comfy, model, positive), latent, vaes, seconds, 0.35, loop, sigmas=sigmas)
    parts = video.get_components()
    assert len(parts.images) == 97
    assert parts.frame_rate == 24
    assert abs(parts.audio["waveform"].shape[-1] / parts.audio["sample_rate"] - seconds) < 0.05
    assert abs(float(report.split("audio ")[1].split(" ms")[0])) <= 0.03
    assert all(count for count, _ in kept), "both streams of every further piece keep something"
    assert max(gap for _, gap in kept) < 1e-3


def test_h3_with_its_own_vaes(comfy, run, words, h3, tmp_path, monkeypatch):
    from comfy.ldm.minimax import audio_vae, vae
    from comfy.sd import VAE
    from comfy.utils import load_torch_file
    from official_files import shrink_h3_vaes, write_h3

    for module, name in ((vae, "ViT3DDecoder"), (vae, "MiniMaxH3VideoVAE"), (audio_vae, "MiniMaxH3AudioVAE")):
        monkeypatch.setattr(module, name, getattr(module, name))  # restored after the test
    shrink_h3_vaes()
    paths = [tmp_path / f"{part}.safetensors" for part in ("network", "video", "audio")]
    write_h3(*paths)
    vaes = [VAE(sd=load_torch_file(str(path))) for path in paths[1:]]
    latent = {"samples": comfy.nested((torch.zeros(1, 24, 7, 4, 4), torch.zeros(1, 32, 2, 37)))}
    sigmas = sigmas_of(comfy, h3.model)
    video, report = extend(run, stock(comfy, h3.model, h3.positive), latent, vaes, 50 / 24, 0.2, sigmas=sigmas)
    parts = video.get_components()
    assert len(parts.images) == 50
    assert report.startswith("2.08333 s, 3 pieces")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 2.0}, "it must be more than 2 s"),
        ({"overlap": 1.0, "loop": True}, "from 0.25 to 0.625 s in a loop"),
        ({"batch": 2}, "batch size 2; a long clip needs 1"),
    ],
)
def test_impossible_requests_are_refused_before_sampling(run, loaded, guider, changes, message):
    options = {"seconds": 5.0, "overlap": 0.5, "loop": False, **changes}
    latent = run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 16, options.pop("batch", 1))[0]
    with pytest.raises(ValueError, match=message):
        extend(run, guider, latent, loaded[2:4], options.pop("seconds"), **options)


def test_a_plan_of_a_single_clip_is_refused_and_provenance_is_written(comfy, run, loaded, guider, empty):
    from duet_av.nodes.types import PLAN

    planned = stock(comfy, loaded[0], [[z, {**more, PLAN: object()}] for z, more in [[torch.zeros(1, 4, 128), {}]]])
    with pytest.raises(ValueError, match="plan, whose tokens are for a single clip"):
        extend(run, planned, empty, loaded[2:4], 5.0)
    node = comfy.pack["DuetExtend"]
    graph = {"1": {"class_type": "DuetExtend", "inputs": {"seed": 5}}}
    node.hidden = SimpleNamespace(prompt=graph, unique_id="1")
    try:
        video, _ = extend(run, guider, empty, loaded[2:4], 3.0)
    finally:
        node.hidden = None
    assert read_provenance(Path(video.get_stream_source()))["duet"]["seeds"] == {"DuetExtend 1": 5}
