"""Compare our JavisDiT with outputs of the reference at tiny size, with weights generated from their names.

    python tests/parity/compare.py DIR [--salt SALT]

DIR contains meta.json and one safetensors file for each part, with entries in.* and out.*. Prints the largest error of each part; the
exit code is 1 if one exceeds its tolerance.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
if "duet_av" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "duet_av", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["duet_av"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["duet_av"])

from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig  # noqa: E402

from duet_av.pipelines.core.conditions import PriorTokens  # noqa: E402
from duet_av.pipelines.core.streams import Streams  # noqa: E402
from duet_av.pipelines.guidance.sampling import euler, flow_sigmas  # noqa: E402
from duet_av.pipelines.models.javisdit.autoencoder import AutoencoderKL, KLConfig  # noqa: E402
from duet_av.pipelines.models.javisdit.opensora_vae import OpenSoraVAE, TemporalConfig  # noqa: E402
from duet_av.pipelines.models.javisdit.schedule import shift_ratio  # noqa: E402
from duet_av.pipelines.models.javisdit.v01 import JavisDiT01, V01Config  # noqa: E402
from duet_av.pipelines.models.javisdit.v10 import JavisDiT10, V10Config  # noqa: E402
from duet_av.pipelines.models.prior.estimator import UNUSED_KEYS, PriorConfig, PriorEstimator  # noqa: E402

TOLERANCE = {"prior": 1e-3}
USUAL = 2e-5
ONE_MORE = (
    "norm.weight",
    "norm1.weight",
    "norm2.weight",
    "norm3.weight",
    "q_norm.weight",
    "k_norm.weight",
    "norm_q.weight",
    "norm_k.weight",
    "norm_1.weight",
    "norm_2.weight",
    "group_norm.weight",
    "conv_norm_out.weight",
)
COMPUTED = ("rope.freqs", "modality_preprocessors.text.mask")
CONSTANTS = ("scale", "shift")  # of the video autoencoder; the fixtures use the default values
Tensors = dict[str, Tensor]


def draw(salt: str, name: str, shape: list[int], *, most: float = 0.08) -> Tensor:
    """The fixtures' rule: a random weight seeded by its name and scaled by the length of its output rows."""
    rng = np.random.default_rng(zlib.crc32(f"{salt}/{name}".encode()))
    value = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    row = value.numel() // shape[0] if len(shape) > 1 else 0
    scaled = value * (most if len(shape) < 2 else min(most, row**-0.5))
    return scaled + 1 if name.endswith(ONE_MORE) else scaled


def weights(salt: str, keys: dict[str, list[int]]) -> Tensors:
    """All weights of a part. The audio codec's two files use the names inside each file; the vocoder's weights are larger."""

    def value(name: str, shape: list[int]) -> Tensor:
        file, _, rest = name.partition(".")
        own = rest if file in ("vae", "vocoder") else name
        return draw(salt, own, shape, most=0.3 if file == "vocoder" else 0.08)

    drawn = {name: value(name, shape) for name, shape in keys.items() if not name.endswith(COMPUTED)}
    shared = "y_embedder.y_embedding"
    return drawn | ({f"audio_{shared}": drawn[shared]} if shared in drawn else {})


def filled(module: nn.Module, tensors: Tensors) -> nn.Module:
    """``module`` with ``tensors`` loaded; only tensors that the module computes itself may be missing."""
    missing, unexpected = module.load_state_dict(tensors, strict=False)
    wrong = [name for name in missing if not name.endswith(COMPUTED) and name not in CONSTANTS] + list(unexpected)
    if wrong:
        raise SystemExit(f"{type(module).__name__}: {len(wrong)} names do not match, e.g. {wrong[:5]}")
    return module.eval()


def v01(config: dict[str, Any], tensors: Tensors) -> JavisDiT01:
    names = {"depth", "hidden_size", "num_heads", "in_channels", "caption_channels", "model_max_length"}
    names |= {"spatial_prior_len", "temporal_prior_len", "st_prior_channel"}
    own = {name: value for name, value in config.items() if name in names}
    channels = tensors["ax_embedder.proj.weight"].shape[1]
    network = JavisDiT01(V01Config(**own, audio_channels=channels, audio_patch=config["audio_patch_size"][0]))
    return filled(network, tensors)  # pyright: ignore[reportReturnType] - the same module


def arguments(inputs: Tensors) -> dict[str, Any]:
    return {"size": (inputs["height"][0].item(), inputs["width"][0].item()), "fps": inputs["fps"][0].item()}


