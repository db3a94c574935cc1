"""LTX-2 on diffusers' class: parity with ComfyUI's LTXAV model, tensor names, the loader, and pocket LTX-2."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers")
sys.path.insert(0, str(Path(__file__).parents[2] / "nodes"))

from ltx2_cases import FIXTURE, FPS, KEEPS, VERSIONS, inputs, levels, weights, word_mask

from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.guidance.timed import HIDDEN
from duet_av.pipelines.models.backbone import Backbone
from duet_av.pipelines.models.ltx2.file import LTX2File
from duet_av.pipelines.models.ltx2.keys import PREFIX, to_diffusers, to_official
from duet_av.pipelines.models.ltx2.load import load_pocket_ltx2, save_pocket_ltx2
from duet_av.pipelines.models.ltx2.network import LTX2Network
from duet_av.pipelines.models.ltx2.pocket import PocketLTX2
from duet_av.pipelines.models.ltx2.pocket_config import (
    FoldedVideoCodec,
    PocketLTX2Config,
    ScaledAudioCodec,
    fold,
    unfold,
)
from duet_av.pipelines.models.ltx2.sizes import LTX2Sizes
from duet_av.pipelines.models.pocket.load import load_audio_codec, load_video_codec

TOLERANCE = 1e-4
TINY = PocketLTX2Config(
    dim=24, depth=1, heads=2, text_dim=12, video_channels=3, audio_channels=5, video_scale=(1.0, 2.0, 3.0)
)


def random_weights(network):
    named = to_official(network.transformer.state_dict())
    return weights({name: value.shape for name, value in named.items()})


@pytest.fixture(scope="module")
def networks():
    return {version: LTX2Network(LTX2Sizes(config)) for version, config in VERSIONS.items()}


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return PocketLTX2(TINY)


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("version", VERSIONS)
def test_outputs_equal_those_of_comfyui(networks, version, keep):
    network = networks[version]
    network.transformer.load_state_dict(to_diffusers(random_weights(network)))
    video, audio, text = inputs(version)
    mask, open_ = word_mask(keep), torch.tensor([keep != "a2v closed"] * 2)
    with torch.inference_mode():
        found = network(
            Streams(video, audio),
            Streams(*levels(keep)),
            Streams(*text),
            fps=FPS,
            mask=None if mask is None else Streams(mask, mask),
            route=Streams(open_, torch.ones_like(open_)),
        )
    stored = load_file(FIXTURE)
    for stream in ("video", "audio"):
        difference = (getattr(found, stream) - stored[f"{version}/{keep}/{stream}"]).abs().max().item()
        assert difference <= TOLERANCE, f"{stream}: {difference}"


@pytest.mark.parametrize("version", VERSIONS)
def test_names_map_both_ways(networks, version):
    named = networks[version].transformer.state_dict()
    assert list(to_diffusers(to_official(named))) == list(named)


def network_in(path):
    return LTX2File(path).network(torch.device("cpu"), torch.float32)


def write(path, network, **changes):
    tensors = {f"{PREFIX}{name}": value for name, value in random_weights(network).items()}
    config = {"transformer": {**network.sizes.official, **changes}}
    save_file(tensors, path, metadata={"config": json.dumps(config)})


@pytest.mark.parametrize("version", VERSIONS)
def test_an_official_file_is_loaded_with_the_sizes_in_its_metadata(networks, version, tmp_path):
    path = tmp_path / "ltx2.safetensors"
    write(path, networks[version])
    found = to_official(network_in(path).transformer.state_dict())
    for name, value in random_weights(networks[version]).items():
        assert torch.equal(found[name], value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 3}, "does not fit its own configuration"),
        ({"use_middle_indices_grid": False}, "use_middle_indices_grid is false"),
        ({"audio_num_attention_heads": 4}, "2 attention heads and the audio stream 4"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(networks, tmp_path, changes, message):
    path = tmp_path / "ltx2.safetensors"
    write(path, networks["2.0"], **changes)
    with pytest.raises(ValueError, match=message):
        network_in(path)


def test_files_without_the_transformer_or_the_metadata_are_refused(networks, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="not an LTX-2 transformer"):
        network_in(path)
    save_file({f"{PREFIX}{n}": z for n, z in random_weights(networks["2.0"]).items()}, path)
    with pytest.raises(ValueError, match="no entry 'config'"):
        network_in(path)


def test_sizes_that_are_missing_are_named():
    with pytest.raises(ValueError, match="no entry in_channels"):
        LTX2Sizes({"use_middle_indices_grid": True})


def call(network, **changes):
    generator = torch.Generator().manual_seed(3)
    video, audio, words = (
        torch.randn(shape, generator=generator) for shape in ((2, 12, 2, 2, 2), (2, 5, 8), (2, 6, 12))
    )
    words[:, 4:] = 0
    sigma = Streams(torch.full((2, 2), 0.5), torch.full((2, 1), 0.5))
    given = {"x": Streams(video, audio), "sigma": sigma, "text": Streams(words, words), **changes}
    with torch.no_grad():
        return network(given.pop("x"), given.pop("sigma"), given.pop("text"), **given).both()


def test_pocket_ltx2_and_the_pocket_network_are_backbones(tiny, make_network):
    assert isinstance(tiny, Backbone)
    assert isinstance(make_network(), Backbone)
    video, audio = call(tiny)
    assert video.shape == (2, 12, 2, 2, 2)
    assert audio.shape == (2, 5, 8)


def test_timed_shares_hide_words_from_single_latent_frames(tiny):
    shares = Streams(torch.zeros(2, 2, 6), torch.zeros(2, 8, 6))
    for found, expected in zip(call(tiny, timed=shares), call(tiny), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    for z in shares.both():
        z[..., 2:] = HIDDEN
    words = torch.randn(2, 6, 12, generator=torch.Generator().manual_seed(7))
    short = torch.cat([words[:, :2], torch.zeros(2, 4, 12)], 1)
    hidden = call(tiny, text=Streams(words, words), timed=shares)
    for found, expected in zip(hidden, call(tiny, text=Streams(short, short)), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    shares.both()[0][:, 1] = 0  # the second video frame reads all of them
    assert not torch.allclose(call(tiny, text=Streams(words, words), timed=shares)[0], hidden[0], atol=1e-4)


def test_a_closed_route_hides_the_other_stream(tiny):
    shut, open_ = torch.zeros(2, dtype=torch.bool), torch.ones(2, dtype=torch.bool)
    other = Streams(torch.randn(2, 12, 2, 2, 2), torch.randn(2, 5, 8))
    closed = Streams(shut, open_)
    first = call(tiny, route=closed)
    x = Streams(torch.randn(2, 12, 2, 2, 2, generator=torch.Generator().manual_seed(3)), other.audio)
    assert torch.equal(call(tiny, x=x, route=closed)[0], first[0])
    assert not torch.equal(call(tiny, x=x)[0], call(tiny)[0])


def test_a_saved_pocket_ltx2_loads_by_its_own_configuration_and_as_an_official_file(tiny, tmp_path):
    path = tmp_path / "pocket-ltx2.safetensors"
    save_pocket_ltx2(path, tiny, record={})
    loaded = load_pocket_ltx2(path)
    assert loaded.config == replace(TINY, audio_scale=())
    for found, expected in zip(call(loaded), call(tiny), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    assert LTX2File(path).sizes().official == {**TINY.sizes().official, "use_keyframes_abs_pos_embedding": False}


def test_both_networks_state_the_sizes_of_their_latents(tiny, make_network):
    assert tiny.latent_sizes(ClipShape()) == Streams((12, 8, 4, 4), (5, 32))
    config = make_network().config
    assert make_network().latent_sizes(ClipShape()) == Streams(
        (config.video_channels, 8, 8, 8), (config.audio_channels, 32)
    )


def test_folding_keeps_every_value_and_puts_four_cells_into_one():
    video = torch.arange(2 * 3 * 2 * 4 * 6.0).view(2, 3, 2, 4, 6)
    assert torch.equal(unfold(fold(video)), video)
    assert set(fold(video)[0, :4, 0, 0, 0].tolist()) == set(video[0, 0, 0, :2, :2].flatten().tolist())


def test_the_codecs_in_its_layout_decode_what_the_pocket_codecs_decode():
    frames, sound = load_video_codec(), load_audio_codec()
    generator = torch.Generator().manual_seed(0)
    video, audio = torch.rand(1, 8, 3, 64, 64, generator=generator), torch.rand(1, 2, 4000, generator=generator) - 0.5
    folded = FoldedVideoCodec(frames, tuple(1.0 + k for k in range(16)))
    scaled = ScaledAudioCodec(sound, tuple(1.0 + k for k in range(24)))
    z, plain = folded.encode(video), frames.encode(video)
    assert z.shape == (1, 64, 2, 4, 4)
    torch.testing.assert_close(folded.decode(z), frames.decode(plain), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.encode(audio)[:, 3] * 4, sound.encode(audio)[:, 3])
    assert scaled.decode(scaled.encode(audio), samples=4000).shape == (1, 2, 4000)


def test_a_missing_file_names_the_command_that_trains_it(tmp_path):
    with pytest.raises(ValueError, match=r"not installed.*duet train pocket-ltx2 --weights weights"):
        load_pocket_ltx2(tmp_path / "pocket-ltx2.safetensors")
