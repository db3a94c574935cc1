"""The weights that ship: what their cards and the table of record say is about these very files."""

import hashlib
import json

import pytest

from duet_av.pipelines.models.pocket.load import FILES
from duet_av.pipelines.training.card import card

LIMIT_ALL, LIMIT_EACH = 40e6, 16e6


@pytest.fixture
def shipped(root):
    return sorted((root / "weights").glob("*.safetensors"))


def test_sizes_stay_within_the_limits(shipped):
    sizes = [path.stat().st_size for path in shipped]
    assert len(sizes) == 6
    assert max(sizes) <= LIMIT_EACH
    assert sum(sizes) <= LIMIT_ALL


def test_every_file_has_the_card_written_from_it(shipped):
    for path in shipped:
        assert path.with_suffix(".md").read_text() == card(path), f"{path.name}: write its card again"


def test_the_table_of_record_is_about_the_weights_that_ship(root):
    table = json.loads((root / "weights" / "bench" / "single.json").read_text())
    assert table["weights"] == {kind: hashlib.sha256(path.read_bytes()).hexdigest() for kind, path in FILES.items()}
    assert {row["variant"] for row in table["rows"]} >= {"cfg 3"}


def test_the_table_of_record_backs_the_readme(root):
    table = json.loads((root / "weights" / "bench" / "single.json").read_text())
    row = next(row for row in table["rows"] if row["variant"] == "cfg 3")
    sync = row["metrics"]["sync_normalised"]
    readme = (root / "README.md").read_text()
    assert f"{sync['mean']:.2f} [{sync['ci95'][0]:.2f}, {sync['ci95'][1]:.2f}]" in readme
