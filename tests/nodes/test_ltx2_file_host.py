"""The official LTX-2 file of the tests is one for ComfyUI too: its loaders find every tensor in it, and its VAEs, text encoder and
connectors compute what ours do with the same file."""

import io
import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file

CPU = torch.device("cpu"), torch.float32
CLOSE = {"atol": 1e-4, "rtol": 0}
LAYERS, LENGTH, REGISTERS = (
    6,
    1024,
    128,
)  # of Gemma: one with full attention; of captions and connectors: fixed in ComfyUI
CAPTION = "a yellow ball bounces in a meadow"


@pytest.fixture(scope="module", params=["2.0", "2.3"])
def files(request, comfy, tmp_path_factory):
    """An official file and a file of Gemma."""
    pytest.importorskip("diffusers")
    from comfy.ldm.lightricks.vae.audio_vae import AudioVAE
    from ltx2_official import official_config, write_official
    from ltx2_release import write_release
    from official_files import VOCODER, _random

    out = tmp_path_factory.mktemp("ltx2")
    release = write_release(out, version=request.param, registers=REGISTERS, layers=LAYERS, length=LENGTH)
    config = official_config(release) | {"vocoder": VOCODER}
    sound = _random(AudioVAE(metadata={"config": json.dumps(config)}), torch.Generator().manual_seed(0), 0.05)
    vocoder = {name: value for name, value in sound.items() if name.startswith("vocoder.")}
    path = write_official(out / "official.safetensors", release, more=vocoder, config={"vocoder": VOCODER})
    return path, write_gemma(out / "gemma.safetensors", release)


def write_gemma(path, release):
    """The language model of ``release`` and a small SentencePiece model, as ComfyUI loads Gemma."""
    import sentencepiece

    tensors = {}
    for file in (release / "text_encoder").glob("*.safetensors"):
        for name, value in load_file(file).items():
            if "language_model." in name:
                tensors[f"model.{name.split('language_model.')[1].removeprefix('model.')}"] = value
    words = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([CAPTION] * 9), model_writer=words, vocab_size=300, hard_vocab_limit=False, model_type="bpe",
        byte_fallback=True, pad_id=0, eos_id=1, bos_id=2, unk_id=3, add_dummy_prefix=False, minloglevel=2,
    )  # fmt: skip
    save_file(tensors | {"spiece_model": torch.frombuffer(bytearray(words.getvalue()), dtype=torch.uint8)}, path)
    return path


@pytest.fixture
def ours(files):
    from duet_av.pipelines.models.ltx2.file import LTX2File

    return LTX2File(*files)


@pytest.fixture
def checkpoint(files, caplog):
    """Model and VAE of ComfyUI's checkpoint loader."""
    import comfy.sd

    caplog.set_level(logging.DEBUG)
    model, _, vae, _ = comfy.sd.load_checkpoint_guess_config(str(files[0]), output_vae=True, output_clip=False)
    return model, vae


