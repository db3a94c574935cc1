"""A tiny LTX-2 with random weights in diffusers' layout, and small clips of many kinds made by ffmpeg or PyAV."""

import json
from fractions import Fraction

import av
import numpy as np
import torch

TEXT_WIDTH, TEXT_LAYERS, TEXT_LENGTH = 16, 2, 32
STRIDES = (8, 32)
TRANSFORMER = {
    "in_channels": 128,
    "out_channels": 128,
    "num_attention_heads": 2,
    "attention_head_dim": 32,
    "cross_attention_dim": 64,
    "audio_in_channels": 128,
    "audio_out_channels": 128,
    "audio_num_attention_heads": 2,
    "audio_attention_head_dim": 16,
    "audio_cross_attention_dim": 32,
    "num_layers": 2,
    "caption_channels": TEXT_WIDTH,
    "rope_type": "split",
}
VIDEO_VAE = {
    "latent_channels": 128,
    "block_out_channels": (128, 128, 128, 128),
    "layers_per_block": (0, 0, 0, 0, 1),
    "decoder_block_out_channels": (8, 16, 32),
    "decoder_layers_per_block": (1, 1, 1, 1),
}
AUDIO_VAE = {"base_channels": 128, "ch_mult": (1, 1, 1), "num_res_blocks": 1}
SINCE_2_3 = {"use_prompt_embeddings": False} | dict.fromkeys(
    ("gated_attn", "audio_gated_attn", "cross_attn_mod", "audio_cross_attn_mod"), True
)


def _shaken(module, scale=0.08):
    """``module`` with random values in every parameter, so that no path is closed by an initial zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return module.eval()


def write_release(out, *, transformer=None, version="2.0", registers=8, layers=TEXT_LAYERS, length=TEXT_LENGTH):
    """Write the parts; ``transformer`` replaces the random one. ``layers``: of Gemma; ``length``: tokens of a caption."""
    from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video
    from diffusers.models.transformers.transformer_ltx2 import LTX2VideoTransformer3DModel
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    streams = ("video_connector", "audio_connector")
    later = version >= "2.3"
    widths = [TRANSFORMER[f"{stream}cross_attention_dim"] if later else TEXT_WIDTH for stream in ("", "audio_")]
    connectors = LTX2TextConnectors(
        caption_channels=TEXT_WIDTH,
        text_proj_in_factor=layers + 1,
        rope_type="split",
        **{f"{stream}_num_attention_heads": 2 for stream in streams},
        **{f"{stream}_attention_head_dim": width // 2 for stream, width in zip(streams, widths, strict=True)},
        **{f"{stream}_num_layers": 1 for stream in streams},
        **{f"{stream}_num_learnable_registers": registers for stream in streams},
        **{f"{stream}_gated_attn": later for stream in ("video", "audio")},
        per_modality_projections=later,
        proj_bias=later,
        video_hidden_dim=widths[0],
        audio_hidden_dim=widths[1],
    )
    text = {"hidden_size": TEXT_WIDTH, "intermediate_size": 32, "num_hidden_layers": layers, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 512, "sliding_window": 64}
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    size = {"image_size": 28, "patch_size": 14}
    gemma = Gemma3Config(text_config={**text, **heads}, vision_config={**vision, **size}, mm_tokens_per_image=4)
    video = AutoencoderKLLTX2Video(
        **VIDEO_VAE, temporal_compression_ratio=STRIDES[0], spatial_compression_ratio=STRIDES[1]
    )
    video.latents_mean += 0.1
    video.latents_std *= 2
    _shaken(video).save_pretrained(out / "vae")
    _shaken(AutoencoderKLLTX2Audio(**AUDIO_VAE)).save_pretrained(out / "audio_vae")
    _shaken(connectors, 0.3).save_pretrained(out / "connectors")
    _shaken(Gemma3ForConditionalGeneration(gemma), 0.2).save_pretrained(out / "text_encoder")
    transformer = transformer or _shaken(LTX2VideoTransformer3DModel(**TRANSFORMER, **(SINCE_2_3 if later else {})))
    transformer.save_pretrained(out / "transformer")
    byte_tokenizer(length).save_pretrained(out / "tokenizer")
    return out


def byte_tokenizer(length):
    """A tokenizer whose tokens are bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate([*letters, "<pad>", "<eos>"])}, merges=[]))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", model_max_length=length
    )


def write_clip(path, *, times=None, frames=40, fps=24, size=(96, 64), layout="stereo", rate=48_000, colours=(40,)):
    """A clip of a moving white square on grey, with a tone. times: seconds of each frame, for variable rates. layout: ``None`` writes no
    audio. colours: greys of the background in equal parts of the clip, with cuts between them."""
    times = np.arange(frames) / fps if times is None else np.asarray(times)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=fps)
        picture.width, picture.height, picture.pix_fmt = *size, "yuv420p"
        picture.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=rate, layout=layout) if layout else None
        for number, time in enumerate(times):
            pixels = np.full((size[1], size[0], 3), colours[number * len(colours) // len(times)], np.uint8)
            left = 2 * number % (size[0] - 16)
            pixels[8:24, left : left + 16] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if sound:
            count = round((times[-1] + 1 / fps) * rate)
            wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(count) / rate)
            channels = len(av.AudioLayout(layout).channels)
            for start in range(0, count, 1024):
                part = np.repeat(wave[start : start + 1024], channels)[None].astype(np.float32)
                frame = av.AudioFrame.from_ndarray(part, format="flt", layout=layout)
                frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return path


def write_clips(folder):
    """Six clips of all kinds with captions, a damaged one and one without a caption."""
    folder.mkdir(parents=True, exist_ok=True)
    gaps = np.tile([0.02, 0.06, 0.04, 0.05], 12).cumsum()
    write_clip(folder / "varying.mkv", times=gaps)
    write_clip(folder / "mute.mp4", layout=None)
    write_clip(folder / "mono.mkv", layout="mono", rate=22_050, fps=30, frames=60)
    write_clip(folder / "surround.mkv", layout="7.1", frames=30)
    write_clip(folder / "portrait.mp4", size=(64, 96), frames=30)
    write_clip(folder / "short.mp4", frames=5)
    whole = write_clip(folder / "damaged.mp4").read_bytes()
    (folder / "damaged.mp4").write_bytes(whole[: len(whole) // 3])
    write_clip(folder / "uncaptioned.mp4", frames=10)
    (folder / "varying.txt").write_text("a square moves unevenly")
    (folder / "mono.json").write_text(json.dumps({"caption": "a square and a tone"}))
    (folder / "clips.csv").write_text(
        'path,text\nsurround.mkv,"a square, a tone"\nmute.mp4,a silent square\ngone.mp4,x\n'
    )
    rows = [{"media_path": f"{name}.mp4", "caption": "a square"} for name in ("portrait", "short", "damaged")]
    (folder / "dataset.json").write_text(json.dumps(rows))
    return folder


def one_clip(folder, caption="a square"):
    """A folder with one clip of 40 frames and its caption."""
    write_clip(folder / "a.mkv", frames=40)
    (folder / "a.txt").write_text(caption)
    return folder
