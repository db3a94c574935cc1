"""Few steps, with guidance in each or at high noise levels only: the best setting within a budget of passes, compared with the setting
of record, which is 25 Euler steps with the default guidance in each. The few steps are those of ``multistep``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

from matplotlib.figure import Figure

from ...guidance.modifiers import Window
from ...guidance.sampling import flow_sigmas
from ...guidance.strategy import DEFAULT, UCG, passes_per_step
from ..prompts import AUDIBLE, DEVELOPMENT, bench_prompts
from ..runner import RECORD_STEPS, Rows, Run, Variant, differences, run_variants, summarise
from ..tables import Table
from .guidance import ATTRIBUTES, DEVELOPMENT_SHARE, Found, attribute_floor, best_setting, development_scores

MOST_PASSES = 24  # per clip
SAMPLER = "multistep"
STEPS = (6, 8, 10)
UNTIL = (
    0.5,
    0.0,
    0.4,
    0.58,
    0.7,
)  # noise levels below which a step is not guided; 0.6 is a level of 6 steps up to rounding
FORMS, CONTEXT, TEXT = ("U2", "U2'", "U3"), (2.0, 3.0, 5.0), DEFAULT.video
LEAST_PROMPTS = 250  # for a comparison that can change the default
TOLERATED_SYNC = 0.02  # largest loss of normalised synchrony that the 95 % interval may include
TOLERATED_LOSS = 0.01  # largest mean loss of kind, side or colour accuracy
RECORD = Variant(f"{RECORD_STEPS}-steps", DEFAULT, steps=RECORD_STEPS)
CHOSEN = "few-chosen"


@dataclass(frozen=True)
class Setting:
    """Guidance down to the noise level ``until`` of a clip with ``steps`` steps; at 0 every step is guided."""

    form: str
    context: float
    steps: int
    until: float

    @property
    def name(self) -> str:
        return f"{self.form} {self.context:g}, {self.steps} steps, until {self.until:g}"

    @property
    def strategy(self) -> Window:
        return Window(UCG(self.form, TEXT, TEXT, self.context, self.context), 1.0, self.until)

    @property
    def passes(self) -> int:
        """Network passes of a clip."""
        return sum(passes_per_step(self.strategy, sigma) for sigma in flow_sigmas(self.steps).tolist()[:-1])

    def variant(self, name: str) -> Variant:
        return Variant(name, self.strategy, steps=self.steps, sampler=SAMPLER)


def ranges() -> list[Setting]:
    """The form and scales of record with each number of steps and each range of noise levels, within ``MOST_PASSES``, cheapest
    first, so that of equally good ones the cheapest is chosen; of those that guide the same steps, only the first."""
    every = [Setting(DEFAULT.form, DEFAULT.a2v, steps, until) for steps in STEPS for until in UNTIL]
    distinct: dict[tuple[int, int], Setting] = {}
    for setting in every:
        if setting.passes <= MOST_PASSES:
            distinct.setdefault((setting.steps, setting.passes), setting)
    return sorted(distinct.values(), key=lambda setting: setting.passes)


def scales(best: Setting) -> list[Setting]:
    """``best`` with every form and scale."""
    return [replace(best, form=form, context=context) for form in FORMS for context in CONTEXT]


def measure(run: Run) -> Table:
    """The setting chosen on the development list and the setting of record, on the prompts with an audible source."""
    found: Found = {}
    setting = _choose(run, found)
    prompts = bench_prompts(run.prompts, run.seed, strata=AUDIBLE)
    records = run_variants([RECORD, setting.variant(CHOSEN)], prompts, run)
    rows = {name: summarise(part) for name, part in records.items()}
    seconds = [rows[name]["all"]["seconds"].mean for name in (RECORD.name, CHOSEN)]
    difference = f"{CHOSEN}-minus-{RECORD.name}"
    rows[difference] = differences(records[CHOSEN], records[RECORD.name])
    notes = {
        CHOSEN: setting.name,
        "passes a clip": f"{setting.passes} instead of {round(rows[RECORD.name]['all']['passes'].mean)}",
        "time of a clip relative to 25 steps": round(seconds[1] / seconds[0], 3),
        "equivalent to 25 steps": "; ".join(shortcomings(rows[difference])) or "yes",
        "development": found,
    }
    return Table("few-steps", len(prompts), run.seed, rows, notes)


def shortcomings(difference: Rows) -> list[str]:
    """The rules that ``difference``, few steps minus the setting of record, does not satisfy; none if few steps can be the default. An
    attribute may not be lower by more than ``TOLERATED_LOSS``, nor its interval entirely below zero."""
    means = difference["all"]
    sync, attributes = means["sync_normalised"], {name: means[name] for name in ATTRIBUTES}
    failed = [] if sync.n >= LEAST_PROMPTS else [f"no: {sync.n} prompts, at least {LEAST_PROMPTS} are required"]
    failed += [] if sync.low >= -TOLERATED_SYNC else [f"no: sync_normalised may be {-sync.low:.3f} lower"]
    lower = {name: a.mean for name, a in attributes.items() if a.mean < -TOLERATED_LOSS or a.high < 0}
    return failed + [f"no: {name} is {-mean:.3f} lower" for name, mean in lower.items()]


def _choose(run: Run, found: Found) -> Setting:
    """The setting with the highest synchrony F1 on the development list that keeps the attributes of 25 steps: first the steps and the
    range of noise levels, then the form and scale. Scores of all settings are added to ``found``."""
    listed = bench_prompts(round(DEVELOPMENT_SHARE * run.prompts), DEVELOPMENT, strata=AUDIBLE)

    def score(variants: list[Variant]) -> None:
        tried = [replace(v, normalise=False) for v in variants if v.name not in found]
        records = run_variants(tried, listed, run)
        found.update({name: development_scores(part) for name, part in records.items()})

    def best(settings: list[Setting]) -> Setting:
        score([setting.variant(setting.name) for setting in settings])
        by_name = {setting.name: setting for setting in settings}
        return by_name[best_setting(by_name, found, attribute_floor(found[RECORD.name]))]

    score([RECORD])
    return best(scales(best(ranges())))


def draw(table: Table) -> Figure:
    """Synchrony and mean attribute accuracy against passes per clip, for every setting tried on the development list."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    found: Found = table.notes["development"]
    left, right = figure.subplots(1, 2)
    for axes, label, value in zip(
        (left, right),
        ("sync_f1", "kind, side and colour accuracy, mean"),
        (lambda scores: scores["sync_f1"], lambda scores: fmean(scores[a] for a in ATTRIBUTES)),
        strict=True,
    ):
        for form in FORMS:
            points = [scores for name, scores in found.items() if name.startswith(f"{form} ")]
            axes.plot([s["passes"] for s in points], [value(s) for s in points], "o", label=form, alpha=0.7)
        for name, style in ((table.notes[CHOSEN], "ks"), (RECORD.name, "k*")):
            label_of = "25 steps" if name == RECORD.name else "chosen"
            axes.plot(found[name]["passes"], value(found[name]), style, markersize=13, fillstyle="none", label=label_of)
        axes.set_xlabel("network passes per clip")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    right.legend(fontsize=8)
    figure.suptitle("Suite few-steps: development list")
    return figure
