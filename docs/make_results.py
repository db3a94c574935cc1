"""Write docs/results from the tables of record: ``python docs/make_results.py``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from duet_av.pipelines.bench.suites import SUITES
from duet_av.pipelines.bench.tables import PAGES, TABLES, Table, markdown, plot, replaced, write_page
from duet_av.pipelines.training.ablations import context

METRICS = {
    "plan-ablation": "plan_realised",
    "adapter-ablation": "auroc_video",
}  # drawn for tables that no suite of `duet bench` writes
EARLIER = """**Measured with earlier decoders.** The network and everything else are those that ship; the decoders from latents to pictures
and sound have been replaced since then, so that the clips looked and sounded different."""
INDEX = """# Results

These pages are generated from the JSON tables in `weights/bench` by `python docs/make_results.py`. Every table records its
seed, the hashes of the weights and the git commit it was measured at. A difference `A-minus-B` is paired by prompt; p-values
in the JSON are adjusted within each metric (Holm).

| table | prompts | commit |
|---|---|---|
"""


def page(path: Path) -> str:
    """The page of one table."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["suite"] == "ablation":
        title, rest = context.page(data).split("\n", 1)
        return f"{title}\n\n![ablation](ablation.png)\n{rest}"
    text = markdown(Table.from_json(data), path.stem)
    return text if not replaced(data) else text.replace("\n\n", f"\n\n{EARLIER}\n\n", 1)


def figure(path: Path) -> Figure:
    """The plot of one table."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["suite"] == "ablation":
        return context.draw(data)
    suite = SUITES.get(data["suite"])
    draw = suite.draw if suite else partial(plot, metric=METRICS[data["suite"]])
    return draw(Table.from_json(data))


def index() -> str:
    """The page that lists the tables."""
    rows = []
    for path in sorted(TABLES.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        earlier = "" if data["suite"] == "ablation" or not replaced(data) else ", earlier decoders"
        rows.append(
            f"| [{path.stem}]({path.stem}.md) | {data.get('prompts', '')} | `{data['commit'][:10]}`{earlier} |\n"
        )
    return INDEX + "".join(rows)


def main() -> None:
    for path in sorted(TABLES.glob("*.json")):
        for written in write_page(PAGES / path.stem, page(path), figure(path)):
            print(written)
    (PAGES / "index.md").write_text(index(), encoding="utf-8")


if __name__ == "__main__":
    main()
