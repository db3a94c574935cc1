"""SAVA's adapter inside a real ComfyUI: results equal the command line, LoRA through the host's loader, mask plots."""

import pytest
import torch

from duet_av.pipelines.bench.readings import true_latents
from duet_av.pipelines.core.conditions import V2A
from duet_av.pipelines.core.keep import AUDIO, VIDEO, KeepMask, regenerated_frames
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.core.weights import load_weights
from duet_av.pipelines.guidance.strategy import PerStreamCFG
from duet_av.pipelines.models.adapter.condition import condition
from duet_av.pipelines.models.adapter.load import load_adapter
from duet_av.pipelines.models.pocket.add_ons import with_add_on
from duet_av.pipelines.models.pocket.generate import Request, sample
from duet_av.pipelines.models.pocket.load import ADD_ONS, PocketModel
from duet_av.pipelines.models.pocket.lora import LORA
from duet_av.pipelines.world import caption, make_scene

STEPS = 6
HEARD, SEEN = "sound for the picture", "picture for the sound"
KIND = ("hard (as trained)", 0.5, 1.0)


@pytest.fixture(scope="module")
def scene():
    return make_scene(51, 2, stratum="single")


@pytest.fixture(scope="module")
def latents(comfy, scene):
    model = PocketModel.load()
    return true_latents(model.codecs, [scene], ClipShape())


@pytest.fixture(scope="module")
def adapted(comfy, loaded):
    return comfy.pack["DuetLoadAdapter"].execute(loaded[0], 1.0).args


@pytest.fixture
def latent(comfy, run, loaded, latents):
    empty = run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 16, 1)[0]
    return {**empty, "samples": comfy.nested(latents.both())}


def prompts(run, loaded, scene):
    return run("DuetEncodePrompt", loaded[1], caption(scene), "", "")[:2]


@pytest.mark.parametrize("keep", [VIDEO, AUDIO])
def test_the_host_and_the_command_line_generate_the_same_clip(run, loaded, adapted, latent, latents, scene, keep):
    """With the video kept, and with the audio kept entirely, in which case the audio does not see the adapter tokens."""
    model, net = adapted
    given = run("DuetMaskedAdapter", net, latent, HEARD, *KIND)[0]
    positive, negative = run("DuetApplyConditions", *prompts(run, loaded, scene), "as trained", adapter=given)
    guider = run("DuetGuider", model, positive, PerStreamCFG(2.0, 2.0), negative)[0]
    kept = run("DuetFreezeStream", latent, keep, 0.0, 1.0, 0.0)[0]
    sampled = run("DuetSampler", guider, kept, 9, STEPS)[0]["samples"].unbind()
    own = PocketModel.load()
    frames = regenerated_frames(keep, latents.map(lambda z: z.shape[2]), seconds=2.0)
    request = Request(
        [caption(scene)],
        seed=9,
        steps=STEPS,
        strategy=PerStreamCFG(2.0, 2.0),
        keep=KeepMask(latents, frames.map(lambda m: m[None])),
        adapter=condition(load_adapter(), Streams(latents.video, None), V2A).streams,
    )
    expected = sample(with_add_on(own.network, "adapter"), own.text, request)
    for a, b in zip(sampled, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    if keep == AUDIO:
        return
    words = prompts(run, loaded, scene)
    plain = run("DuetGuider", loaded[0], words[0], PerStreamCFG(2.0, 2.0), words[1])[0]
    native = run("DuetSampler", plain, kept, 9, STEPS)[0]["samples"].unbind()
    assert not torch.allclose(native[1], sampled[1], atol=1e-2)


def test_the_model_is_unchanged_without_lora_and_adapter(comfy, run, loaded, scene):
    positive, negative = prompts(run, loaded, scene)
    empty = run("DuetEmptyLatent", loaded[0], 64, 64, 2.0, 16, 1)[0]
    results = []
    for model in (loaded[0], run("DuetLoadAdapter", loaded[0], 0.0)[0]):
        guider = run("DuetGuider", model, positive, PerStreamCFG(2.0, 2.0), negative)[0]
        results.append(run("DuetSampler", guider, empty, 9, 3)[0]["samples"].unbind())
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_the_hosts_own_loader_reads_the_lora(comfy, loaded):
    import comfy.lora
    import comfy.utils

    tensors = comfy.utils.load_torch_file(str(ADD_ONS["pocket-adapter-v2a"]))
    keys = comfy.lora.model_lora_keys_unet(loaded[0].model, {})
    patches = comfy.lora.load_lora({k: v for k, v in tensors.items() if k.startswith(LORA)}, keys)
    assert len(patches) == 3 * 4
    assert load_weights(ADD_ONS["pocket-adapter-v2a"], "pocket-adapter-v2a").config["rank"] == 16


def test_the_mask_is_plotted_and_can_be_painted(run, loaded, adapted, latent):
    net = adapted[1]
    images = run("DuetDecode", latent, loaded[2], loaded[3], False)[0][0]
    given, mask, picture = run("DuetMaskedAdapter", net, latent, HEARD, *KIND, images=images)
    assert mask.shape == (32, 64, 64)
    assert 0 <= float(mask.min()) < float(mask.max()) <= 1
    assert picture.std() > 0
    black = run("DuetMaskedAdapter", net, latent, HEARD, *KIND, painted=torch.zeros(1, 8, 8))[0]
    assert black.tokens.tokens.abs().max() == 0
    seen = run("DuetMaskedAdapter", net, latent, SEEN, *KIND, other=latent)
    assert seen[0].way == "a2v"
    assert (seen[1] == seen[1][:, :1, :1]).all(), "a sound's mask has no place"
    assert given.streams.video is None


def test_strength_zero_generates_the_audio_independently_of_the_video(run, loaded, adapted, latent, scene):
    model, net = adapted
    sampled = []
    for picture in (latent, {**latent, "samples": type(latent["samples"])([-z for z in latent["samples"].unbind()])}):
        given = run("DuetMaskedAdapter", net, picture, HEARD, "hard (as trained)", 0.5, 0.0)[0]
        positive, negative = run("DuetApplyConditions", *prompts(run, loaded, scene), "as trained", adapter=given)
        guider = run("DuetGuider", model, positive, PerStreamCFG(2.0, 2.0), negative)[0]
        kept = run("DuetFreezeStream", picture, "video", 0.0, 1.0, 0.0)[0]
        sampled.append(run("DuetSampler", guider, kept, 9, 3)[0]["samples"].unbind()[1])
    assert torch.allclose(*sampled, atol=1e-5)


def test_errors_name_the_cause(comfy, run, loaded, adapted, latent, scene):
    given = run("DuetMaskedAdapter", adapted[1], latent, HEARD, *KIND)[0]
    positive, negative = run("DuetApplyConditions", *prompts(run, loaded, scene), "as trained", adapter=given)
    guider = run("DuetGuider", loaded[0], positive, PerStreamCFG(2.0, 2.0), negative)[0]
    with pytest.raises(ValueError, match="Use the MODEL of 'Duet Load Adapter'"):
        run("DuetSampler", guider, latent, 9, 2)
    longer = run("DuetEmptyLatent", loaded[0], 64, 64, 3.0, 16, 1)[0]
    with pytest.raises(ValueError, match="Use a clip of 2 seconds"):
        run("DuetMaskedAdapter", adapted[1], longer, HEARD, *KIND)
