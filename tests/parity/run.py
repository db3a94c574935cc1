"""Our JavisDiT against outputs of the reference at tiny size, with weights drawn from their names.

    python tests/parity/run.py DIR [--salt SALT]

DIR holds meta.json and one safetensors file for each part (``in.*``, ``out.*``). Prints the largest error of each part and
ends with 1 if one is above its tolerance.
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
AS_BUILT = ("rope.freqs", "modality_preprocessors.text.mask")
CONSTANTS = ("scale", "shift")  # of the video autoencoder; the fixtures keep the usual ones
Tensors = dict[str, Tensor]


def draw(salt: str, name: str, shape: list[int], *, most: float = 0.08) -> Tensor:
    """The fixtures' rule: a weight from its name, scaled by the size of one of its output rows."""
    rng = np.random.default_rng(zlib.crc32(f"{salt}/{name}".encode()))
    value = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    row = value.numel() // shape[0] if len(shape) > 1 else 0
    scaled = value * (most if len(shape) < 2 else min(most, row**-0.5))
    return scaled + 1 if name.endswith(ONE_MORE) else scaled


def weights(salt: str, keys: dict[str, list[int]]) -> Tensors:
    """Every drawn weight of a part. The audio codec's two files are drawn each by its own names, the vocoder's larger."""

    def value(name: str, shape: list[int]) -> Tensor:
        file, _, rest = name.partition(".")
        own = rest if file in ("vae", "vocoder") else name
        return draw(salt, own, shape, most=0.3 if file == "vocoder" else 0.08)

    drawn = {name: value(name, shape) for name, shape in keys.items() if not name.endswith(AS_BUILT)}
    shared = "y_embedder.y_embedding"
    return drawn | ({f"audio_{shared}": drawn[shared]} if shared in drawn else {})


def filled(module: nn.Module, tensors: Tensors) -> nn.Module:
    """``module`` with ``tensors`` in it; only what is left as built may be missing."""
    missing, unexpected = module.load_state_dict(tensors, strict=False)
    wrong = [name for name in missing if not name.endswith(AS_BUILT) and name not in CONSTANTS] + list(unexpected)
    if wrong:
        raise SystemExit(f"{type(module).__name__}: {len(wrong)} names do not agree, e.g. {wrong[:5]}")
    return module.eval()


def v01(config: dict[str, Any], tensors: Tensors) -> JavisDiT01:
    names = {"depth", "hidden_size", "num_heads", "in_channels", "caption_channels", "model_max_length"}
    names |= {"spatial_prior_len", "temporal_prior_len", "st_prior_channel"}
    own = {name: value for name, value in config.items() if name in names}
    channels = tensors["ax_embedder.proj.weight"].shape[1]
    made = JavisDiT01(V01Config(**own, audio_channels=channels, audio_patch=config["audio_patch_size"][0]))
    return filled(made, tensors)  # pyright: ignore[reportReturnType] - the module that went in


def arguments(given: Tensors) -> dict[str, Any]:
    return {"size": (given["height"][0].item(), given["width"][0].item()), "fps": given["fps"][0].item()}


def run_v01(part: dict[str, Any], tensors: Tensors, given: Tensors) -> Tensors:
    x = Streams(given["x.video"], given["x.audio"])
    mask = given["mask"].bool().expand(len(x.video), -1)
    noisy = Streams(given["x_mask"].bool(), given["ax_mask"].bool()) if "x_mask" in given else None
    prior = PriorTokens(given["spatial_prior"], given["temporal_prior"])
    network = v01(part["config"], tensors)
    out = network(x, given["timestep"], given["y"][:, 0], mask, prior, noisy=noisy, **arguments(given))
    return {"video": out.video, "audio": out.audio}


def v10(config: dict[str, Any], tensors: Tensors) -> JavisDiT10:
    names = ("dim", "ffn_dim", "num_layers", "num_heads", "freq_dim", "text_dim", "text_len", "in_dim", "audio_in_dim")
    made = JavisDiT10(V10Config(**{name: config[name] for name in names}))
    return filled(made, tensors)  # pyright: ignore[reportReturnType]


def run_v10(part: dict[str, Any], tensors: Tensors, given: Tensors) -> Tensors:
    x = Streams(given["x.video"], given["x.audio"])
    out = v10(part["config"], tensors)(x, given["t"], given["y"], given["mask"].bool())
    return {"video": out.video, "audio": out.audio}


def run_prior(part: dict[str, Any], tensors: Tensors, given: Tensors) -> Tensors:
    tower = "text_encoder.modality_trunks.text.blocks."
    blocks = {name[len(tower) :].split(".")[0] for name in tensors if name.startswith(tower)}
    width, heads = tensors["in_proj.weight"].shape[1], part["config"].get("text_heads", 4)  # no key tells how many
    names = ("spatial_token_num", "temporal_token_num", "out_dim", "hidden_size")
    sizes = {name: part["config"][name] for name in names}
    config = PriorConfig(**sizes, text_width=width, text_heads=heads, text_layers=len(blocks))
    used = {name: value for name, value in tensors.items() if not name.startswith(UNUSED_KEYS)}
    estimator = filled(PriorEstimator(config), used)
    mean, log_variance = estimator.moments(given["ids"])
    prior = estimator.sample(given["ids"], seed=part["scalars"]["seed"]).tokens
    hidden = estimator.text_encoder(given["ids"])
    return {
        "moments": torch.cat([mean, log_variance], dim=-1),
        "text_hidden": hidden,
        "spatial_prior": prior.spatial,
        "temporal_prior": prior.temporal,
    }


