"""The losses of v0.1's prior and their gradients, compared with the reference's in float32 on weights drawn by name."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))

from compare import weights
from test_parity import expanded

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.javisdit.prior_heads import KINDS, HeadsConfig, PriorHeads
from duet_av.pipelines.models.prior.estimator import PriorConfig, PriorEstimator
from duet_av.pipelines.training.prior_losses import official_losses

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures" / "prior_losses"


@pytest.fixture(scope="module")
def reference():
    tensors = load_file(FIXTURES / "prior_losses.safetensors")
    parts = {"in": {}, "out": {}, "grad": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    return parts


@pytest.fixture(scope="module")
def modules():
    meta = json.loads((FIXTURES / "meta.json").read_text())
    own, drawn = meta["config"], weights("public", meta["keys"])
    counts = {name: own[name] for name in ("spatial_token_num", "temporal_token_num")}
    sizes = {"hidden_size": own["hidden_size"], "heads": own["nhead"], "layers": own["num_encoder_layers"]}
    tower = {"text_width": own["text_emb_dim"], "text_heads": 1, "text_layers": 0, "vocabulary": 1}
    estimator = PriorEstimator(PriorConfig(**counts, out_dim=own["out_dim"], **sizes, **tower))
    heads = PriorHeads(HeadsConfig(**counts, channels=own["out_dim"], heads=own["va_num_heads"]))
    for module in (estimator, heads):
        names = set(module.state_dict())
        missing, _ = module.load_state_dict({n: z for n, z in drawn.items() if n in names}, strict=False)
        assert all(name.startswith("text_encoder.") for name in missing)
    return estimator, heads


@pytest.fixture(scope="module")
def losses(reference, modules):
    given, (estimator, heads) = reference["in"], modules
    negatives = {kind: Streams(given[f"{kind}.video"], given[f"{kind}.audio"]) for kind in KINDS}
    found = official_losses(
        heads,
        estimator.moments_of(given["tower"]),
        given["noise"],
        Streams(given["video"], given["audio"]),
        negatives,
        size=tuple(given["size"].tolist()),
    )
    found["loss"].backward()
    return found


def test_every_loss_matches_the_reference(reference, losses):
    expected = {name.replace("_loss", ""): value for name, value in reference["out"].items() if "_total" not in name}
    expected["loss"] = expected.pop("total")
    assert set(losses) == set(expected)
    gaps = [abs(losses[name].item() - float(value)) for name, value in expected.items()]
    assert max(gaps) <= 1e-5
    assert losses["kl"].item() == pytest.approx(float(expected["kl"]), rel=1e-4)  # its weight is 1e-6


def test_every_gradient_matches_the_reference(reference, modules, losses):
    found = {n: p.grad for module in modules for n, p in module.named_parameters() if not n.startswith("text_encoder.")}
    assert set(found) == set(reference["grad"])
    gaps = [(found[name] - value).abs().max().item() for name, value in reference["grad"].items()]
    assert max(gaps) <= 1e-5


def test_at_full_size_the_heads_have_the_official_names_and_shapes():
    with torch.device("meta"):
        own = {key: list(value.shape) for key, value in PriorHeads(HeadsConfig()).state_dict().items()}
    assert own == expanded("prior_heads")