def run_v01(part: dict[str, Any], tensors: Tensors, inputs: Tensors) -> Tensors:
    x = Streams(inputs["x.video"], inputs["x.audio"])
    mask = inputs["mask"].bool().expand(len(x.video), -1)
    noisy = Streams(inputs["x_mask"].bool(), inputs["ax_mask"].bool()) if "x_mask" in inputs else None
    prior = PriorTokens(inputs["spatial_prior"], inputs["temporal_prior"])
    network = v01(part["config"], tensors)
    out = network(x, inputs["timestep"], inputs["y"][:, 0], mask, prior, noisy=noisy, **arguments(inputs))
    return {"video": out.video, "audio": out.audio}


def v10(config: dict[str, Any], tensors: Tensors) -> JavisDiT10:
    names = ("dim", "ffn_dim", "num_layers", "num_heads", "freq_dim", "text_dim", "text_len", "in_dim", "audio_in_dim")
    network = JavisDiT10(V10Config(**{name: config[name] for name in names}))
    return filled(network, tensors)  # pyright: ignore[reportReturnType]


def run_v10(part: dict[str, Any], tensors: Tensors, inputs: Tensors) -> Tensors:
    x = Streams(inputs["x.video"], inputs["x.audio"])
    out = v10(part["config"], tensors)(x, inputs["t"], inputs["y"], inputs["mask"].bool())
    return {"video": out.video, "audio": out.audio}


def run_prior(part: dict[str, Any], tensors: Tensors, inputs: Tensors) -> Tensors:
    tower = "text_encoder.modality_trunks.text.blocks."
    blocks = {name[len(tower) :].split(".")[0] for name in tensors if name.startswith(tower)}
    width = tensors["in_proj.weight"].shape[1]
    heads = part["config"].get("text_heads", 4)  # cannot be read from the tensors
    names = ("spatial_token_num", "temporal_token_num", "out_dim", "hidden_size")
    sizes = {name: part["config"][name] for name in names}
    config = PriorConfig(**sizes, text_width=width, text_heads=heads, text_layers=len(blocks))
    used = {name: value for name, value in tensors.items() if not name.startswith(UNUSED_KEYS)}
    estimator = filled(PriorEstimator(config), used)
    mean, log_variance = estimator.moments(inputs["ids"])
    prior = estimator.sample(inputs["ids"], seed=part["scalars"]["seed"]).tokens
    hidden = estimator.text_encoder(inputs["ids"])
    return {
        "moments": torch.cat([mean, log_variance], dim=-1),
        "text_hidden": hidden,
        "spatial_prior": prior.spatial,
        "temporal_prior": prior.temporal,
    }


def run_rflow_v01(part: dict[str, Any], tensors: Tensors, inputs: Tensors) -> Tensors:
    network, args = (
        v01(part["config"], tensors),
        arguments({k[5:]: v for k, v in inputs.items() if k.startswith("args.")}),
    )
    null, mask = network.null_prior(), inputs["mask"].bool().expand(2, -1)
    prior = PriorTokens(
        *(
            torch.cat(pair)
            for pair in ((inputs["spatial_prior"], null.spatial), (inputs["temporal_prior"], null.temporal))
        )
    )
    text = torch.cat([inputs["y"][:, 0], network.y_embedder.y_embedding[None]])

    def velocity(z: Streams[Tensor], level: Tensor) -> Streams[Tensor]:
        both = network(z.map(lambda a: torch.cat([a, a])), level.expand(2), text, mask, prior, **args)
        return both.map(lambda v: v[1:] + part["sched"]["cfg_scale"] * (v[:1] - v[1:]))

    return sampled(part, inputs, velocity)


def run_rflow_v10(part: dict[str, Any], tensors: Tensors, inputs: Tensors) -> Tensors:
    network = v10(part["config"], tensors)
    text, mask = torch.cat([inputs["y"], inputs["y_neg"]]), torch.cat([inputs["mask"], inputs["mask_neg"]]).bool()

    def velocity(z: Streams[Tensor], level: Tensor) -> Streams[Tensor]:
        both = network(z.map(lambda a: torch.cat([a, a])), level.expand(2), text, mask)
        return both.map(lambda v: v[1:] + part["sched"]["cfg_scale"] * (v[:1] - v[1:]))

    return sampled(part, inputs, velocity)


