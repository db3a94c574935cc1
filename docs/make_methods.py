"""Write docs/methods.md: the effect of every method on every backbone: ``python docs/make_methods.py``."""

from __future__ import annotations

import json
from dataclasses import dataclass

from matplotlib.figure import Figure

from duet_av.pipelines.bench.tables import PAGES, TABLES, Table, cell, write_page
from duet_av.pipelines.core.statistics import Interval
from duet_av.pipelines.core.weights import WEIGHTS, load_weights, stored_kind

HEAD = """# Methods and backbones

What each method changes on each backbone: the difference of a metric, paired by prompt, mean [95 % interval] on held-out
prompts unless stated. Both backbones generate the pocket world; pocket LTX-2 has LTX-2's architecture. The numbers come from the
tables that the links name (`python docs/make_methods.py`). *Not measured* does not mean that there is no effect.

![methods](methods.png)

| method | difference of | backbone | effect | what is trained |
|---|---|---|---|---|
"""
NOTES = """
- *Synchrony* is `sync_normalised` (0 = chance, 1 = what the codecs allow), *realised* the share of planned events that occur within
  125 ms in both streams, *hits* the same for timed events.
- Guidance by the other stream needs a third pass of the network in the steps in which it is on. Plans, priors, the adapter and timed
  text need no further pass.
- What training costs on your own LTX-2: [training](training.md). Nobody has trained these methods at that size yet.
"""
POCKET, LTX2 = "pocket", "pocket LTX-2"
BASE = "pocket-av"  # a method whose parameters are part of the base
NOT_BUILT = "not built"  # a method without layers for the backbone


@dataclass(frozen=True)
class Effect:
    """One row: a difference in a table of record (``row``, ``metric``), and the weights file that the method adds to the backbone."""

    method: str
    backbone: str
    of: str
    table: str
    row: str
    metric: str
    file: str = ""

    @property
    def value(self) -> Interval | None:
        """The difference over all prompts; ``None`` if it was not measured."""
        path = TABLES / f"{self.table}.json"
        if not path.is_file():
            return None
        rows = Table.from_json(json.loads(path.read_text(encoding="utf-8"))).rows
        return rows.get(self.row, {}).get("all", {}).get(self.metric)

    @property
    def trained(self) -> str:
        """The number of parameters that the method trains."""
        if self.file == BASE:
            return "with the base"
        if self.file == NOT_BUILT:
            return "no layers yet"
        if not self.file:
            return "nothing"
        path = WEIGHTS / f"{self.file}.safetensors"
        if not path.is_file():
            return f"`{self.file}`, not shipped"
        tensors = load_weights(path, str(stored_kind(path))).tensors
        return f"{sum(value.numel() for value in tensors.values()):,} parameters"


SYNC = "sync_normalised"
EFFECTS = (
    Effect("UCG, trained null (CCL)", POCKET, "synchrony", "guidance", "ucg-chosen-minus-cfg-chosen", SYNC, BASE),
    Effect("the same, untrained null", POCKET, "synchrony", "guidance", "masked-null-chosen-minus-cfg-chosen", SYNC),
    Effect(
        "UCG, trained null (CCL)", LTX2, "synchrony", "guidance-pocket-ltx2-context",
        "ucg-chosen-minus-cfg-chosen", SYNC, "pocket-ltx2-context",
    ),
    Effect(
        "LTX-2's modality guidance 1.5, untrained null (development prompts)", LTX2, "synchrony", "modality-pocket-ltx2",
        "both 1.5-minus-cfg 3", SYNC,
    ),
    Effect("plan of the true clip (Baton)", POCKET, "realised", "plan", "oracle-minus-none", "plan_realised", "pocket-plan"),
    Effect("the planner's own plan (Baton)", POCKET, "synchrony", "plan", "timeline-minus-none", SYNC, "pocket-plan"),
    Effect(
        "plan of the true clip (Baton)", LTX2, "realised", "plan-pocket-ltx2", "oracle-minus-none", "plan_realised", "pocket-ltx2-plan",
    ),
    Effect("the planner's own plan (Baton)", LTX2, "synchrony", "plan-pocket-ltx2", "timeline-minus-none", SYNC, "pocket-ltx2-plan"),
    Effect("prior of the true clip (HiST-Sypo)", POCKET, "realised", "prior", "oracle-minus-none", "plan_realised", "pocket-prior-layers"),
    Effect("random draw of the prior (HiST-Sypo)", POCKET, "synchrony", "prior", "prior-1-minus-none", SYNC, "pocket-prior-layers"),
    Effect("prior (HiST-Sypo)", LTX2, "realised", "prior-pocket-ltx2", "oracle-minus-none", "plan_realised", NOT_BUILT),
    Effect(
        "audio through the masked adapter alone, minus the network's own route (SAVA)", POCKET, "synchrony", "adapter",
        "adapter-v2a-minus-native-v2a", SYNC, "pocket-adapter-v2a",
    ),
    Effect(
        "masked adapter (SAVA)", LTX2, "synchrony", "adapter-pocket-ltx2", "adapter-v2a-minus-native-v2a", SYNC, NOT_BUILT,
    ),
    Effect("timed text, untrained (ours)", POCKET, "hits", "timed", "timed-minus-none", "hit_both"),
    Effect("timed text, trained minus untrained (ours)", POCKET, "hits", "timed", "timed-trained-minus-timed", "hit_both", "pocket-timed"),
    Effect("timed text, untrained (ours)", LTX2, "hits", "timed-pocket-ltx2", "timed-minus-none", "hit_both"),
    Effect(
        "timed text, trained minus untrained (ours)", LTX2, "hits", "timed-pocket-ltx2",
        "timed-trained-minus-timed", "hit_both", "pocket-ltx2-timed",
    ),
)  # fmt: skip


def methods_page() -> str:
    """The page."""
    rows = []
    for effect in EFFECTS:
        value = effect.value
        found = "not measured" if value is None else f"[{_signed(value)}](results/{effect.table}.md)"
        rows.append(f"| {effect.method} | {effect.of} | {effect.backbone} | {found} | {effect.trained} |\n")
    return HEAD + "".join(rows) + NOTES


def _signed(value: Interval) -> str:
    return f"{'+' if value.mean >= 0 else ''}{cell(value)}"


def methods_figure() -> Figure:
    """The measured effects with their intervals, a colour for each backbone."""
    shown = [(effect, value) for effect in reversed(EFFECTS) if (value := effect.value) is not None]
    figure = Figure(figsize=(9, 0.38 * len(shown) + 1), layout="constrained")
    axes = figure.subplots()
    for backbone, colour in ((POCKET, "tab:blue"), (LTX2, "tab:orange")):
        own = [(y, value) for y, (effect, value) in enumerate(shown) if effect.backbone == backbone]
        means = [value.mean for _, value in own]
        spread = [[v.mean - v.low for _, v in own], [v.high - v.mean for _, v in own]]
        axes.errorbar(means, [y for y, _ in own], xerr=spread, fmt="o", capsize=3, color=colour, label=backbone)
    axes.set_yticks(range(len(shown)), [f"{effect.method}: {effect.of}" for effect, _ in shown], fontsize=8)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("difference, 95 % interval over prompts")
    axes.grid(axis="x", alpha=0.3)
    axes.legend()
    return figure


def main() -> None:
    for written in write_page(PAGES.parent / "methods", methods_page(), methods_figure()):
        print(written)


if __name__ == "__main__":
    main()