def run_rflow_v01(part: dict[str, Any], tensors: Tensors, given: Tensors) -> Tensors:
    network, args = (
        v01(part["config"], tensors),
        arguments({k[5:]: v for k, v in given.items() if k.startswith("args.")}),
    )
    null, mask = network.null_prior(), given["mask"].bool().expand(2, -1)
    prior = PriorTokens(
        *(
            torch.cat(pair)
            for pair in ((given["spatial_prior"], null.spatial), (given["temporal_prior"], null.temporal))
        )
    )
    text = torch.cat([given["y"][:, 0], network.y_embedder.y_embedding[None]])

    def velocity(z: Streams[Tensor], level: Tensor) -> Streams[Tensor]:
        both = network(z.map(lambda a: torch.cat([a, a])), level.expand(2), text, mask, prior, **args)
        return both.map(lambda v: v[1:] + part["sched"]["cfg_scale"] * (v[:1] - v[1:]))

    return sampled(part, given, velocity)


def run_rflow_v10(part: dict[str, Any], tensors: Tensors, given: Tensors) -> Tensors:
    network = v10(part["config"], tensors)
    text, mask = torch.cat([given["y"], given["y_neg"]]), torch.cat([given["mask"], given["mask_neg"]]).bool()

    def velocity(z: Streams[Tensor], level: Tensor) -> Streams[Tensor]:
        both = network(z.map(lambda a: torch.cat([a, a])), level.expand(2), text, mask)
        return both.map(lambda v: v[1:] + part["sched"]["cfg_scale"] * (v[:1] - v[1:]))

    return sampled(part, given, velocity)


def kl(config: dict[str, Any]) -> KLConfig:
    names = ("in_channels", "out_channels", "latent_channels", "layers_per_block", "norm_num_groups")
    return KLConfig(**{n: config[n] for n in names}, block_out_channels=tuple(config["block_out_channels"]))


def run_audio_codec(part: dict[str, Any], tensors: Tensors, given: Tensors) -> Tensors:
    of = lambda prefix: {n[len(prefix) :]: v for n, v in tensors.items() if n.startswith(prefix)}  # noqa: E731
    vae = filled(AutoencoderKL(kl(part["config"]["vae"])), of("vae."))
    vocoder = filled(SpeechT5HifiGan(SpeechT5HifiGanConfig(**part["config"]["vocoder"])), of("vocoder."))
    return {"mel": vae.decode(given["latent"]), "mean": vae.moments(given["mel"])[0], "wave": vocoder(given["voc_mel"])}


def run_opensora_vae(part: dict[str, Any], tensors: Tensors, given: Tensors) -> Tensors:
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
    frames = {f"frames{n}": vae.decode(given[f"latent{n}"], frames=n) for n in (22, 17, 1)}
    return {**frames, "temporal_mean": vae.temporal_vae.moments(given["temporal"])[0]}


def sampled(part: dict[str, Any], given: Tensors, velocity: Callable[..., Streams[Tensor]]) -> Tensors:
    size = (int(given[f"args.{name}"].item()) for name in ("height", "width", "num_frames"))
    sigmas = flow_sigmas(part["sched"]["num_sampling_steps"], shift=shift_ratio(*size, dtype=torch.float32))

    def denoise(z: Streams[Tensor], sigma: float) -> Streams[Tensor]:
        return z.map(lambda a, v: a + v.float() * sigma, velocity(z, torch.tensor([1000 * sigma])))

    return vars(euler(denoise, Streams(given["z.video"], given["z.audio"]), sigmas))


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
    """The largest absolute difference; of doubled channels only the first half is ours."""
    assert set(out) == set(expected), f"{set(out)} are not {set(expected)}"
    gaps = []
    for name, value in out.items():
        want = expected[name]
        want = want[:, : value.shape[1]] if want.shape != value.shape else want
        gaps.append((value.float() - want).abs().max().item())
    return max(gaps)


@torch.inference_mode()
def compare(folder: Path, salt: str) -> dict[str, float]:
    """The largest error of each part that ``folder`` holds."""
    meta, found = json.loads((folder / "meta.json").read_text()), {}
    for name, part in meta.items():
        held = load_file(folder / f"{name}.safetensors")
        given = {key[3:]: value for key, value in held.items() if key.startswith("in.")}
        expected = {key[4:]: value for key, value in held.items() if key.startswith("out.")}
        tensors = weights(salt, part["keys"])
        found[name] = error(PARTS[name](part, tensors, given), expected)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--salt", default="public")
    given = parser.parse_args()
    found = compare(given.folder, given.salt)
    for name, value in found.items():
        limit = TOLERANCE.get(name, USUAL)
        print(f"{name:16} {value:.2e} (at most {limit:g}) {'ok' if value <= limit else 'TOO LARGE'}")
    return int(any(value > TOLERANCE.get(name, USUAL) for name, value in found.items()))


if __name__ == "__main__":
    sys.exit(main())