def kl(config: dict[str, Any]) -> KLConfig:
    names = ("in_channels", "out_channels", "latent_channels", "layers_per_block", "norm_num_groups")
    return KLConfig(**{n: config[n] for n in names}, block_out_channels=tuple(config["block_out_channels"]))


def run_audio_codec(part: dict[str, Any], tensors: Tensors, inputs: Tensors) -> Tensors:
    of = lambda prefix: {n[len(prefix) :]: v for n, v in tensors.items() if n.startswith(prefix)}  # noqa: E731
    vae = filled(AutoencoderKL(kl(part["config"]["vae"])), of("vae."))
    vocoder = filled(SpeechT5HifiGan(SpeechT5HifiGanConfig(**part["config"]["vocoder"])), of("vocoder."))
    return {
        "mel": vae.decode(inputs["latent"]),
        "mean": vae.moments(inputs["mel"])[0],
        "wave": vocoder(inputs["voc_mel"]),
    }


def run_opensora_vae(part: dict[str, Any], tensors: Tensors, inputs: Tensors) -> Tensors:
    own, config = part["config"]["temporal"], part["config"]
    temporal = TemporalConfig(
        channels=own["in_out_channels"],
        latent_channels=own["embed_dim"],
        filters=own["filters"],
        num_res_blocks=own["num_res_blocks"],
        channel_multipliers=tuple(own["channel_multipliers"]),
        temporal_downsample=tuple(own["temporal_downsample"]),
        num_groups=own["num_groups"],
    )
    vae = filled(OpenSoraVAE(temporal, kl(config["spatial"])), tensors)
    frames = {f"frames{n}": vae.decode(inputs[f"latent{n}"], frames=n) for n in (22, 17, 1)}
    return {**frames, "temporal_mean": vae.temporal_vae.moments(inputs["temporal"])[0]}


def sampled(part: dict[str, Any], inputs: Tensors, velocity: Callable[..., Streams[Tensor]]) -> Tensors:
    size = (int(inputs[f"args.{name}"].item()) for name in ("height", "width", "num_frames"))
    sigmas = flow_sigmas(part["sched"]["num_sampling_steps"], shift=shift_ratio(*size, dtype=torch.float32))

    def denoise(z: Streams[Tensor], sigma: float) -> Streams[Tensor]:
        return z.map(lambda a, v: a + v.float() * sigma, velocity(z, torch.tensor([1000 * sigma])))

    return vars(euler(denoise, Streams(inputs["z.video"], inputs["z.audio"]), sigmas))


PARTS: dict[str, Callable[[dict[str, Any], Tensors, Tensors], Tensors]] = {
    "v01_dit": run_v01,
    "v01_dit_masked": run_v01,
    "v10_dit": run_v10,
    "prior": run_prior,
    "rflow_v01": run_rflow_v01,
    "rflow_v10": run_rflow_v10,
    "audio_codec": run_audio_codec,
    "opensora_vae": run_opensora_vae,
}


def error(out: Tensors, expected: Tensors) -> float:
    """The largest absolute difference; of doubled channels only the first half is compared."""
    assert set(out) == set(expected), f"{set(out)} are not {set(expected)}"
    gaps = []
    for name, value in out.items():
        target = expected[name]
        target = target[:, : value.shape[1]] if target.shape != value.shape else target
        gaps.append((value.float() - target).abs().max().item())
    return max(gaps)


@torch.inference_mode()
def compare(folder: Path, salt: str) -> dict[str, float]:
    """The largest error of each part in ``folder``."""
    meta, found = json.loads((folder / "meta.json").read_text()), {}
    for name, part in meta.items():
        tensors_of_part = load_file(folder / f"{name}.safetensors")
        inputs = {key[3:]: value for key, value in tensors_of_part.items() if key.startswith("in.")}
        expected = {key[4:]: value for key, value in tensors_of_part.items() if key.startswith("out.")}
        tensors = weights(salt, part["keys"])
        found[name] = error(PARTS[name](part, tensors, inputs), expected)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--salt", default="public")
    options = parser.parse_args()
    found = compare(options.folder, options.salt)
    for name, value in found.items():
        limit = TOLERANCE.get(name, USUAL)
        print(f"{name:16} {value:.2e} (at most {limit:g}) {'ok' if value <= limit else 'TOO LARGE'}")
    return int(any(value > TOLERANCE.get(name, USUAL) for name, value in found.items()))


if __name__ == "__main__":
    sys.exit(main())
