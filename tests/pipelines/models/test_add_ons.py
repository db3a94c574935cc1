"""Add-ons of the pocket network: the table of files, and copies of the base that read a condition."""

import pytest
import torch

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.choose import condition_files, load_model, model_files, with_condition, with_timed_text
from duet_av.pipelines.models.pocket.add_ons import LAYERS, with_add_on
from duet_av.pipelines.models.pocket.load import ADD_ONS, CONDITION_FILES, FILES, PARTS, load_network


@pytest.fixture(scope="module")
def base():
    return load_network()


def test_each_file_belongs_to_the_base_or_to_one_condition():
    assert {*FILES, *ADD_ONS} == set(PARTS)
    assert [kind for kinds in CONDITION_FILES.values() for kind in kinds] == list(ADD_ONS)
    assert set(LAYERS) < set(ADD_ONS)
    assert all(path.is_file() for path in (*FILES.values(), *ADD_ONS.values()))


@torch.inference_mode()
@pytest.mark.parametrize("condition", ["plan", "prior", "adapter", "timed"])
def test_an_add_on_is_installed_in_a_copy(base, condition):
    before = {name: value.clone() for name, value in base.state_dict().items()}
    copy = with_add_on(base, condition)
    assert base.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
    assert set(copy.add_ons) == ({condition} - {"adapter", "timed"})
    assert set(copy.adapters) == ({"v2a", "a2v"} if condition == "adapter" else set())
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator)  # noqa: E731 - three uses
    x, sigma = Streams(draw(1, 16, 8, 8, 8), draw(1, 24, 32)), Streams(torch.ones(1, 1), torch.ones(1, 1))
    text = draw(1, 4, 128)
    a, b = (network(x, sigma, Streams(text, text)) for network in (base, copy))
    same = torch.equal(a.video, b.video) and torch.equal(a.audio, b.audio)
    assert same is (condition in ("plan", "prior")), "only a LoRA changes the base"


def test_pocket_ltx2_reads_plans_beside_timed_text_and_names_the_files():
    pytest.importorskip("diffusers")
    base = load_model("pocket-ltx2")
    planned = with_condition(with_timed_text(base), "plan")
    expected = {
        **model_files("pocket-ltx2"),
        **(condition_files("pocket-ltx2", "plan") | condition_files("pocket-ltx2", "timed")),
    }
    assert planned.files == expected
    assert set(planned.network.add_ons) == {"plan"}
    assert not base.network.add_ons
    again = with_timed_text(with_condition(base, "plan"))
    assert again.files == expected
    assert set(again.network.add_ons) == {"plan"}
    weights = [dict(model.network.network.named_parameters()) for model in (planned, again)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    with pytest.raises(ValueError, match="prior layers that ship with Duet are for the pocket network"):
        with_condition(base, "prior")
    assert condition_files("pocket-ltx2", "prior") == {}
