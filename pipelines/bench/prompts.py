"""The fixed prompts of the world bench: held-out compositions, 40 % with an audible source in view, 30 % with a silent
object, 30 % with an off-screen sound."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count as count_up
from itertools import islice

from ..world import Scene, caption, make_scene

DEVELOPMENT, TEST = 500, 1000  # seeds of the two lists: settings are chosen on the first and reported on the second
FULL = 1000  # prompts in the full list
SHARES = {"single": 160, "sequential": 80, "simultaneous": 80, "reasoning": 80, "silent": 300, "offscreen": 300}
AUDIBLE = ("single", "sequential", "simultaneous", "reasoning")  # synchrony is defined on these strata only
STRATA = ("all", *SHARES)


@dataclass(frozen=True)
class Prompt:
    """One scene of the bench, and the seed of its noise."""

    stratum: str
    scene: Scene
    seed: int

    @property
    def text(self) -> str:
        return caption(self.scene)

    @property
    def audible(self) -> bool:
        """Whether something in view is audible by design, so that synchrony is defined."""
        return self.stratum in AUDIBLE


def _caption_states_silence(scene: Scene) -> bool:
    """Whether the caption mentions every muted object. A model cannot know of a silence that the caption does not mention."""
    return all(s.heard or s.said or not s.times for s in scene.subjects)


def bench_prompts(count: int, seed: int, *, strata: tuple[str, ...] = tuple(SHARES)) -> list[Prompt]:
    """Prompts of ``strata``: ``count`` thousandths of ``SHARES``, and at least two of each. A longer list of a stratum starts with the
    shorter one."""
    prompts = []
    for stratum in strata:
        first = seed * 100_000 + 1000 * list(SHARES).index(stratum)
        world = "muted" if stratum == "silent" else stratum
        scenes = (make_scene(seed, index, stratum=world, split="test") for index in count_up())
        usable = (scene for scene in scenes if stratum == "reasoning" or _caption_states_silence(scene))
        number = max(2, round(SHARES[stratum] * count / FULL))
        prompts += [Prompt(stratum, scene, first + k) for k, scene in enumerate(islice(usable, number))]
    return prompts
