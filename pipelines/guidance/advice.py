"""Advice on the settings of a strategy: parts without any effect, and scales far above the usual range."""

from __future__ import annotations

from .modifiers import APG, PlanScale, Rescale, Schedule, Window
from .strategy import FORMS, PLAIN, UCG, PerStreamCFG, Strategy, active_terms

HIGH = 10.0  # scales above it are far outside the usual range of 1 to 5


def advice(strategy: Strategy) -> list[str]:
    """Sentences about the outermost part of ``strategy``; a strategy that it modifies is not considered."""
    high = [
        f"The scale {name} is {value:g}; values above {HIGH:g} usually degrade the clip. 2 to 5 is usual."
        for name, value in _scales(strategy).items()
        if value > HIGH
    ]
    return [*high, *_without_effect(strategy)]


def _scales(strategy: Strategy) -> dict[str, float]:
    """The guidance scales that ``strategy`` uses, under the names that the user interface gives them."""
    if isinstance(strategy, UCG):
        weights = FORMS[strategy.form].weights
        text = {"video": strategy.video, "audio": strategy.audio} if weights(2, 1) != weights(1, 1) else {}
        cross = {"audio_to_video": strategy.a2v, "video_to_audio": strategy.v2a}
        return {**text, **(cross if weights(1, 2) != weights(1, 1) else {})}
    if isinstance(strategy, PerStreamCFG | PlanScale):
        return {"video": strategy.video, "audio": strategy.audio}
    return {}


def _without_effect(strategy: Strategy) -> list[str]:
    match strategy:
        case UCG() | PerStreamCFG() if active_terms(strategy.terms(1.0)) == {PLAIN: (1.0, 1.0)}:
            return [f"{' and '.join(_scales(strategy))} are 1, so this strategy has no effect."]
        case PlanScale(video=1, audio=1):
            return ["Both scales are 1, so the plan acts as it does without this node."]
        case Window() if strategy.start == strategy.end:
            return [
                f"The window starts and ends at noise level {strategy.start:g}, so the strategy is never applied. Set 'end' below "
                "'start'."
            ]
        case Schedule(start=0, end=0):
            return ["The strength is 0 at every step, so the strategy is never applied."]
        case Rescale(video=0, audio=0):
            return ["Both shares are 0, so nothing is rescaled."]
        case APG(parallel=1, limit=0):
            return ["parallel is 1 and limit is 0, so APG has no effect."]
    return []
