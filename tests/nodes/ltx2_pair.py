"""Pocket LTX-2 with random weights, in the host and on the command line."""

from types import SimpleNamespace

import torch

from duet_av.pipelines.models.ltx2 import pocket_config
from duet_av.pipelines.models.pocket.generate import Request, sample

PROMPT, OTHER = "a red ball bounces slowly on the left", "a large green bell rings quickly on the right in a meadow"
TOLERANCE = 1e-4


def random_weights(folder):
    """A weights file with random values in the layout that training writes."""
    from duet_av.pipelines.models.ltx2.load import save_pocket_ltx2
    from duet_av.pipelines.models.ltx2.pocket import PocketLTX2

    torch.manual_seed(0)
    scales = {"video_scale": tuple(1 + torch.rand(16)), "audio_scale": tuple(1 + torch.rand(24))}
    config = pocket_config.PocketLTX2Config(**{name: tuple(map(float, value)) for name, value in scales.items()})
    network = PocketLTX2(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    path = folder / f"{folder.name}.safetensors"  # found by its name among those of other tests
    save_pocket_ltx2(path, network, record={})
    return path


def load_pair(comfy, weights):
    """The model on the command line, and the outputs of the loader."""
    import folder_paths

    from duet_av.pipelines.models.ltx2.load import load_pocket_ltx2_model

    folder_paths.add_model_folder_path("diffusion_models", str(weights.parent))
    folder_paths.filename_list_cache.clear()
    loaded = comfy.pack["DuetLoadAV"].execute(weights.name, "auto", "auto", "auto").args
    encode = comfy.pack["DuetEncodePrompt"].execute
    prompts = {audio: encode(loaded[1], PROMPT, audio, "").args[:2] for audio in ("", OTHER)}
    latent = comfy.pack["DuetEmptyLatent"].execute(loaded[0], 64, 64, 2.0, 0, 1).args[0]
    return SimpleNamespace(own=load_pocket_ltx2_model(weights), loaded=loaded, prompts=prompts, latent=latent)


def host_sample(comfy, pair, strategy, *, audio="", seed=3, steps=3, latent=None):
    positive, negative = pair.prompts[audio]
    guider = comfy.pack["DuetGuider"].execute(pair.loaded[0], positive, strategy, negative).args[0]
    video, sound = (
        comfy.pack["DuetSampler"].execute(guider, latent or pair.latent, seed, steps).args[0]["samples"].unbind()
    )
    return video, sound[..., 0]


def with_random_lora(pair, layer):
    """The same parts, with a random LoRA on a ``layer`` of the first block."""
    from comfy.sd import load_lora_for_models

    name, dim = f"diffusion_model.transformer_blocks.0.{layer}", pair.own.network.config.dim
    torch.manual_seed(4)
    lora = {f"{name}.lora_A.weight": torch.randn(2, dim), f"{name}.lora_B.weight": torch.randn(dim, 2)}
    model, _ = load_lora_for_models(pair.loaded[0], None, lora, 1.0, 0.0)
    return SimpleNamespace(**{**vars(pair), "loaded": (model, *pair.loaded[1:])})


def own_sample(pair, strategy, **request):
    audio = request.pop("audio", "")
    return sample(
        pair.own.network,
        pair.own.text,
        Request([PROMPT], audio=[audio] if audio else None, seed=3, strategy=strategy, **{"steps": 3, **request}),
    ).both()


def differences(found, expected):
    return [(a - b).abs().max().item() for a, b in zip(found, expected, strict=True)]