@pytest.fixture
def shrink_gemma(monkeypatch):
    """ComfyUI's Gemma with the sizes of the tests, which it fixes in code; everything else about it stays its own."""
    from comfy.text_encoders import llama

    sizes = {"vocab_size": 512, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": LAYERS}
    official = llama.Gemma3_12B_Config

    def config(**changes):
        made = official(**changes, **sizes, num_attention_heads=2, num_key_value_heads=1)
        made.head_dim = 8
        made.vision_config = {
            **official.vision_config, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
        }  # fmt: skip
        return made

    monkeypatch.setattr(llama, "Gemma3_12B_Config", config)


def test_comfyui_finds_every_tensor_and_encodes_frames_as_we_do(ours, checkpoint, caplog):
    from duet_av.pipelines.media.segments import Segment

    model, vae = checkpoint
    for trouble in ("unet missing", "unet unexpected", "Missing VAE keys", "Leftover VAE keys"):
        assert trouble not in caplog.text
    state = model.model.diffusion_model.state_dict()
    assert all(name in ours._file.shapes for name in (f"model.diffusion_model.{key}" for key in state))
    frames = torch.randint(0, 256, (17, 32, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    theirs = vae.encode(frames.float() / 255)[0].float()
    found = ours.codecs(*CPU)(Segment(0.0, frames, torch.zeros(2, 11_333))).video
    assert theirs.std() > 0.01
    torch.testing.assert_close(found, theirs, **CLOSE)


def test_comfyui_reads_float8_weights_as_we_do(ours, files, tmp_path):
    import comfy.quant_ops
    import comfy.sd
    from comfy.utils import load_torch_file

    from duet_av.pipelines.models.ltx2.file import LTX2File

    tensors, metadata = load_torch_file(str(files[0]), return_metadata=True)
    layers = [f"model.diffusion_model.transformer_blocks.{k}.attn1.to_q" for k in (0, 1)]
    for layer in layers:
        weight = tensors[f"{layer}.weight"]
        scale = weight.abs().max() / 448
        tensors |= {f"{layer}.weight": (weight / scale).to(torch.float8_e4m3fn), f"{layer}.weight_scale": scale}
    quantised = json.dumps({"layers": {layer: {"format": "float8_e4m3fn"} for layer in layers}})
    save_file(tensors, tmp_path / "fp8.safetensors", metadata=metadata | {"_quantization_metadata": quantised})
    model, *_ = comfy.sd.load_checkpoint_guess_config(
        str(tmp_path / "fp8.safetensors"), output_vae=False, output_clip=False
    )
    network = LTX2File(tmp_path / "fp8.safetensors").network(*CPU).transformer
    for theirs, found in zip(model.model.diffusion_model.transformer_blocks, network.transformer_blocks, strict=True):
        weight = theirs.attn1.to_q.weight
        assert isinstance(weight, comfy.quant_ops.QuantizedTensor)
        torch.testing.assert_close(found.attn1.to_q.weight, weight.dequantize().float(), atol=1e-6, rtol=0)


def test_comfyui_encodes_audio_as_we_do(ours, files):
    import comfy.sd
    import comfy.utils

    from duet_av.pipelines.media.segments import Segment

    tensors, metadata = comfy.utils.load_torch_file(str(files[0]), return_metadata=True)
    own = {"audio_vae.": "autoencoder.", "vocoder.": "vocoder."}  # as in its node LTXVAudioVAELoader
    vae = comfy.sd.VAE(sd=comfy.utils.state_dict_prefix_replace(tensors, own, filter_keys=True), metadata=metadata)
    waveform = torch.randn(2, 11_333, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.inference_mode():
        theirs = vae.first_stage_model.encode(waveform[None], sample_rate=16_000)[0].float()
    found = ours.codecs(*CPU)(Segment(0.0, torch.zeros(17, 32, 64, 3, dtype=torch.uint8), waveform)).audio
    assert theirs.std() > 0.01
    torch.testing.assert_close(found, theirs.transpose(1, 2).flatten(0, 1)[:, : found.shape[1]], **CLOSE)


@pytest.mark.usefixtures("shrink_gemma")
def test_comfyui_encodes_captions_as_we_do(ours, files, checkpoint):
    import comfy.sd

    clip = comfy.sd.load_clip([str(path) for path in reversed(files)], clip_type=comfy.sd.CLIPType.LTXV)
    raw = clip.encode_from_tokens(clip.tokenize(CAPTION), return_dict=True)
    with torch.inference_mode():
        theirs = checkpoint[0].model.diffusion_model.preprocess_text_embeds(raw["cond"].float(), unprocessed=True)[0]
    found = ours.text(*CPU)(CAPTION)
    together = torch.cat([found["video"], found["audio"]], dim=-1)
    assert theirs.std() > 0.01
    torch.testing.assert_close(together, theirs.float(), **CLOSE)
    assert found["mask"].all()
