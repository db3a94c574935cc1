"""Thirty clips to a LoRA to ComfyUI, in one test for each model: ``duet data``, 20 steps of ``duet train lora``, and the host's own LoRA
loader, whose output equals peft's."""

import json

import pytest
import torch

STEPS, RANK, SIGMA = 20, 4, 0.7
LAVFI = 26  # clips beside the four that ``write_clips`` writes and that can be used


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    from lavfi_clips import write_lavfi_clips
    from ltx2_release import write_clips

    return write_lavfi_clips(write_clips(tmp_path_factory.mktemp("clips")), LAVFI)


def trained(clips, out, name, release, *data):
    """The path of the LoRA that the command line trains on ``clips``."""
    from duet_av.pipelines.cli import main as cli

    model, shards = ("--model", name, str(release)), str(out / "shards")
    assert cli.main(["data", str(clips), *model, "-o", shards, "--size", "64x32", *data]) == 0
    assert len(json.loads((out / "shards" / "report.json").read_text())["taken"]) == LAVFI + 4
    train = ["train", "lora", *model, "--data", shards, "--run", str(out), "--steps", str(STEPS)]
    assert cli.main([*train, "--rank", str(RANK), "--lr", "0.02"]) == 0
    return out / "lora" / f"{name}-lora.safetensors"


def patched(patcher, path):
    """The number of weights that the host's LoRA loader changes; they are changed when this returns."""
    import comfy.sd
    import comfy.utils

    file = comfy.utils.load_torch_file(str(path), safe_load=True)
    changed, _ = comfy.sd.load_lora_for_models(patcher, None, file, 1.0, 0.0)
    changed.patch_model()
    return len(changed.patches)


def with_peft(network, targets, path, rename):
    """``network`` with the LoRA in ``path``, through peft."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    from duet_av.pipelines.models.lora import add_lora

    add_lora(network, targets, rank=RANK)
    layers = {name.removeprefix("diffusion_model."): z for name, z in load_file(path).items() if "lora_" in name}
    assert not set_peft_model_state_dict(network, rename(layers)).unexpected_keys


def check(plain, changed, found):
    """The LoRA changes the host's output, to what peft computes."""
    for before, after, ours in zip(plain, changed, found, strict=True):
        assert (after - before).abs().max() > 1e-2
        torch.testing.assert_close(ours, after, atol=1e-4, rtol=0)


def test_clips_become_a_lora_for_the_hosts_ltx2(comfy, clips, tmp_path):
    pytest.importorskip("peft")
    import comfy.model_patcher
    from ltx2_release import write_release
    from official_files import host_model

    from duet_av.pipelines.core.streams import Streams
    from duet_av.pipelines.models.ltx2.folder import LTX2Folder
    from duet_av.pipelines.models.ltx2.keys import to_diffusers, to_official
    from duet_av.pipelines.training.own_models import OwnLTX2

    release = write_release(tmp_path / "release")
    path = trained(clips, tmp_path, "ltx2", release, "--seconds", "0.7")
    folder = LTX2Folder(release)
    ours = folder.network(torch.device("cpu"), torch.float32)
    theirs = host_model("LTXAV", {**folder.sizes().official, "image_model": "ltxav"})
    theirs.diffusion_model.load_state_dict(to_official(ours.transformer.state_dict()), strict=False)
    x, text = Streams(torch.randn(1, 128, 3, 1, 2), torch.randn(1, 128, 18)), torch.randn(2, 1, 7, 16)
    plain = _ltx2_velocity(theirs.diffusion_model, x, text)
    assert patched(comfy.model_patcher.ModelPatcher(theirs, *[torch.device("cpu")] * 2), path) == 2 * 6 * 4
    changed = _ltx2_velocity(theirs.diffusion_model, x, text)
    with_peft(ours.transformer, OwnLTX2.targets, path, to_diffusers)
    with torch.inference_mode():
        level = torch.full((1, 1), SIGMA)
        check(plain, changed, ours(x, Streams(level, level), Streams(text[0], text[1]), fps=24.0))


