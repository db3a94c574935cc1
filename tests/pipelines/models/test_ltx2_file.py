"""An official LTX-2 file gives what the same weights give in diffusers' layout; what is not such a file is refused with the remedy."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers")

from ltx2_official import official_config, official_tensors, write_official
from ltx2_release import write_release

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.core.tensor_file import TensorFile
from duet_av.pipelines.media.segments import Segment
from duet_av.pipelines.models.ltx2.file import LTX2File, open_ltx2
from duet_av.pipelines.models.ltx2.folder import LTX2Folder
from duet_av.pipelines.models.ltx2.keys import PREFIX, connectors_to_diffusers, connectors_to_official
from duet_av.pipelines.models.ltx2.official import video_vae

CPU = torch.device("cpu"), torch.float32
EXACT = {"atol": 1e-6, "rtol": 0}


@pytest.fixture(scope="module", params=["2.0", "2.3"])
def release(request, tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("release") / request.param, version=request.param)


@pytest.fixture(scope="module")
def both(release):
    """The release as a folder, and as a file."""
    path = write_official(release / "official.safetensors", release)
    return LTX2Folder(release), LTX2File(path, release / "text_encoder")


def test_latents_equal_those_of_the_folder(both):
    torch.manual_seed(0)
    shapes = [model.shape(seconds=0.7, fps=24.0, width=64, height=32) for model in both]
    assert shapes[0] == shapes[1]
    frames = torch.randint(0, 256, (shapes[0].frames, 32, 64, 3), dtype=torch.uint8)
    segment = Segment(0.0, frames, torch.randn(2, round(shapes[0].seconds * 16_000)) * 0.1)
    found = [model.codecs(*CPU)(segment) for model in both]
    assert found[0].video.abs().mean() > 1e-3
    torch.testing.assert_close(found[1].video, found[0].video, **EXACT)
    torch.testing.assert_close(found[1].audio, found[0].audio, **EXACT)


def test_text_states_equal_those_of_the_folder(both):
    folder, file = (model.text(*CPU)("a square and a tone") for model in both)
    for name, value in folder.items():
        torch.testing.assert_close(file[name], value, **EXACT)


def test_outputs_of_the_transformer_equal_those_of_the_folder(both):
    torch.manual_seed(0)
    networks = [model.network(*CPU) for model in both]
    sizes = networks[0].sizes.official
    later = sizes["caption_proj_before_connector"]
    widths = [sizes[f"{name}cross_attention_dim"] if later else 16 for name in ("", "audio_")]
    x = Streams(torch.randn(1, 128, 3, 1, 2), torch.randn(1, 128, 18))
    text = Streams(*(torch.randn(1, 7, width) for width in widths))
    level = torch.full((1, 1), 0.7)
    with torch.inference_mode():
        found = [n(x, Streams(level, level), text, fps=24.0) for n in networks]
    for stream in ("video", "audio"):
        torch.testing.assert_close(getattr(found[1], stream), getattr(found[0], stream), **EXACT)


def test_names_of_the_connectors_map_both_ways(release):
    named = load_file(release / "connectors" / "diffusion_pytorch_model.safetensors")
    assert set(connectors_to_diffusers(connectors_to_official(named))) == set(named)


def test_the_fingerprint_follows_what_encodes_and_not_what_generates(both, release, tmp_path):
    file = both[1]
    alone = LTX2File(file.path).fingerprint()
    assert file.fingerprint().startswith(alone)
    assert len(file.fingerprint()) == 2 * len(alone)
    tensors = official_tensors(release)
    for name, other in (("vae.encoder.conv_in.conv.bias", True), (f"{PREFIX}proj_out.bias", False)):
        path = write_official(tmp_path / "other.safetensors", release, more={name: tensors[name] + 1})
        assert (LTX2File(path).fingerprint() != alone) == other


def test_parts_are_read_without_the_rest_of_the_file(both, monkeypatch):
    read, names = TensorFile.read, []

    def recorded(file, wanted, *more):
        names.extend(wanted.values())
        return read(file, wanted, *more)

    monkeypatch.setattr(TensorFile, "read", recorded)
    LTX2File(both[1].path).codecs(*CPU)
    assert names
    assert all(name.startswith(("vae.encoder.", "audio_vae.encoder.")) or "_statistics." in name for name in names)


def without(tensors, prefix):
    return {name: value for name, value in tensors.items() if not name.startswith(prefix)}


@pytest.mark.parametrize(
    ("gone", "call", "message"),
    [
        (PREFIX, lambda file: file.sizes(), "it is not an LTX-2 transformer"),
        ("vae.", lambda file: file.strides(), "holds no vae: no name of a tensor begins with 'vae.encoder.'"),
        ("audio_vae.", lambda file: file.codecs(*CPU), "holds no audio_vae"),
        ("text_embedding_projection.", lambda file: file.text(*CPU), "holds no projection of text states"),
    ],
)
def test_a_file_without_a_part_is_refused(release, tmp_path, gone, call, message):
    tensors = without(official_tensors(release), gone)
    save_file(tensors, tmp_path / "x.safetensors", metadata={"config": json.dumps(official_config(release))})
    with pytest.raises(ValueError, match=message):
        call(LTX2File(tmp_path / "x.safetensors", release / "text_encoder"))


def test_files_without_metadata_or_of_other_architectures_are_refused(release, tmp_path):
    path, config = tmp_path / "x.safetensors", official_config(release)
    save_file(official_tensors(release), path)
    with pytest.raises(ValueError, match="no entry 'config' with the sizes of the vae"):
        LTX2File(path).strides()
    blocks = config["vae"]["encoder_blocks"]
    for entry, value, message in [
        ("encoder_blocks", blocks[1:], "encoder_blocks must be 4 times 'res_x'"),
        ("encoder_blocks", [["attn", {}], *blocks[1:]], "encoder_blocks must be 4 times 'res_x'"),
        ("encoder_base_channels", 64, "both must be equal, as in the official files"),
        ("norm_layer", "group_norm", "norm_layer is 'group_norm'; it must be one of 'pixel_norm'"),
    ]:
        write_official(path, release, config={"vae": {**config["vae"], entry: value}})
        with pytest.raises(ValueError, match=message):
            LTX2File(path).strides()


BLOCKS = {  # layers, kinds and factors of the released encoders
    "2.0": ((4, 6, 6, 2, 2), (2, 2, 2, 2), (256, 512, 1024, 2048)),
    "2.3": ((4, 6, 4, 2, 2), (2, 2, 2, 1), (256, 512, 1024, 1024)),
}


@pytest.mark.parametrize("version", BLOCKS)
def test_the_released_video_encoders_have_the_sizes_that_diffusers_gives_them(version):
    layers, factors, widths = BLOCKS[version]
    blocks = [["res_x", {"num_layers": layers[0]}]]
    for kind, factor, count in zip(("space", "time", "all", "all"), factors, layers[1:], strict=True):
        blocks += [[f"compress_{kind}_res", {"multiplier": factor}], ["res_x", {"num_layers": count}]]
    entries = {"latent_channels": 128, "patch_size": 4, "norm_layer": "pixel_norm", "latent_log_var": "uniform"}
    found = video_vae({**entries, "encoder_blocks": blocks}, source="x")
    assert (found["layers_per_block"], found["block_out_channels"]) == (layers, widths)
    assert found["downsample_type"] == ("spatial", "temporal", "spatiotemporal", "spatiotemporal")
    assert (found["spatial_compression_ratio"], found["temporal_compression_ratio"]) == (32, 8)


def test_quantised_tensors_are_refused_where_they_are_needed(release, tmp_path):
    name = f"{PREFIX}transformer_blocks.0.attn1.to_q.weight"
    weight = official_tensors(release)[name]
    float8 = weight.to(torch.float8_e4m3fn)
    for wrong in ({name: weight.to(torch.int8)}, {name: float8, scale_of(name): torch.ones(len(weight), 2)}):
        file = LTX2File(write_official(tmp_path / "x.safetensors", release, more=wrong))
        file.codecs(*CPU)
        with pytest.raises(ValueError, match=r"to_q\.weight is stored as (I8|F8_E4M3), which is quantised"):
            file.network(*CPU)


def scale_of(name):
    return name.replace("weight", "weight_scale")


@pytest.mark.parametrize("end", ["weight_scale", "scale_weight"])
def test_float8_is_read_with_its_scale(release, tmp_path, end):
    name = f"{PREFIX}transformer_blocks.0.attn1.to_q.weight"
    weight = official_tensors(release)[name]
    scale = weight.abs().max() / 448
    stored = {name: (weight / scale).to(torch.float8_e4m3fn), name.replace("weight", end): scale}
    more = {name.replace("weight", other): torch.ones(()) for other in ("input_scale", "comfy_quant")}
    file = LTX2File(write_official(tmp_path / "x.safetensors", release, more={**stored, **more}))
    found = file.network(*CPU).transformer.transformer_blocks[0].attn1.to_q.weight
    assert torch.equal(found, stored[name].float() * scale)
    torch.testing.assert_close(found, weight, atol=scale.item() * 17, rtol=0)  # the largest step of float8 is 32 units


def test_the_text_encoder_must_belong_to_the_model(both, tmp_path):
    file = both[1]
    config = json.loads((file.text_encoder / "config.json").read_text())
    config["text_config"] |= {"num_hidden_layers": 5, "layer_types": ["sliding_attention"] * 5}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"holds tokenizer_config\.json\. Download Gemma with its tokenizer"):
        LTX2File(file.path, tmp_path).text(*CPU)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"gives 6 states of width 16 for each token; .* needs 3 of width 16"):
        LTX2File(file.path, tmp_path).text(*CPU)
    with pytest.raises(ValueError, match="it is not a Gemma 3 text encoder"):
        LTX2File(file.path, file.path).text(*CPU)


def test_a_folder_takes_no_other_text_encoder(release):
    with pytest.raises(ValueError, match="--text-encoder belongs to a single file"):
        open_ltx2(release, release / "text_encoder")
