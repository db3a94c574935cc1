"""Timed text: whether events happen when they are asked for. One object with one to four events, at regular or irregular times.

Variants: 'none' states no times; 'words' writes them after the caption ('at 1.2 seconds'); 'segments' is the known formula, texts
restricted to whole video latent frames; 'timed' is ``guidance.timed`` without training, 'timed-trained' with the LoRA that was
trained to read it; 'sound' and 'sound-trained' ask for the sound of the events only; 'plan' uses the trained plan layers.
``picture_change`` repeats a clip with every event moved, with the same noise: the mean absolute difference of the frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from ...core.sizes import ClipShape, video_latent_seconds
from ...core.statistics import mean_interval
from ...core.streams import Clip
from ...core.timed_events import BOTH, TimedEvent, TimedEvents
from ...guidance.strategy import default_strategy
from ...models.choose import POCKET, load_model, with_condition, with_timed_text
from ...models.ltx2.pocket_config import TIMED_FILE, TIMED_KIND, read_file
from ...models.planner.load import load_planner
from ...models.planner.request import join_plans
from ...models.pocket.generate import Request, generate
from ...models.pocket.load import PocketModel
from ...sync.events import match
from ...world.scene import Scene
from ...world.truth import timeline_of
from ..plan_scores import REALISED_SECONDS
from ..prompts import Prompt, bench_prompts
from ..readings import Probes, Reading, read
from ..runner import RECORD, RECORD_STEPS, Rows, Run
from ..scores import Scores
from ..tables import Table

SHARE = 160  # of 1,000 prompts have a single object
FIRST, LAST, LEAST_GAP = 0.2, 1.8, 0.3  # seconds between which events are asked for, and between two events
MOVED = 0.13  # seconds by which moved events are earlier or later
BATCH = 20
TRAINED = "-trained"  # suffix of the variants with the LoRA of timed text


@dataclass(frozen=True)
class Case:
    """One object, its caption, the times asked for, and the seed of the noise."""

    scene: Scene
    prompt: Prompt
    times: tuple[float, ...]

    @property
    def stratum(self) -> str:
        return f"{len(self.times)} events" if len(self.times) > 1 else "1 event"

    def events(
        self, streams: tuple[str, ...] = BOTH, *, of: Callable[[float], TimedEvent] | None = None
    ) -> TimedEvents:
        """The events of this case in ``streams``, from their times."""
        kind = self.scene.subjects[0].kind
        make = of or (lambda t: TimedEvent.at(t, kind))
        return TimedEvents(tuple(replace(make(t), text=kind, streams=streams) for t in self.times))

    def moved(self) -> Case:
        """The same case with every event moved by ``MOVED``, away from the nearer end of the clip; caption and noise stay the same."""
        shift = MOVED if sum(self.times) / len(self.times) < self.scene.seconds / 2 else -MOVED
        return replace(self, times=tuple(t + shift for t in self.times))


def draw_times(rng: Random, count: int, *, regular: bool) -> tuple[float, ...]:
    """``count`` times in order, at least ``LEAST_GAP`` apart."""
    spare = LAST - FIRST - LEAST_GAP * (count - 1)
    if regular:
        gap = LEAST_GAP + (spare / (count - 1) * rng.random() if count > 1 else 0.0)
        start = rng.uniform(FIRST, LAST - gap * (count - 1))
        return tuple(round(start + k * gap, 3) for k in range(count))
    cuts = sorted(rng.uniform(0, spare) for _ in range(count))
    return tuple(round(FIRST + cut + k * LEAST_GAP, 3) for k, cut in enumerate(cuts))


def timed_cases(count: int, seed: int) -> list[Case]:
    """Cases with one to four events in turn, irregular and regular; objects and scenery are those of the bench's single prompts."""
    cases = []
    for k, prompt in enumerate(bench_prompts(round(count * 1000 / SHARE), seed, strata=("single",))[:count]):
        number, (subject,) = 1 + k % 4, prompt.scene.subjects
        times = draw_times(Random(f"duet timed 1/{prompt.seed}"), number, regular=bool(k // 4 % 2))
        tempo = ("once", "slowly", "quickly", "quickly")[number - 1]
        scene = replace(prompt.scene, subjects=(replace(subject, tempo=tempo, times=times),))
        cases.append(Case(scene, replace(prompt, scene=scene), times))
    return cases


def on_the_grid(time: float, seconds_each: float) -> TimedEvent:
    """An event over the whole video latent frame that contains ``time``."""
    start = time // seconds_each * seconds_each
    return replace(TimedEvent.at(time, "event"), start=start, end=start + seconds_each)


def request_of(variant: str, cases: Sequence[Case], shape: ClipShape) -> Request:
    """The request of a variant, without plans."""
    texts = [case.prompt.text for case in cases]
    if variant == "words":
        texts = [
            f"{text} at {' and '.join(f'{t:.1f}' for t in c.times)} seconds"
            for text, c in zip(texts, cases, strict=True)
        ]
    each = video_latent_seconds(shape.fps)
    timed = {
        "timed": lambda case: case.events(),
        "sound": lambda case: case.events(("audio",)),
        "segments": lambda case: case.events(of=lambda t: on_the_grid(t, each)),
    }.get(variant.removesuffix(TRAINED))
    return Request(
        texts,
        seed=cases[0].prompt.seed,
        **RECORD,
        shape=shape,
        as_written=variant == "words",
        timed=None if timed is None else [timed(case) for case in cases],
    )


def timed_scores(case: Case, reading: Reading, streams: tuple[str, ...]) -> Scores:
    """``hit_asked``: share of the events within 125 ms in every stream asked for; ``hit_both``: in both streams. ``false_events``: events
    of any kind that are heard or seen anywhere else, both streams together."""
    kind = case.scene.subjects[0].kind
    found = {"video": reading.seen.events, "audio": reading.heard}
    hits = {
        name: {t for t, _ in match(case.times, events.get(kind, ()), tolerance=REALISED_SECONDS)}
        for name, events in found.items()
    }
    number = sum(len(times) for events in found.values() for times in events.values())
    wanted = sum(len(hits[name]) for name in streams)
    share = lambda names: sum(all(t in hits[name] for name in names) for t in case.times) / len(case.times)  # noqa: E731
    out = {"hit_asked": share(streams), "false_events": float(number - wanted)}
    return out | ({"hit_both": share(BOTH)} if streams == BOTH else {})


def difference(before: Clip, after: Clip) -> float:
    """Mean absolute difference of the frames in steps of 8 bits, 0 to 255."""
    return 255 * float((before.frames - after.frames).abs().mean())


@dataclass(frozen=True)
class Bench:
    """The model without add-ons, with the LoRA of timed text and with plan layers, and the probes."""

    model: PocketModel
    trained: PocketModel
    planned: PocketModel
    probes: Probes

    @classmethod
    def load(cls, name: str) -> Bench:
        """The bench of a model.

        Raises:
            ValueError: the LoRA for timed text is not there, or was trained on another base.
        """
        if name != POCKET:
            read_file(TIMED_FILE, TIMED_KIND)
        model = load_model(name)
        planned = with_condition(model, "plan")
        trained = with_timed_text(model)
        if trained is model:
            raise ValueError(
                f"The LoRA for timed text was trained on another base than the model {name!r} that ships. Train it again with 'duet train'."
            )
        return cls(model, trained, planned, Probes.load())

    def clips(self, variant: str, cases: Sequence[Case]) -> list[Clip]:
        """The clips of a variant; cases of one batch have consecutive seeds."""
        request = request_of(variant, cases, ClipShape())
        if variant != "plan":
            return generate(self.trained if variant.endswith(TRAINED) else self.model, request, batch=BATCH)
        planner = load_planner()
        plans = [planner.plan(c.prompt.text, "", timeline_of(c.scene)).streams for c in cases]
        return generate(self.planned, replace(request, plan=join_plans(plans)), batch=BATCH)


TIMED = ("timed", "sound", f"timed{TRAINED}", f"sound{TRAINED}")  # also repeated with moved events
VARIANTS = ("none", "words", "segments", *TIMED, "plan")
COMPARED = (("timed", "none"), ("timed", "segments"), (f"timed{TRAINED}", "timed"), (f"timed{TRAINED}", "plan"))


def measure(run: Run) -> Table:
    """Every variant on the same cases and noise."""
    bench, cases = Bench.load(run.model), timed_cases(run.prompts, run.seed)
    records: dict[str, list[tuple[Case, Scores]]] = {name: [] for name in VARIANTS}
    for start in range(0, len(cases), BATCH):
        part = cases[start : start + BATCH]
        for name in VARIANTS:
            streams = ("audio",) if name.startswith("sound") else BOTH
            clips = bench.clips(name, part)
            found = [timed_scores(c, r, streams) for c, r in zip(part, read(bench.probes, clips), strict=True)]
            if name in TIMED:
                again = bench.clips(name, [case.moved() for case in part])
                for scores, a, b in zip(found, clips, again, strict=True):
                    scores["picture_change"] = difference(a, b)
            records[name] += zip(part, found, strict=True)
        run.on_chunk(len(part))
    rows = {name: _rows(part) for name, part in records.items()}
    for a, b in COMPARED:
        rows[f"{a}-minus-{b}"] = _rows(
            [
                (case, {metric: x - other[metric] for metric, x in own.items() if metric in other})
                for (case, own), (_, other) in zip(records[a], records[b], strict=True)
            ],
            difference=True,
        )
    strategy = default_strategy(trained_null=bench.model.network.trained_null)
    return Table("timed", len(cases), run.seed, rows, {"steps": RECORD_STEPS, "guidance": repr(strategy)}, run.model)


def _rows(records: Sequence[tuple[Case, Scores]], *, difference: bool = False) -> Rows:
    rows: Rows = {}
    for stratum in ("all", "1 event", "2 events", "3 events", "4 events"):
        part = [scores for case, scores in records if stratum in ("all", case.stratum)]
        names = dict.fromkeys(name for scores in part for name in scores)
        metrics = {n: mean_interval([s[n] for s in part if n in s], difference=difference) for n in names}
        rows |= {stratum: metrics} if metrics else {}
    return rows
