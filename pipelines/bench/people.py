"""Sixty prompts written by hand as people type them, before the prompt reader existed, with what each asks for.

Odd-numbered prompts were looked at while the reader's tables were written (``tuned``), even-numbered ones were not (``held-out``).

What a prompt asks for is written as subjects joined by ``+``: an optional number, an optional colour, the kind, and optionally
``silent``, ``unseen`` or a number of events (``slow`` and ``fast`` are the ranges of the world's tempi in 2 s, with one event of slack).
``refused`` marks a prompt whose subject the world does not have.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..world.scene import COLOURS, KINDS, SILENT

TUNED, HELD_OUT = "tuned", "held-out"
REFUSED = "refused"
EVENTS = {"once": (1, 1), "twice": (2, 2), "thrice": (3, 3), "five": (5, 5), "slow": (1, 3), "fast": (3, 6)}

_LIST = """
a ball | ball
a red ball bouncing | red ball
two red balls | 2 red ball
a big blue ball that bounces fast | blue ball fast
please make a video of a bell ringing | bell
tiny green bird tweeting in the grass | green bird
A bird is singing in the morning | bird
a yellow lamp blinking in the dark | yellow lamp
lantern flashing slowly in the desert at the left side | lamp slow
someone hits a drum twice | drum twice
a drum being hit three times | drum thrice
a purple ball hops once | purple ball once
the clock ticks rapidly | clock fast
a white clock on the right, ticking | white clock
a ball bounces and a bell rings | ball + bell
red drum on the left and a blue bell on the right | red drum + blue bell
first a drum beats, then a bird chirps | drum + bird
a bell chimes and then a green lamp flashes | bell + green lamp
a silent bell | bell silent
a ball bouncing with no sound | ball silent
blue ball, no audio | blue ball silent
a white cloud floating over a meadow | white cloud
a yellow star spinning at night | yellow star
a cloud and a ball | cloud + ball
a dog barks | refused
a car drives down the street | refused
a cat meowing next to a bell | refused
A woman playing the piano | refused
rain falling on a roof | refused
a guitar | refused
I want to see a huge purple drum | purple drum
can you show me a small white bird on the left side of the screen? | white bird
ball | ball
bell ringing | bell
two birds chirping | 2 bird
a red bell and a green bell | red bell + green bell
a lamp flashes quickly while a clock ticks slowly | lamp fast + clock slow
a bell that rings only one time | bell once
a bird you can't see is chirping | bird unseen
an off-screen bell rings while a star spins | bell unseen + star
sound of a drum | drum
light flickering in a dark desert | lamp
a fast bouncing green ball on a lawn | green ball fast
on the right there is a yellow bell, it rings slowly | yellow bell slow
a golden bell rings twice | yellow bell twice
slow ticking of a big clock | clock slow
the red lamp on the left blinks and the blue lamp on the right blinks | red lamp + blue lamp
A small red ball is bouncing in a green meadow. | red ball
a bouncing ball in the night, with a bird singing | ball + bird
a drum plays then stops and a bell rings | drum + bell
a drum beats and after that a clock ticks | drum + clock
white ball bounces five times | white ball five
make a video with a purple star and a yellow bird | purple star + yellow bird
a giant blue clock, silent | blue clock silent
little bird sitting in the middle, tweet tweet | bird
a ball that is green | green ball
violet lamp glowing on and off, muted | purple lamp silent
a bell rings, the bell is red | red bell
the ball jumps up and down quickly | ball fast
funny cartoon clip: a scarlet ball bounces at night, loud music | red ball
"""


@dataclass(frozen=True)
class Wanted:
    """One kind that a prompt asks for. ``colour`` is '' and ``events`` None where the prompt leaves them open."""

    kind: str
    colour: str = ""
    number: int = 1
    events: tuple[int, int] | None = None
    heard: bool = True
    seen: bool = True


@dataclass(frozen=True)
class PeoplePrompt:
    """A prompt and what it asks for; nothing if it must be refused."""

    text: str
    half: str
    wanted: tuple[Wanted, ...]

    @property
    def refused(self) -> bool:
        return not self.wanted


def _wanted(text: str) -> Wanted:
    words = text.split()
    kind = next(word for word in words if word in KINDS)
    return Wanted(
        kind,
        next((word for word in words if word in COLOURS), ""),
        next((int(word) for word in words if word.isdigit()), 1),
        next((EVENTS[word] for word in words if word in EVENTS), None),
        heard="silent" not in words and kind not in SILENT,
        seen="unseen" not in words,
    )


def people_prompts() -> list[PeoplePrompt]:
    """The sixty prompts in order."""
    out = []
    for k, line in enumerate(_LIST.strip().splitlines()):
        text, truth = (part.strip() for part in line.split(" | "))
        wanted = () if truth == REFUSED else tuple(map(_wanted, truth.split(" + ")))
        out.append(PeoplePrompt(text, HELD_OUT if k % 2 else TUNED, wanted))
    return out
