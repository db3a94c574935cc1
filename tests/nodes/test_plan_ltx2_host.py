"""Plan layers on the host's own LTXAV model compute what the command line computes, on random weights."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from ltx2_pair import (
    OTHER,
    PROMPT,
    TOLERANCE,
    differences,
    host_sample,
    load_pair,
    own_sample,
    random_weights,
    with_random_lora,
)

from duet_av.pipelines.guidance.modifiers import PlanScale
from duet_av.pipelines.guidance.strategy import UCG, PerStreamCFG
from duet_av.pipelines.models.ltx2.pocket_config import PLAN_KIND

PLAIN = PerStreamCFG(2.0, 3.0)


@pytest.fixture(scope="module")
def pair(comfy, tmp_path_factory):
    pytest.importorskip("diffusers")
    return load_pair(comfy, random_weights(tmp_path_factory.mktemp("pocket_ltx2")))


@pytest.fixture(scope="module")
def planned(comfy, pair, tmp_path_factory):
    """The MODEL with random plan layers, the same on the command line, and prompts with a plan."""
    import folder_paths

    from duet_av.pipelines.core.weights import save_weights, to_half
    from duet_av.pipelines.models.addons.plan import PlanConfig, PlanLayers
    from duet_av.pipelines.models.ltx2.add_ons import load_layers
    from duet_av.pipelines.models.ltx2.load import copied
    from duet_av.pipelines.models.planner.load import load_planner

    planner, base = load_planner(), pair.loaded[0].model.base_hash
    plan = planner.plan(PROMPT, "", None)
    torch.manual_seed(2)
    config = PlanConfig(*(part.tokens.shape[-1] for part in plan.streams.both()))
    layers = PlanLayers(config, pair.own.network.config)
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("plan") / "plan.safetensors"
    save_weights(path, to_half(layers), kind=PLAN_KIND, config={**vars(config), "base": base}, record={})
    folder_paths.add_model_folder_path("duet", str(path.parent))
    folder_paths.filename_list_cache.clear()
    model = comfy.pack["DuetLoadAddOn"].execute(pair.loaded[0], path.name).args[0]
    network = load_layers(PLAN_KIND, pair.own.network.config, base, path).install(copied(pair.own.network))
    apply = comfy.pack["DuetApplyConditions"].execute
    prompts = {audio: apply(*both, "as trained", plan).args[:2] for audio, both in pair.prompts.items()}
    yield SimpleNamespace(
        own=replace(pair.own, network=network), loaded=(model, *pair.loaded[1:]), prompts=prompts, latent=pair.latent,
        plan=plan, file=path.name,
    )  # fmt: skip
    folder_paths.folder_names_and_paths["duet"][0].remove(str(path.parent))
    folder_paths.filename_list_cache.pop("duet", None)


@pytest.mark.parametrize("audio", ["", OTHER])
@pytest.mark.parametrize(
    "strategy",
    [PLAIN, PlanScale(PLAIN, 2.0, 0.5), UCG("U3", 2.0, 2.0, 3.0, 1.5, masked=True)],
    ids=["cfg", "plan scale", "modality"],
)
def test_sampling_with_a_plan_equals_the_command_line(comfy, pair, planned, strategy, audio):
    found = host_sample(comfy, planned, strategy, audio=audio)
    assert max(differences(found, own_sample(planned, strategy, audio=audio, plan=planned.plan.streams))) <= TOLERANCE
    assert min(differences(found, host_sample(comfy, pair, PLAIN, audio=audio))) > 1e-3


def test_without_a_plan_the_output_is_unchanged(comfy, pair, planned):
    without = SimpleNamespace(**{**vars(planned), "prompts": pair.prompts})
    assert differences(host_sample(comfy, without, PLAIN), host_sample(comfy, pair, PLAIN)) == [0, 0]


def test_layers_are_added_once_and_a_plan_without_them_is_refused(comfy, pair, planned):
    with pytest.raises(ValueError, match="already has 'pocket-ltx2-plan' layers"):
        comfy.pack["DuetLoadAddOn"].execute(planned.loaded[0], planned.file)
    without = SimpleNamespace(**{**vars(planned), "loaded": pair.loaded})
    with pytest.raises(ValueError, match="The prompt has a plan, but this MODEL has no layers that read it"):
        host_sample(comfy, without, PLAIN)
    with pytest.raises(ValueError, match="this MODEL has no layers that read a plan"):
        host_sample(comfy, without, PlanScale(PLAIN, 2.0, 2.0))


def test_a_plan_and_a_lora_work_together(comfy, planned):
    with_lora = with_random_lora(planned, "attn2.to_k")
    assert min(differences(host_sample(comfy, with_lora, PLAIN), host_sample(comfy, planned, PLAIN))) > 1e-4


def test_a_plan_and_timed_text_work_together_in_either_order(comfy, pair, planned):
    timed = comfy.pack["DuetTimedPrompt"].execute
    texts = {"audio": "", "seconds": 2.0, "strength": 1.0, "soft_edges": 0.0, "repeat_prompt": True}
    load = comfy.pack["DuetLoadAddOn"].execute
    sampled = []
    for models in (
        lambda: timed(planned.loaded[0], pair.loaded[1], PROMPT, timeline="0.5: the ball", **texts).args,
        lambda: timed(pair.loaded[0], pair.loaded[1], PROMPT, timeline="0.5: the ball", **texts).args,
    ):
        model, positive, *_ = models()
        model = model if sampled == [] else load(model, planned.file).args[0]
        negative = pair.prompts[""][1]
        with_plan = comfy.pack["DuetApplyConditions"].execute(positive, negative, "as trained", planned.plan).args[:2]
        parts = SimpleNamespace(**{**vars(planned), "loaded": (model, *pair.loaded[1:]), "prompts": {"": with_plan}})
        sampled.append(host_sample(comfy, parts, PLAIN))
    assert max(differences(*sampled)) <= TOLERANCE
    assert min(differences(sampled[0], host_sample(comfy, planned, PLAIN))) > 1e-3


def test_a_plan_and_guides_are_refused(comfy, planned):
    from duet_av.nodes.host import ltx2_layers

    guides = torch.zeros(1, 3, 4, 2)
    conds = ltx2_layers._plan_conds(lambda **_: {}, **{ltx2_layers.PLAN: planned.plan})
    with pytest.raises(ValueError, match="plan layers would take for frames of the clip"):
        ltx2_layers._encode(
            planned.own.network.config, torch.nn.ModuleDict(), None, [], None, None, None, 16.0, {}, guides,
            **{name: value.cond for name, value in conds.items()},
        )  # fmt: skip
