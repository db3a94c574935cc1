"""Tiny JavisDiT models with random weights in the layouts of the official downloads, for the host's models folder."""

import json

import torch
from safetensors.torch import save_file
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from duet_av.pipelines.models.javisdit.autoencoder import AutoencoderKL, KLConfig
from duet_av.pipelines.models.javisdit.opensora_vae import OpenSoraVAE, TemporalConfig
from duet_av.pipelines.models.javisdit.prior_heads import HeadsConfig, PriorHeads
from duet_av.pipelines.models.javisdit.v01 import JavisDiT01, V01Config
from duet_av.pipelines.models.javisdit.v10 import JavisDiT10, V10Config
from duet_av.pipelines.models.prior.estimator import PriorConfig, PriorEstimator

TEXT = 64  # width of the text encoders
V01 = V01Config(
    hidden_size=32,
    depth=2,
    num_heads=4,
    caption_channels=TEXT,
    spatial_prior_len=4,
    temporal_prior_len=4,
    st_prior_channel=8,
)
V10 = V10Config(dim=128, ffn_dim=64, num_layers=2, num_heads=1, freq_dim=32, text_dim=TEXT)
PRIOR = PriorConfig(4, 4, 8, hidden_size=128, heads=1, layers=1, text_width=64, text_heads=1, text_layers=1)
HEADS = HeadsConfig(4, 4, channels=8, heads=2)
VOCODER = {
    "model_in_dim": 64,
    "upsample_initial_channel": 32,
    "upsample_rates": [5, 4, 2, 2, 2],
    "upsample_kernel_sizes": [16, 16, 8, 4, 4],
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3, 5]],
    "normalize_before": False,
}
LORA_TARGET = "blocks.0.self_attn.q"


def drawn(shapes, seed=0, spread=0.08):
    """Weights around zero, norms around one."""
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, shape in sorted(shapes.items()):
        value = spread * torch.randn(shape, generator=generator)
        # one-dimensional weights are norms', and a 'gamma' of the Wan codec too
        out[name] = (
            value + 1
            if name.endswith(("norm.weight", "gamma")) or (name.endswith("weight") and len(shape) == 1)
            else value
        )
    return out


def weights(module, seed=0):
    shapes = {name: list(value.shape) for name, value in module.state_dict().items()}
    kept = {
        name: value
        for name, value in module.state_dict().items()
        if name.endswith((".mask", "freqs")) or name in ("scale", "shift")
    }
    return drawn(shapes, seed) | kept


