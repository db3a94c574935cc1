"""Loading of JavisDiT's parts: sizes from tensors, AudioLDM2's codec, prompts, clip sizes, and the figure of a prior."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from duet_av.pipelines.core.conditions import Prior
from duet_av.pipelines.core.sizes import ClipSpec
from duet_av.pipelines.figures.canvas import pixels
from duet_av.pipelines.figures.prior import draw_prior
from duet_av.pipelines.models.catalogue import PARTS, part
from duet_av.pipelines.models.javisdit.audio import HOP, MELS, SAMPLE_RATE, log_mel
from duet_av.pipelines.models.javisdit.autoencoder import KLConfig
from duet_av.pipelines.models.javisdit.caption import clean, v01_prompt
from duet_av.pipelines.models.javisdit.clock import V01_CLOCK, V10_CLOCK
from duet_av.pipelines.models.javisdit.files import checkpoint_shapes, read_checkpoint
from duet_av.pipelines.models.javisdit.load import (
    load_audioldm2_codec,
    load_video_autoencoder,
    v01_config,
    v10_config,
)
from duet_av.pipelines.models.javisdit.load_prior import load_prior, load_training_prior
from duet_av.pipelines.models.javisdit.opensora_vae import OpenSoraVAE, TemporalConfig
from duet_av.pipelines.models.javisdit.prior_heads import HeadsConfig, PriorHeads
from duet_av.pipelines.models.javisdit.v01 import JavisDiT01
from duet_av.pipelines.models.javisdit.v10 import JavisDiT10
from duet_av.pipelines.models.prior.estimator import END, START, PriorEstimator, token_ids

spec = importlib.util.spec_from_file_location(
    "javisdit_files", Path(__file__).parents[2] / "nodes" / "javisdit_files.py"
)
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)


def test_sizes_of_both_networks_are_read_from_their_tensors():
    assert v01_config(JavisDiT01(tiny.V01).state_dict()) == tiny.V01
    assert v10_config(JavisDiT10(tiny.V10).state_dict()) == tiny.V10


def test_the_prior_loads_its_tower_from_either_file_without_training_heads(tmp_path):
    whole = tiny.weights(PriorEstimator(tiny.PRIOR))
    extra = {"discriminator.weight": torch.zeros(1), "text_encoder.modality_heads.text.proj": torch.zeros(1)}
    tiny.write(tmp_path / "whole", whole | extra)
    tower = {
        name.removeprefix("text_encoder."): value for name, value in whole.items() if name.startswith("text_encoder.")
    }
    tiny.write(
        tmp_path / "bare", {name: value for name, value in whole.items() if not name.startswith("text_encoder.")}
    )
    torch.save(
        tower | {"modality_trunks.vision.blocks.0.norm_1.weight": torch.zeros(1)}, tmp_path / "imagebind_huge.pth"
    )
    ids = torch.zeros(1, 77, dtype=torch.long)
    found = [load_prior(tmp_path / "whole"), load_prior(tmp_path / "bare", lambda: tmp_path / "imagebind_huge.pth")]
    assert found[0].config == tiny.PRIOR
    assert torch.equal(found[0].moments(ids)[0], found[1].moments(ids)[0])
    with pytest.raises(ValueError, match=r"imagebind_huge\.pth"):
        load_prior(tmp_path / "bare")


def test_the_training_heads_of_a_prior_are_loaded_if_its_file_has_them(tmp_path):
    estimator, config = tiny.weights(PriorEstimator(tiny.PRIOR)), HeadsConfig(4, 4, channels=8, heads=2)
    heads = tiny.weights(PriorHeads(config))
    tiny.write(tmp_path / "whole", estimator | heads)
    _, found = load_training_prior(tmp_path / "whole")
    assert found.config == config
    assert all(torch.equal(value, heads[name]) for name, value in found.state_dict().items())
    tiny.write(tmp_path / "bare", estimator)
    assert load_training_prior(tmp_path / "bare")[1] is None
    del heads["discriminator.cls_token"]
    tiny.write(tmp_path / "damaged", estimator | heads)
    with pytest.raises(ValueError, match=r"damaged.*discriminator\.cls_token"):
        load_training_prior(tmp_path / "damaged")


def test_the_video_autoencoders_sizes_are_read_from_its_file(tmp_path):
    spatial = KLConfig(3, 3, 4, (32, 32, 32, 64), 1)
    temporal = TemporalConfig(filters=32, num_res_blocks=2, channel_multipliers=(1, 1, 1, 2))
    own = OpenSoraVAE(temporal, spatial)
    tiny.write(tmp_path / "vae", tiny.weights(own))
    found = load_video_autoencoder(tmp_path / "vae")
    assert found.spatial.config == spatial
    assert found.decode(torch.zeros(1, 4, 5, 2, 2), frames=17).shape == (1, 3, 17, 16, 16)


def test_the_audio_codec_needs_both_folders_and_their_configurations(tmp_path):
    tiny.audioldm2(tmp_path / "audioldm2")
    codec = load_audioldm2_codec(tmp_path / "audioldm2")
    assert codec.scale == pytest.approx(0.4110932946205139)
    latent = codec.encode(torch.randn(1, 2, 11_333))
    assert latent.shape == (1, 8, 24, 16), "70 mel frames, padded to 96"
    assert 0 <= codec.decode(latent).shape[-1] - 96 * HOP < HOP, "the vocoder's first layer adds a fifth of a frame"
    (tmp_path / "audioldm2" / "vae" / "config.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="'scaling_factor' is missing"):
        load_audioldm2_codec(tmp_path / "audioldm2")
    (tmp_path / "audioldm2" / "vae" / "config.json").unlink()
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        load_audioldm2_codec(tmp_path / "audioldm2")


def test_the_error_for_an_incomplete_file_names_the_missing_tensor(tmp_path):
    tensors = tiny.weights(PriorEstimator(tiny.PRIOR))
    del tensors["in_proj.weight"]
    tiny.write(tmp_path / "prior", tensors)
    with pytest.raises(ValueError, match=r"prior: the tensor in_proj\.weight is missing"):
        load_prior(tmp_path / "prior")


def test_older_attention_names_are_converted(tmp_path):
    tiny.audioldm2(tmp_path / "audioldm2")
    file = tmp_path / "audioldm2" / "vae" / "diffusion_pytorch_model.safetensors"
    expected = load_audioldm2_codec(tmp_path / "audioldm2").vae.state_dict()
    older = {
        name.replace("to_q.", "query.")
        .replace("to_k.", "key.")
        .replace("to_v.", "value.")
        .replace("to_out.0.", "proj_attn."): z
        for name, z in read_checkpoint(file).items()
    }
    assert any(".query." in name for name in older)
    save_file(older, file)
    found = load_audioldm2_codec(tmp_path / "audioldm2").vae.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_mel_frames_depend_on_pitch_but_not_on_level():
    t = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = torch.sin(2 * math.pi * 1000 * t)[None]
    mel = log_mel(tone)
    assert mel.shape == (1, 101, MELS)
    # Slaney's scale is linear below 1 kHz, which is its 15th of 45.245 mels below 8 kHz.
    assert abs(mel[0, 50].argmax().item() - 15 / 45.245 * (MELS + 1)) <= 1.5
    assert torch.allclose(log_mel(0.3 * tone + 0.2), mel, atol=1e-2)
    assert torch.allclose(log_mel(torch.zeros(1, 16_000)), torch.full((1, 101, MELS), math.log(1e-5)))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("A  Dog\nBarks", "a dog barks"),
        ("see https://a.b/c now", "see now"),
        ("a <b>red</b> ball @someone", "a red ball"),
        ("rain\u2014on a roof \u201cloud\u201d", 'rain-on a roof "loud'),
        ("\u96e8 falls &amp; drips", "falls drips"),
        ("one,two", "one, two"),
    ],
)
def test_captions_are_cleaned_like_the_training_data(text, cleaned):
    assert clean(text) == cleaned
    assert clean(clean(cleaned)) == cleaned


def test_the_aesthetic_score_is_appended_once():
    assert v01_prompt("A dog barks") == "a dog barks aesthetic score: 6.5."
    assert v01_prompt("A dog. aesthetic score: 5.0.") == "a dog. aesthetic score: 5.0."


@pytest.mark.parametrize(
    ("clock", "seconds", "size", "frames", "video", "audio"),
    [
        (V01_CLOCK, 2.0, (240, 426), 51, (4, 15, 30, 53), 56),
        (V01_CLOCK, 4.0, (240, 426), 102, (4, 30, 30, 53), 112),
        (V01_CLOCK, 8.0, (720, 1280), 204, (4, 60, 90, 160), 216),
        (V10_CLOCK, 4.0, (240, 426), 65, (16, 17, 30, 54), 104),
        (V10_CLOCK, 5.0, (360, 640), 81, (16, 21, 46, 80), 128),
        (V10_CLOCK, 0.3, (480, 854), 17, (16, 5, 60, 108), 32),
    ],
)
def test_clip_sizes_match_the_official_ones(clock, seconds, size, frames, video, audio):
    assert clock.frames(seconds, clock.fps) == frames
    assert clock.video_latent(frames, *size) == video
    assert clock.audio_latent(frames, clock.fps) == (8, audio, 16)
    height, width = (8 * n for n in video[2:])
    assert clock.clip_of(video) == ClipSpec(height, width, frames, clock.fps)


def test_token_ids_are_padded_with_zeros_and_long_texts_are_cut():
    short, long = (token_ids("x", lambda _, n=n: list(range(1, n + 1))) for n in (3, 90))
    assert short[0, :6].tolist() == [START, 1, 2, 3, END, 0]
    assert short.shape == long.shape == (1, 77)
    assert END not in long


def test_each_catalogue_row_is_unique_and_states_source_licence_and_size():
    names = [row.name for row in PARTS]
    assert len(set(names)) == len(names)
    for row in PARTS:
        assert part(row.name) is row
        assert (not row.folder) or (row.source and row.licence and row.gigabytes > 0), row.name


def test_tensor_shapes_are_read_without_loading_tensors(tmp_path):
    tensors = {"base_model.model.a.weight": torch.zeros(2, 3), "b": torch.tensor(1.0)}
    tiny.write(tmp_path / "model", tensors, shards=2)
    torch.save(tensors, tmp_path / "a.bin")
    for path in (tmp_path, tmp_path / "model", tmp_path / "a.bin"):
        found = checkpoint_shapes(path)
        assert {name: tuple(z.shape) for name, z in found.items()} == {"a.weight": (2, 3), "b": ()}
        assert all(z.is_meta for z in found.values())
    (tmp_path / "b.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        checkpoint_shapes(tmp_path / "b.safetensors")


def test_the_figure_of_a_prior_shows_its_variance():
    mean = torch.zeros(1, 6, 4)
    sharp, broad = (
        pixels(draw_prior(Prior(mean, torch.full_like(mean, v), 1, 1.0, 4), title="x")) for v in (-30.0, 2.0)
    )
    assert sharp.shape == broad.shape
    assert sharp.shape[-1] == 3
    assert (sharp - broad).abs().mean() > 0.01