def test_the_latents_of_timed_text_lie_where_the_host_puts_them(comfy, tmp_path):
    """``timed-lora`` trains on the windows that *Duet Timed Prompt* uses."""
    from ltx2_release import write_release
    from official_files import host_model

    from duet_av.nodes.host.timed_ltx import ltx_edges
    from duet_av.pipelines.core.streams import Streams
    from duet_av.pipelines.models.ltx2.folder import LTX2Folder
    from duet_av.pipelines.models.ltx2.network import latent_times

    sizes = LTX2Folder(write_release(tmp_path)).sizes()
    model = host_model("LTXAV", {**sizes.official, "image_model": "ltxav"})
    theirs = ltx_edges(model, [(1, 128, 3, 1, 2), (1, 8, 18, 16)], {"frame_rate": 24.0})
    ours = latent_times(sizes, Streams(3, 18), fps=24.0)
    for a, b in zip(ours.both(), theirs.both(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("routes", [(True, True), (True, False), (False, True), (False, False)])
def test_context_tokens_give_the_hosts_ltx2_its_null(comfy, tmp_path, routes):
    """The host's own LTXAV with the file of ``duet train context-tokens`` equals the network that was trained, with open and closed
    routes, and its UCG has a trained null."""
    import comfy.model_patcher
    from ltx2_release import write_release
    from official_files import host_model

    from duet_av.nodes.host.branches import LEARNT, backbone_of
    from duet_av.nodes.host.context import ROUTES, with_context
    from duet_av.pipelines.core.streams import Streams
    from duet_av.pipelines.core.weights import save_weights
    from duet_av.pipelines.models.ltx2.folder import LTX2Folder
    from duet_av.pipelines.models.ltx2.keys import to_official
    from duet_av.pipelines.training.context_tokens import ContextLTX2

    folder = LTX2Folder(write_release(tmp_path / "release"))
    ours = ContextLTX2(folder.network(torch.device("cpu"), torch.float32))
    torch.nn.init.normal_(ours.context.video)
    torch.nn.init.normal_(ours.context.audio)
    path, config = tmp_path / "ltx2-context.safetensors", vars(ours.context.config)
    save_weights(path, dict(ours.context.state_dict()), kind="ltx2-context", config=config, record={})
    theirs = host_model("LTXAV", {**folder.sizes().official, "image_model": "ltxav"})
    theirs.diffusion_model.load_state_dict(to_official(ours.network.state_dict()), strict=False)
    plain = comfy.model_patcher.ModelPatcher(theirs, *[torch.device("cpu")] * 2)
    patched = with_context(plain, path)
    assert backbone_of(theirs, patched.model_options).null == LEARNT
    assert backbone_of(theirs, plain.model_options).null != LEARNT
    x, text = Streams(torch.randn(1, 128, 3, 1, 2), torch.randn(1, 128, 18)), torch.randn(2, 1, 7, 16)
    level, flags = torch.full((1, 1), SIGMA), Streams(*(torch.tensor([route]) for route in routes))
    with torch.inference_mode():
        expected = ours.model(x, Streams(level, level), Streams(text[0], text[1]), fps=24.0, route=flags)
    patched.patch_model()
    found = _ltx2_velocity(theirs.diffusion_model, x, text, {ROUTES: routes})
    patched.unpatch_model()
    before = _ltx2_velocity(theirs.diffusion_model, x, text)
    for own, other, without in zip(expected.both(), found, before, strict=True):
        torch.testing.assert_close(own, other, atol=1e-4, rtol=0)
        assert (other - without).abs().max() > 1e-3


def _ltx2_velocity(network, x, text, options=None):
    """Velocities of both streams that the host's network computes."""
    video, audio = x.both()
    levels = (torch.full((1, video[0, 0].numel(), 1), SIGMA), torch.full((1, audio.shape[2], 1), SIGMA))
    latents = [video.clone(), audio.unflatten(1, (8, 16)).transpose(2, 3).clone()]
    with torch.inference_mode():
        out = network(latents, levels, torch.cat([*text], -1), frame_rate=24.0, transformer_options=options or {})
    return out[0].float(), out[1].transpose(2, 3).flatten(1, 2).float()


def test_clips_become_a_lora_for_javisdit(comfy, clips, tmp_path):
    pytest.importorskip("peft")
    import comfy.latent_formats
    from javisdit_files import V10, write_folder10

    from duet_av.nodes.host.javisdit import build_javisdit
    from duet_av.pipelines.core.streams import Streams
    from duet_av.pipelines.models.javisdit.files import read_checkpoint
    from duet_av.pipelines.models.javisdit.folder import JavisFolder10
    from duet_av.pipelines.models.javisdit.v10 import JavisDiT10
    from duet_av.pipelines.training.own_models import OwnJavisDiT10

    release = write_folder10(tmp_path / "release")
    path = trained(clips, tmp_path, "javisdit-v1.0", release, "--seconds", "1")
    source = release / "transformer"
    patcher = build_javisdit("JavisDiT v1.0", read_checkpoint(source), source=source)
    x, text = Streams(torch.randn(1, 16, 5, 4, 8), torch.randn(1, 8, 32, 16)), torch.randn(1, 9, V10.text_dim)

    def velocity(network):
        with torch.inference_mode():
            out = JavisDiT10.forward(network, x, torch.tensor([1000 * SIGMA]), text, torch.ones(1, 9, dtype=torch.bool))
        return out.both()

    network = patcher.model.diffusion_model.float()
    plain = velocity(network)
    assert patched(patcher, path) == V10.num_layers * 12
    ours = JavisFolder10(release).network(torch.device("cpu"), torch.float32)
    with_peft(ours, OwnJavisDiT10.targets, path, dict)
    check(plain, velocity(network), velocity(ours))

    codecs = JavisFolder10(release).codecs(torch.device("cpu"), torch.float32)
    raw = torch.randn(1, 16, 1, 2, 2)
    centre, scale = (torch.tensor(codecs.video.config[f"latents_{n}"]).view(-1, 1, 1, 1) for n in ("mean", "std"))
    torch.testing.assert_close((raw - centre) / scale, comfy.latent_formats.Wan21().process_in(raw))