def write(folder, tensors, *, shards=1, name="model"):
    """Safetensors in ``shards`` with their index, as Hugging Face saves them."""
    folder.mkdir(parents=True)
    names, where = sorted(tensors), {}
    for k in range(shards):
        file = f"{name}.safetensors" if shards == 1 else f"{name}-{k + 1:05}-of-{shards:05}.safetensors"
        held = {key: tensors[key].contiguous() for key in names[k::shards]}
        where |= dict.fromkeys(held, file)
        save_file(held, folder / file)
    if shards > 1:
        (folder / f"{name}.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def t5(*, unified):
    """The encoder under the names that the host reads; UMT5 (``unified`` False) has position biases in every block."""
    heads, width, hidden = 4, TEXT, 64
    shapes = {"shared.weight": [32128, width], "encoder.final_layer_norm.weight": [width]}
    for i in range(2):
        block = f"encoder.block.{i}.layer"
        shapes |= {f"{block}.0.SelfAttention.{n}.weight": [width, width] for n in "qkvo"}
        shapes |= {f"{block}.{n}.layer_norm.weight": [width] for n in (0, 1)}
        shapes |= {f"{block}.1.DenseReluDense.{n}.weight": [hidden, width] for n in ("wi_0", "wi_1")}
        shapes[f"{block}.1.DenseReluDense.wo.weight"] = [width, hidden]
        if i == 0 or not unified:
            shapes[f"{block}.0.SelfAttention.relative_attention_bias.weight"] = [32, heads]
    return drawn(shapes)


def sentence_pieces(folder):
    """A vocabulary for UMT5, which the host expects inside its file."""
    import sentencepiece

    text = folder / "words.txt"
    text.write_text("a ball bounces and a bell rings on the left\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "words"),
        vocab_size=22,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return torch.frombuffer(bytearray((folder / "words.model").read_bytes()), dtype=torch.uint8)


def wan_vae():
    from comfy.ldm.wan.vae import WanVAE

    sizes = {"dim": 8, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_scales": []}
    return weights(WanVAE(**sizes, temperal_downsample=[False, True, True], dropout=0.0), 5)


def audioldm2(folder):
    config = {
        "in_channels": 1,
        "out_channels": 1,
        "latent_channels": 8,
        "block_out_channels": (32, 32, 32),
        "layers_per_block": 1,
    }
    write(folder / "vae", weights(AutoencoderKL(KLConfig(**config)), 3), name="diffusion_pytorch_model")
    (folder / "vae" / "config.json").write_text(json.dumps({"scaling_factor": 0.4110932946205139}))
    write(folder / "vocoder", weights(SpeechT5HifiGan(SpeechT5HifiGanConfig(**VOCODER)), 4))
    (folder / "vocoder" / "config.json").write_text(json.dumps(VOCODER))


def lora(rank=4):
    generator = torch.Generator().manual_seed(9)
    down, up = (0.3 * torch.randn(shape, generator=generator) for shape in ((rank, V10.dim), (V10.dim, rank)))
    return {f"base_model.model.{LORA_TARGET}.lora_A.weight": down, f"base_model.model.{LORA_TARGET}.lora_B.weight": up}


def write_models(models, scratch):
    """Everything both workflows need, under the host's ``models`` folder."""
    networks, texts, vaes = (models / name for name in ("diffusion_models", "text_encoders", "vae"))
    for folder in (networks, texts, vaes):
        folder.mkdir(parents=True, exist_ok=True)
    first = JavisDiT01(V01)
    write(networks / "JavisDiT-v0.1-jav-240p4s", weights(first, 1), shards=2)
    write(networks / "JavisDiT-v0.1-prior", weights(PriorEstimator(PRIOR), 2))
    second = networks / "JavisDiT-v1.0-jav"
    write(second / "model", weights(JavisDiT10(V10), 6), shards=2)
    (second / "lora").mkdir()
    torch.save(lora(), second / "lora" / "adapter_model.bin")
    (second / "lora" / "adapter_config.json").write_text(json.dumps({"r": 64, "lora_alpha": 16}))
    save_file(t5(unified=True), texts / "t5xxl.safetensors")
    save_file({**t5(unified=False), "spiece_model": sentence_pieces(scratch)}, texts / "umt5_xxl.safetensors")
    spatial = KLConfig(3, 3, 4, (32, 32, 32, 32), 1)
    temporal = TemporalConfig(filters=32, num_res_blocks=1, channel_multipliers=(1, 1, 1, 1))
    write(vaes / "OpenSora-VAE-v1.2", weights(OpenSoraVAE(temporal, spatial), 7))
    save_file(wan_vae(), vaes / "wan_2.1_vae.safetensors")
    audioldm2(vaes / "audioldm2")


def write_folder01(out):
    """JavisDiT v0.1 with its encoders, as ``duet data --model javisdit-v0.1`` reads them; the prior has its training heads."""
    from ltx2_release import byte_tokenizer
    from transformers import T5Config, T5EncoderModel

    write(out / "transformer", weights(JavisDiT01(V01), 1), shards=2)
    write(out / "prior", weights(PriorEstimator(PRIOR), 2) | weights(PriorHeads(HEADS), 8))
    spatial = KLConfig(3, 3, 4, (32, 32, 32, 32), 1)
    temporal = TemporalConfig(filters=32, num_res_blocks=1, channel_multipliers=(1, 1, 1, 1))
    write(out / "vae", weights(OpenSoraVAE(temporal, spatial), 7))
    audioldm2(out / "audioldm2")
    sizes = {"d_model": TEXT, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 264}
    T5EncoderModel(T5Config(**sizes, feed_forward_proj="gated-gelu")).save_pretrained(out / "text_encoder")
    for name, length in (("tokenizer", 300), ("prior_tokenizer", 77)):
        byte_tokenizer(length).save_pretrained(out / name)
    return out


def write_folder10(out):
    """JavisDiT v1.0 with its encoders, as ``duet data --model javisdit-v1.0`` reads them."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
    from ltx2_release import byte_tokenizer
    from transformers import UMT5Config, UMT5EncoderModel

    write(out / "transformer" / "model", weights(JavisDiT10(V10), 6), shards=2)
    audioldm2(out / "audioldm2")
    wan = AutoencoderKLWan(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    wan.load_state_dict(weights(wan, 5))
    wan.save_pretrained(out / "vae")
    sizes = {"d_model": TEXT, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 264}
    UMT5EncoderModel(UMT5Config(**sizes)).save_pretrained(out / "text_encoder")
    byte_tokenizer(512).save_pretrained(out / "tokenizer")
    return out
