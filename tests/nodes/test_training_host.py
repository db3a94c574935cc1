"""Training an add-on inside a real ComfyUI: its file loads, a cancelled run goes on, and only clips are listed as clips."""

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("accelerate")

from duet_av.pipelines.models.pocket.load import ADD_ONS

STEPS = 3


@pytest.fixture
def runs(comfy, tmp_path, monkeypatch):
    """A runs folder of the test's own, and scores that cost nothing."""
    import folder_paths

    import duet_av.nodes.host.training as module
    from duet_av.pipelines.training.stages.plan import PlanJudge

    monkeypatch.setattr(module, "RUNS", tmp_path / "graph")
    monkeypatch.setattr(PlanJudge, "__call__", lambda *_: {"score": 0.5})
    folder_paths.add_model_folder_path("duet", str(tmp_path))
    folder_paths.filename_list_cache.clear()
    yield tmp_path
    folder_paths.folder_names_and_paths["duet"][0].remove(str(tmp_path))
    folder_paths.filename_list_cache.clear()


def train(run, **changes):
    own = {"kind": "plan", "clips": "rendered clips of the pocket world", "world_clips": 16, "steps": STEPS, "batch": 2}
    more = {"learning_rate": 0.0, "preview_every": 1, "from_scratch": False, "seed": 0}
    return run("DuetTrainAddOn", **{**own, **more, **changes})


def test_a_trained_file_is_listed_loads_and_differs_from_the_one_that_ships(comfy, run, loaded, runs):
    import folder_paths

    file, picture, report = train(run)
    assert picture.shape[0] == 1
    assert picture.std() > 0.01
    assert report.startswith(f"plan: {STEPS} steps of 2 in ")
    assert "score 0.500" in report
    folder_paths.filename_list_cache.clear()
    from duet_av.nodes.host.add_ons import add_on_files

    assert file in add_on_files()
    model = comfy.pack["DuetLoadAddOn"].execute(loaded[0], file).args[0]
    assert "pocket-plan" in model.model.add_ons
    assert (runs / file).read_bytes() != ADD_ONS["pocket-plan"].read_bytes()


def test_a_cancelled_run_goes_on_from_its_checkpoint(comfy, run, runs, monkeypatch):
    import comfy.model_management as management

    import duet_av.nodes.host.training as module

    calls, cancel = [], management.InterruptProcessingException

    def interrupted():
        calls.append(1)
        if len(calls) == 2:
            raise cancel

    monkeypatch.setattr(management, "throw_exception_if_processing_interrupted", interrupted)
    with pytest.raises(cancel):
        train(run)
    kept = []
    train_add_on = module.train_add_on
    monkeypatch.setattr(
        "duet_av.nodes.training.train_add_on", lambda *a, **k: kept.append(train_add_on(*a, **k)) or kept[0]
    )
    train(run)
    record, losses = kept[0]
    assert record["steps"] == STEPS
    assert len(losses) == STEPS - 2


def test_other_inputs_begin_a_run_of_their_own_and_more_steps_go_on(run, runs):
    first = train(run)[0]
    assert train(run, steps=STEPS + 1)[0] == first
    others = [train(run, **change)[0] for change in ({"seed": 1}, {"learning_rate": 0.01}, {"from_scratch": True})]
    assert len({first, *others}) == 4


def test_only_encoded_clips_are_listed_as_clips(comfy, runs):
    from duet_av.nodes.host.training import WORLD, clip_files

    save_file({"video": torch.zeros(1), "audio": torch.zeros(1), "tokens": torch.zeros(1)}, runs / "clips.safetensors")
    save_file({"weight": torch.zeros(1)}, runs / "other.safetensors")
    (runs / "broken.safetensors").write_bytes(b"no header")
    found = clip_files()
    assert found[0] == WORLD
    assert "clips.safetensors" in found
    assert not {"other.safetensors", "broken.safetensors"} & set(found)
