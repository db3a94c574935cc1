"""Every speed and memory figure of the documentation, each beside its peer or floor, as a ratio from one run.

    python benchmarks/run.py [--runs 5] [--javisdit FOLDER] [--compile]

Both sides of a ratio run alternately in one process (or as alternating processes), so that a figure says the same on another machine.
Writes benchmarks/results.json and docs/benchmarks.md. ``--javisdit``: a checkout of JavisDiT's reference implementation. With
COMFYUI_PATH set (and run by ComfyUI's Python) the host's figures are measured too, with ``--compile`` a compiled training step, which takes
minutes to compile. Figures that a run does not measure keep their last values.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]
import conftest  # noqa: E402, F401 - the pack under its name
import torch  # noqa: E402

RESULTS, PAGE = Path(__file__).with_name("results.json"), ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Figure:
    """One row of the page. ``value`` is a ratio to ``peer`` where there is one; ``goal`` is the largest value wanted, or the smallest
    if ``at_least``."""

    what: str
    value: float
    peer: str
    goal: float
    at_least: bool = False
    measured: str = ""  # date and machine

    def reached(self) -> bool:
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def command_line(runs: int) -> Iterator[Figure]:
    """Cold start of the command line."""
    from cold_start import generate_over_torch

    with tempfile.TemporaryDirectory() as folder:
        found = generate_over_torch(Path(folder), runs)
    yield Figure("`duet generate` with 8 steps, CPU time", found["ratio"], "`import torch`", 2.5)
    yield Figure("`duet generate` with 8 steps, peak memory in MB", found["megabytes"], "", 450)


def sampling(runs: int) -> Iterator[Figure]:
    """Guidance, and attention with closed directions."""
    import guidance

    yield Figure("step with UCG (3 passes), pocket model", guidance.passes(runs), "step with CFG (2 passes)", 1.55)
    seconds, gigabytes = guidance.split_over_mask()
    what = "attention of MiniMax H3's rows with both directions closed"
    yield Figure(f"{what}, time", seconds, "one attention with an n x n mask", 1.0)
    yield Figure(f"{what}, memory", gigabytes, "one attention with an n x n mask", 1.0)


def javisdit_v01(_runs: int) -> Iterator[Figure]:
    """One copy of the prior instead of one for each frame and location."""
    import prior_attention

    found = prior_attention.both()
    for part, what in (("attention", "the prior's attentions"), ("layer", "a layer of the network")):
        ratio = 1 / found[f"{part}_ratio"]
        yield Figure(
            f"JavisDiT v0.1, {what} at 240p and 4 s, time", ratio, "the prior repeated, as in the reference", 0.4
        )


def javisdit_v10(folder: Path, runs: int) -> Iterator[Figure]:
    """A block beside the reference implementation."""
    import javisdit_reference

    found = javisdit_reference.measure(folder, runs=runs, frames=5, dtype=torch.float32)
    peer = "the reference implementation's block"
    yield Figure("JavisDiT v1.0, a block in float32, time", found["time"], peer, 0.95)
    yield Figure("JavisDiT v1.0, a block in float32, bytes allocated", found["allocated"], peer, 1.05)
    yield Figure("JavisDiT v1.0, a block in float32, largest difference of the output", found["difference"], peer, 1e-5)


def training(runs: int, *, compiled: bool) -> Iterator[Figure]:
    """How well a training step uses the processor."""
    from training import share_of_peak

    peer = "a matrix product of 2048 x 2048 in the same precision"
    for arm in (False, True) if compiled else (False,):
        how = " with `--compile`" if arm else ""
        share = share_of_peak(runs, compiled=arm)
        yield Figure(f"training step of the pocket network{how}, operations a second", share, peer, 0.4, at_least=True)


def host(runs: int) -> Iterator[Figure]:
    """The pack inside ComfyUI."""
    import guidance
    from cold_start import registering

    imported, registered = registering(runs)
    yield Figure("importing the pack in ComfyUI, CPU seconds", imported, "", 0.2)
    yield Figure("registering its nodes, CPU seconds", registered, "", 0.2)
    yield Figure("*Duet Guider* with CFG, extra time", guidance.host(runs), "ComfyUI's CFG guider", 0.03)


def measure(runs: int, javisdit: Path | None, *, compiled: bool) -> Iterator[Figure]:
    """All figures that can be measured here."""
    yield from command_line(runs)
    yield from sampling(runs)
    yield from javisdit_v01(runs)
    if javisdit is not None:
        yield from javisdit_v10(javisdit, runs)
    yield from training(runs, compiled=compiled)
    if "COMFYUI_PATH" in os.environ:
        yield from host(runs)


def page(figures: list[Figure]) -> str:
    """The page of the documentation."""
    rows = "".join(
        f"| {f.what} | {f.value:.3g} | {f.peer or '(absolute)'} | {'>=' if f.at_least else '<='} {f.goal:g} | "
        f"{'yes' if f.reached() else '**no**'} | {f.measured} |\n"
        for f in figures
    )
    return (
        "# Speed and memory\n\nEach figure is a ratio to the peer or floor beside it, measured alternately with it in one run; "
        "without a peer it is absolute\nand depends on the machine. Nothing here was measured on a GPU. "
        "Written by `python benchmarks/run.py --javisdit FOLDER`.\n\n"
        "Operations, bytes and passes of record are in `benchmarks/counts.json`; a test fails when a change raises one.\n\n"
        f"| figure | value | relative to | goal | reached | measured |\n|---|---|---|---|---|---|\n{rows}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--javisdit", type=Path, metavar="FOLDER")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    measured = f"{date.today()}, {platform.machine()}, {torch.get_num_threads()} thread(s)"
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    figures = {row["what"]: Figure(**row) for row in kept}
    for figure in measure(arguments.runs, arguments.javisdit, compiled=arguments.compile):
        figures[figure.what] = Figure(**{**asdict(figure), "measured": measured})
        print(f"{figure.what}: {figure.value:.3g} (goal {figure.goal:g})", flush=True)
        write(list(figures.values()))


def write(figures: list[Figure]) -> None:
    """Write the results and the page."""
    rows = [asdict(figure) for figure in figures]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
