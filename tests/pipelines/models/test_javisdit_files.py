"""Official checkpoint layouts, and the errors for wrong or damaged files."""

import json

import pytest
import torch
from safetensors.torch import save_file

from duet_av.pipelines.models.catalogue import identify
from duet_av.pipelines.models.javisdit.files import merge_embedded_lora, merge_separate_lora, read_checkpoint, require

W = {f"blocks.{i}.self_attn.q.weight": torch.full((4, 4), float(i)) for i in range(3)}
A, B = torch.randn(2, 4), torch.randn(4, 2)
NAMED = "blocks.1.self_attn.q"
CHANGED = W[f"{NAMED}.weight"] + 0.25 * B @ A


def write(folder, tensors, *, shards=1, suffix="safetensors"):
    folder.mkdir(parents=True, exist_ok=True)
    names, where = sorted(tensors), {}
    for k in range(shards):
        file = f"model-{k}.{suffix}"
        part = {name: tensors[name] for name in names[k::shards]}
        where |= dict.fromkeys(part, file)
        save_file(part, folder / file) if suffix == "safetensors" else torch.save(part, folder / file)
    (folder / f"model.{suffix}.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


def lora(folder):
    write(
        folder,
        {f"base_model.model.{NAMED}.lora_A.weight": A, f"base_model.model.{NAMED}.lora_B.weight": B},
        suffix="bin",
    )
    (folder / "adapter_config.json").write_text(json.dumps({"r": 64, "lora_alpha": 16}))
    return folder


def same(a, b):
    return a.keys() == b.keys() and all(torch.allclose(a[name], b[name]) for name in a)


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_of_both_formats_are_read_as_one_model(tmp_path, shards, suffix):
    assert same(read_checkpoint(write(tmp_path / "model", W, shards=shards, suffix=suffix)), W)


def test_wrapper_prefixes_are_removed_from_a_single_file(tmp_path):
    wrapped = {f"base_model.model.{name.replace('.q.', '.q.base_layer.')}": value for name, value in W.items()}
    save_file(wrapped, tmp_path / "a.safetensors")
    assert same(read_checkpoint(tmp_path / "a.safetensors"), W)


def test_a_lora_is_merged_once_whether_embedded_or_separate(tmp_path):
    inside = {f"{NAMED}.lora_A.default.weight": A, f"{NAMED}.lora_B.default.weight": B}
    expected = {**W, f"{NAMED}.weight": CHANGED}
    write(tmp_path / "both" / "model", W | inside)
    lora(tmp_path / "both" / "lora")
    write(tmp_path / "inside" / "model", W | inside)
    write(tmp_path / "beside" / "model", W)
    lora(tmp_path / "beside" / "lora")
    for name in ("both", "inside", "beside"):
        assert same(read_checkpoint(tmp_path / name), expected), name
    assert same(merge_embedded_lora(W, source=tmp_path), W)


def test_a_lora_of_another_model_or_without_its_scale_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Use the LoRA of this model"):
        merge_separate_lora({}, lora(tmp_path / "lora"))
    (tmp_path / "lora" / "adapter_config.json").unlink()
    with pytest.raises(ValueError, match=r"adapter_config\.json"):
        merge_separate_lora(W, tmp_path / "lora")


def test_errors_name_missing_shards_damaged_files_and_empty_folders(tmp_path):
    folder = write(tmp_path / "model", W, shards=2)
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model-1\.safetensors, which is missing"):
        read_checkpoint(folder)
    (folder / "model-1.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        read_checkpoint(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no weights found"):
        read_checkpoint(tmp_path / "empty")


def test_a_pickle_that_would_run_code_is_not_opened(tmp_path):
    torch.save({"a": print}, tmp_path / "a.bin")
    with pytest.raises(ValueError, match="more than tensors"):
        read_checkpoint(tmp_path / "a.bin")


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (
            [
                "va_cross_blocks.0.gamma_m1",
                "st_prior_embedder.y_proj.fc1.weight",
                "audio_temporal_blocks.0.scale_shift_table",
            ],
            "JavisDiT v0.1",
        ),
        (["audio_patch_embedding.weight", "patch_embedding.weight", "time_projection.1.weight"], "JavisDiT v1.0"),
        (["audio_patch_embedding.weight"], "JavisDiT v1.0's text-to-audio stage"),
        (["patch_embedding.weight", "time_projection.1.weight"], "Wan2.1 without audio"),
        (["spatial_query_emb"], "JavisDiT v0.1's prior"),
        (["temporal_vae.quant_conv.conv.weight"], "Open-Sora's video autoencoder v1.2"),
        (["quant_conv.weight", "decoder.conv_out.weight"], "AudioLDM2's audio autoencoder"),
        (["conv_pre.weight", "upsampler.0.weight"], "AudioLDM2's vocoder"),
        (["nothing.of.ours"], "an unknown kind of file"),
    ],
)
def test_a_file_is_identified_by_its_tensor_names(tmp_path, names, part):
    assert identify(names) == part
    tensors = dict.fromkeys(names, torch.zeros(1))
    assert require(tensors, part, source=tmp_path) is tensors
    with pytest.raises(ValueError, match=f"this is {part}; another decoder is required"):
        require(tensors, "another decoder", source=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("{}", "must be a JSON object with weight_map"),
        ('{"weight_map": {"a": "../a.safetensors"}}', "not a plain file name"),
    ],
)
def test_an_invalid_shard_index_is_refused(tmp_path, text, message):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path)
