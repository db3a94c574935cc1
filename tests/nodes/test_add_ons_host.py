"""Files that the user trained, inside a real ComfyUI: a base from models/diffusion_models, add-on layers from models/duet and runs."""

import pytest
import torch

from duet_av.pipelines.core.weights import load_weights, save_weights
from duet_av.pipelines.guidance.strategy import PerStreamCFG
from duet_av.pipelines.models.pocket.load import ADD_ONS, FILES

PROMPT = "a small red bell rings slowly on the left at night"


def trained(kind, target, *, base=None):
    """A copy of a shipped file with other weights, as training would write it."""
    file = load_weights({**FILES, **ADD_ONS}[kind], kind)
    tensors = {name: value * 1.05 for name, value in file.tensors.items()}
    config = {**file.config, **({"base": base} if base else {})}
    target.parent.mkdir(parents=True, exist_ok=True)
    save_weights(target, tensors, kind=kind, config=config, record={})
    return target


@pytest.fixture
def models(comfy, tmp_path):
    """A models folder of the host and a runs folder, with the files in them that a test writes."""
    import folder_paths

    folder_paths.add_model_folder_path("diffusion_models", str(tmp_path / "diffusion_models"))
    folder_paths.add_model_folder_path("duet", str(tmp_path / "duet"), is_default=True)
    yield tmp_path
    for name in ("diffusion_models", "duet"):
        folder_paths.folder_names_and_paths[name][0].remove(str(tmp_path / name))
        folder_paths.filename_list_cache.pop(name, None)


def files(comfy):
    (_, field) = comfy.pack["DuetLoadAddOn"].GET_SCHEMA().inputs
    return field.options


def sampled(run, loaded, model, plan=None):
    positive, negative = run("DuetEncodePrompt", loaded[1], PROMPT, "", "")[:2]
    positive, negative = run("DuetApplyConditions", positive, negative, "as trained", plan)
    latent = run("DuetEmptyLatent", model, 64, 64, 2.0, 0, 1)[0]
    guider = run("DuetGuider", model, positive, PerStreamCFG(2.0, 2.0), negative)[0]
    return run("DuetSampler", guider, latent, 5, 4)[0]["samples"].unbind()


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_runs_folder_and_models_duet_are_searched(comfy, root):
    import folder_paths

    assert str(root / "runs") in folder_paths.get_folder_paths("duet")
    assert f"{folder_paths.models_dir}/duet" in [p.replace("\\", "/") for p in folder_paths.get_folder_paths("duet")]


def test_only_add_on_layers_are_listed(comfy, run, loaded, models):
    trained("pocket-plan", models / "duet" / "plan" / "pocket-plan.safetensors")
    trained("pocket-planner", models / "duet" / "planner" / "pocket-planner.safetensors")
    (models / "duet" / "video.ckpt").write_bytes(b"a checkpoint")
    (models / "duet" / "broken.safetensors").write_bytes(b"cut short")
    assert files(comfy) == ["plan/pocket-plan.safetensors"]
    with pytest.raises(ValueError, match="holds 'pocket-planner' weights; this node loads pocket-plan"):
        run("DuetLoadAddOn", loaded[0], "planner/pocket-planner.safetensors")


def test_own_plan_layers_are_used_in_place_of_the_shipped_ones(run, loaded, models):
    trained("pocket-plan", models / "duet" / "pocket-plan.safetensors")
    own = run("DuetLoadAddOn", loaded[0], "pocket-plan.safetensors")[0]
    shipped, planner = run("DuetLoadPlanner", loaded[0])
    plan = run("DuetPlanner", planner, PROMPT, "", 3, 1.0, "timeline")[0]
    assert equal(sampled(run, loaded, own), sampled(run, loaded, loaded[0])), "nothing changes without a plan"
    assert not equal(sampled(run, loaded, own, plan), sampled(run, loaded, shipped, plan))


def test_layers_of_one_kind_are_added_once(run, loaded, models):
    for kind in ("pocket-plan", "pocket-adapter-v2a"):
        trained(kind, models / "duet" / f"{kind}.safetensors")
    with pytest.raises(ValueError, match="already has 'pocket-plan' layers"):
        run("DuetLoadAddOn", run("DuetLoadPlanner", loaded[0])[0], "pocket-plan.safetensors")
    adapted = run("DuetLoadAddOn", loaded[0], "pocket-adapter-v2a.safetensors")[0]
    assert adapted.patches, "the LoRA of the file is a patch of the MODEL"
    with pytest.raises(ValueError, match="already has 'pocket-adapter-v2a' layers"):
        run("DuetLoadAdapter", adapted, 1.0)


def test_layers_load_on_the_users_base_that_they_were_trained_on(run, loaded, models):
    path = trained("pocket-av", models / "diffusion_models" / "own-base.safetensors")
    base = load_weights(path, "pocket-av").sha256
    model = run("DuetLoadAV", "own-base.safetensors", "auto", "auto", "auto")[0]
    trained("pocket-plan", models / "duet" / "pocket-plan.safetensors", base=base)
    assert run("DuetLoadAddOn", model, "pocket-plan.safetensors")[0].model.file.sha256 == base
    with pytest.raises(ValueError, match="were trained on the base"):
        run("DuetLoadAddOn", loaded[0], "pocket-plan.safetensors")
    with pytest.raises(ValueError, match="were trained on the base"):
        run("DuetLoadPlanner", model)
