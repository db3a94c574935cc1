"""Provenance metadata of a video, collected from the graph upstream of the node that created it."""

from __future__ import annotations

from typing import Any

from comfy.cli_args import args

from ...pipelines.core.weights import KEY
from ...pipelines.media.provenance import ASSEMBLED, GENERATED, Provenance, file_hash, version
from ...pipelines.models.choose import POCKET, POCKET_LTX2, condition_files
from ...pipelines.models.ltx2 import pocket_config as ltx2
from ...pipelines.models.pocket import load as pocket
from ...pipelines.models.pocket.add_ons import reads_times
from ...pipelines.models.pocket.reading import captions_of
from .add_ons import add_on_path
from .clips import LimitedVideo
from .families import FOLDERS, licences, resolve
from .text import plain_text

LOADER, ADD_ON_LOADER = "DuetLoadAV", "DuetLoadAddOn"
WORDS = ("video", "audio", "prompt", "text", "negative", "value")  # inputs that may contain a prompt
SEEDS = ("seed", "noise_seed")
TIMED_PROMPT = "DuetTimedPrompt"
CONDITIONS = {  # loaders that use files of the pack without a file input -> the condition whose files they use
    "DuetLoadPlanner": "plan",
    "DuetLoadPrior": "prior",
    "DuetLoadAdapter": "adapter",
}
MODELS = {pocket.NAME.removeprefix("the "): POCKET, ltx2.NAME.removeprefix("the "): POCKET_LTX2}  # of the metadata
Graph = dict[str, dict[str, Any]]


def above(graph: Graph, node: str) -> list[str]:
    """``node`` and all nodes upstream of it, nearest first."""
    found, ahead = [], [node]
    while ahead:
        name = ahead.pop(0)
        if name in found or name not in graph:
            continue
        found.append(name)
        links = (value for value in graph[name].get("inputs", {}).values() if isinstance(value, list) and value)
        ahead += [str(link[0]) for link in links]
    return found


def of_graph(graph: Graph, node: str) -> Provenance:
    """Models, licences, prompts and seeds found upstream of ``node``."""
    out: Provenance = {"pack": f"Duet {version()}"}
    weights, terms, prompts, positive, seeds, others, conditions, timed = {}, [], [], [], {}, {}, [], False
    for name in above(graph, node):
        kind, inputs = graph[name].get("class_type", ""), graph[name].get("inputs", {})
        values = {key: value for key, value in inputs.items() if not isinstance(value, list)}
        if kind == LOADER and set(FOLDERS) <= set(values):
            family, paths = resolve(values)
            out["model"] = family.removeprefix("the ")
            weights |= {path.name: file_hash(path) if path.is_file() else "a folder" for path in paths.values()}
            terms += licences(family, paths, values)
        elif kind in CONDITIONS:
            conditions.append(CONDITIONS[kind])
        elif kind == TIMED_PROMPT and inputs.get("strength") and (inputs.get("timeline") or "plan" in inputs):
            timed = True
        elif kind == ADD_ON_LOADER:
            path = add_on_path(values["file"])
            weights[path.name] = file_hash(path)
        elif "Load" in kind:
            others |= {f"{kind} {key}": value for key, value in values.items() if isinstance(value, str)}
        words = {key: values[key] for key in WORDS if isinstance(values.get(key), str) and values[key].strip()}
        prompts += words.values()
        positive += [plain_text(text) for key, text in words.items() if key != "negative"]
        seeds |= {f"{kind} {name}": values[key] for key in SEEDS if key in values}
    if (model := MODELS.get(out.get("model", ""))) is not None:
        trained = reads_times if model == POCKET else ltx2.reads_times
        conditions += ["timed"] if timed and any(trained(base) for base in weights.values()) else []
        files = [path for condition in conditions for path in condition_files(model, condition).values()]
        weights |= {path.name: file_hash(path) for path in files if path.is_file()}
        out["prompts read as"] = captions_of(positive)
    out["origin"] = GENERATED if seeds else ASSEMBLED
    rest = {"weights": weights, "licence": strictest(terms), "prompts": prompts, "seeds": seeds, "files": others}
    return out | {key: value for key, value in rest.items() if value}


def strictest(terms: list[str]) -> str:
    """The most restrictive licence; an unknown licence counts as more restrictive than a stated one."""
    for sign in ("non-commercial", "not stated", "stated by"):
        if found := [term for term in terms if sign in term]:
            return found[0]
    return terms[0] if terms else ""


def file_metadata(graph: Graph, node: str) -> dict[str, Any]:
    """The metadata of a file that ``node`` writes; nothing if the host runs with --disable-metadata."""
    return {} if args.disable_metadata else {KEY: of_graph(graph, node)}


class TracedVideo(LimitedVideo):
    """A video that is saved with provenance metadata, unless the host runs with --disable-metadata."""

    def __init__(self, components: Any, provenance: Provenance) -> None:
        super().__init__(components)
        self.provenance = provenance

    def save_to(self, path: Any, *positional: Any, metadata: dict[str, Any] | None = None, **named: Any) -> None:
        # The host's own keywords pass through: crf and color_space since 0.29, preset in 0.38.
        own = {} if args.disable_metadata else {KEY: self.provenance}
        super().save_to(path, *positional, metadata={**(metadata or {}), **own} or None, **named)
