"""Costs of record: a change must not raise operations, bytes or passes, or import packages that a command does not need."""

import json

import pytest

HEAVY = {
    "accelerate",
    "diffusers",
    "matplotlib",
    "pandas",
    "peft",
    "ray",
    "scipy",
    "sympy",
    "transformers",
}  # sympy: with torch's compiler
WITHIN = 1.01  # of the count of record; library updates change a count by less


@pytest.fixture
def counting_folder(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    return root / "benchmarks"


def test_operations_bytes_and_passes_are_those_of_record(counting_folder):
    import counts

    record, found = json.loads((counting_folder / "counts.json").read_text()), counts.count()
    assert found.keys() == record.keys()
    more = {name: (found[name], value) for name, value in record.items() if found[name] > value * WITHIN}
    assert not more, f"these counts rose (now, of record): {more}"
    less = {name: (found[name], value) for name, value in record.items() if found[name] * WITHIN < value}
    assert not less, f"these counts fell: run python benchmarks/counts.py ({less})"


def test_a_count_sees_a_copy(counting_folder):
    import counting
    import torch

    x = torch.zeros(250)
    assert counting.allocated(lambda: x + 1) == (1000, 1000)
    assert counting.allocated(lambda: (x + 1) + 1) == (2000, 2000)
    assert counting.allocated(lambda: [(x + 1).sum().item() for _ in range(3)])[0] < 3 * 1000
    assert counting.allocated(lambda: x.view(10, 25)) == (0, 0)
    assert counting.flops(lambda: x.view(10, 25) @ x.view(25, 10)) == 2 * 10 * 25 * 10


def test_a_clip_needs_no_heavy_package(counting_folder, tmp_path):
    import counting

    prompt = "a small red ball bounces slowly on the left at night"
    packages = counting.imported(["generate", prompt, "--steps", "1", "-o", str(tmp_path / "out.mp4")])
    assert (tmp_path / "out.mp4").is_file()
    assert not HEAVY & set(packages)


def test_the_page_of_benchmarks_is_made_of_the_results(root, counting_folder):
    import run

    figures = [run.Figure(**row) for row in json.loads((counting_folder / "results.json").read_text())]
    assert (root / "docs" / "benchmarks.md").read_text() == run.page(figures)
