"""Video of the world: anti-aliased signed distance fields, batched over clips and frames.

Each kind shows its events (the ball touches the floor, the bell starts to swing, ...). A muted source moves without completing that
movement, so its silence is visible. Lengths are in frame heights; y points down.

Letters: n subjects, t frames, h rows, w columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from ..core.sizes import ClipShape
from .scene import KINDS, SILENT, Scene, Subject

RADIUS = {"small": 0.11, "large": 0.16}
FLOOR_Y = 0.88
RGB = {
    "red": (0.92, 0.2, 0.18),
    "green": (0.2, 0.8, 0.3),
    "blue": (0.25, 0.45, 1.0),
    "yellow": (0.98, 0.85, 0.2),
    "purple": (0.7, 0.3, 0.85),
    "white": (0.95, 0.95, 0.95),
}
SKY = {
    "night": ((0.14, 0.15, 0.3), (0.2, 0.17, 0.28)),
    "meadow": ((0.45, 0.65, 0.85), (0.25, 0.45, 0.2)),
    "desert": ((0.75, 0.68, 0.6), (0.55, 0.4, 0.25)),
}
WOOD = (0.8, 0.6, 0.35)
PAPER = (0.85, 0.83, 0.78)
SCENERY_TOLERANCE = 0.06  # difference per channel that a video codec may cause
NEVER = 1e3  # seconds to an event that does not exist

Layer = tuple[Tensor, Tensor]  # coverage [n, t, h, w] in 0..1 and colour [n, t or 1, 3]


@dataclass(frozen=True)
class Group:
    """Subjects of one kind, prepared for drawing. Tensors are [n, t, 1, 1], except ``colour`` [n, 1, 3] and the coordinates."""

    x: Tensor
    radius: Tensor
    colour: Tensor
    heard: Tensor  # 1 or 0
    since: Tensor  # seconds since the last event
    until: Tensor  # seconds to the next event
    count: Tensor  # events so far
    fall: Tensor  # seconds a ball needs from its highest point to the floor
    time: Tensor
    px: Tensor  # coordinates of the pixels' centres, [1, 1, h, w]
    py: Tensor  # [1, 1, h, w]

    def disc(self, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
        """Coverage of a disc."""
        return self.cover(torch.hypot(self.px - x, self.py - y) - radius)

    def line(self, x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor, width: Tensor) -> Tensor:
        """Coverage of a line with round ends from (x0, y0) to (x1, y1); ``width`` is its radius."""
        dx, dy = x1 - x0, y1 - y0
        along = (((self.px - x0) * dx + (self.py - y0) * dy) / (dx**2 + dy**2).clamp_min(1e-8)).clamp(0, 1)
        return self.cover(torch.hypot(self.px - x0 - along * dx, self.py - y0 - along * dy) - width)

    def box(self, x: Tensor, y: Tensor, half_width: Tensor, half_height: Tensor) -> Tensor:
        """Coverage of a rectangle centred at (x, y)."""
        return self.cover(torch.maximum((self.px - x).abs() - half_width, (self.py - y).abs() - half_height))

    def cover(self, distance: Tensor) -> Tensor:
        """Anti-aliased coverage in 0..1 from a signed distance; 0.5 at distance zero."""
        return (0.5 - distance * self.py.shape[-2]).clamp(0, 1)

    def tint(self, strength: Tensor) -> Tensor:
        """The subjects' colour darkened (``strength`` below 1) or lightened towards white (above 1): [n, t, 3]."""
        s = strength[..., 0]
        return self.colour * s.clamp(max=1) + (1 - self.colour) * (s - 1).clamp(0, 1)


def _ball(g: Group) -> list[Layer]:
    rise = 1 - (1 - (torch.minimum(g.since, g.until) / g.fall).clamp(0, 1)) ** 2
    rise = torch.where(g.heard > 0, rise, 0.5 + 0.5 * rise)  # a muted ball turns around in mid-air
    y = FLOOR_Y - g.radius - rise * (0.1 + g.fall)
    shadow = g.line(g.x - g.radius * 0.7, g.x * 0 + FLOOR_Y, g.x + g.radius * 0.7, g.x * 0 + FLOOR_Y, g.x * 0 + 0.012)
    return [
        (shadow * (1 - 0.7 * rise), g.tint(g.x * 0)),
        (g.disc(g.x, y, g.radius), g.colour),
        (g.disc(g.x - g.radius * 0.3, y - g.radius * 0.3, g.radius * 0.25), g.tint(g.x * 0 + 1.6)),
    ]


def _bell(g: Group) -> list[Layer]:
    angle = 0.75 * torch.sin(2 * math.pi * 3 * g.since) * torch.exp(-3 * g.since) * (0.35 + 0.65 * g.heard)
    top, length = 0.3, g.radius * 2.2
    tip_x, tip_y = g.x + torch.sin(angle) * length, top + torch.cos(angle) * length
    flash = g.heard * torch.exp(-10 * g.since)
    body = [
        g.line(g.x + torch.sin(angle) * length * a, top + torch.cos(angle) * length * a, tip_x, tip_y, g.radius * w)
        for a, w in ((0.35, 0.5), (0.75, 0.85))
    ]
    hanger = g.line(g.x, g.x * 0, g.x, g.x * 0 + top, g.x * 0 + 0.012)
    clapper = g.disc(tip_x + torch.sin(angle * 2) * g.radius * 0.6, tip_y + g.radius * 0.75, g.radius * 0.25) * g.heard
    return [
        (hanger, g.tint(g.x * 0)),
        (torch.maximum(*body), g.tint(1 + 0.7 * flash)),
        (clapper, g.tint(g.x * 0 + 0.3)),
    ]


def _lamp(g: Group) -> list[Layer]:
    decay = torch.where(g.since < 0.14, torch.ones_like(g.since), torch.exp(-14 * (g.since - 0.14)))
    glow = decay * g.heard  # a muted lamp only pulses weakly
    pulse = (1 - g.heard) * 0.15 * torch.sin(2 * math.pi * torch.minimum(g.since, g.until)).clamp(0, 1)
    y = g.x * 0 + 0.45
    halo = torch.exp(-((torch.hypot(g.px - g.x, g.py - y) / (g.radius * 1.7)) ** 2)) * 0.6 * glow
    stand = g.line(g.x, y, g.x, g.x * 0 + FLOOR_Y, g.x * 0 + 0.02)
    foot = g.line(g.x - g.radius * 0.6, g.x * 0 + FLOOR_Y, g.x + g.radius * 0.6, g.x * 0 + FLOOR_Y, g.x * 0 + 0.02)
    return [
        (torch.maximum(stand, foot), g.tint(g.x * 0)),
        (halo, g.tint(g.x * 0 + 1.3)),
        (g.disc(g.x, y, g.radius), g.tint(0.5 + pulse + 0.9 * glow)),
    ]


def _drum(g: Group) -> list[Layer]:
    y, half = g.x * 0 + FLOOR_Y - g.radius * 0.7, g.radius * 0.7
    lift = torch.minimum(g.until / 0.16, g.since / 0.1).clamp(0, 1)
    lift = torch.where(g.heard > 0, lift, 0.45 + 0.55 * lift)  # a muted stick stops above the skin
    hit = g.heard * torch.exp(-12 * g.since)
    skin_y = y - half
    stick = g.line(
        g.x + 0.04,
        skin_y - 0.02 - lift * 0.26,
        g.x + 0.04 + g.radius * 1.1,
        skin_y - 0.14 - lift * 0.3,
        g.x * 0 + 0.022,
    )
    skin = g.line(g.x - g.radius * 1.1, skin_y, g.x + g.radius * 1.1, skin_y, g.radius * 0.22)
    skin_colour = torch.tensor(PAPER, device=g.x.device) * (0.55 + 0.45 * hit[..., 0]) + 0.15 * hit[..., 0]
    return [
        (g.box(g.x, y, g.radius * 1.2, half), g.colour),
        (skin, skin_colour),
        (stick, torch.tensor(WOOD, device=g.x.device).expand(*g.since.shape[:2], 3)),
    ]


def _bird(g: Group) -> list[Layer]:
    hop = 0.16 * torch.exp(-9 * g.since)
    open_beak = g.heard * (g.since < 0.14)
    y = FLOOR_Y - g.radius - 0.06 - hop
    legs = g.line(g.x, y, g.x, y + g.radius + 0.06, g.x * 0 + 0.014)
    head_x, head_y = g.x + g.radius * 0.8, y - g.radius * 0.8
    gape = g.radius * 0.6 * open_beak
    beak = torch.maximum(
        *(g.line(head_x, head_y, head_x + g.radius * 1.1, head_y + s * gape, g.radius * 0.16) for s in (-1, 1))
    )
    body = torch.maximum(g.disc(g.x, y, g.radius), g.disc(head_x, head_y, g.radius * 0.6))
    beak_colour = torch.tensor((1.0, 0.6, 0.1), device=g.x.device).expand(*g.since.shape[:2], 3)
    return [
        (legs, g.tint(g.x * 0)),
        (beak, beak_colour),
        (body, g.colour),
        (g.disc(head_x, head_y - g.radius * 0.1, g.radius * 0.15), g.tint(g.x * 0)),
    ]


def _clock(g: Group) -> list[Layer]:
    y, size = g.x * 0 + 0.45, g.radius * 1.15
    sweep = g.time * 1.5  # the hand of a muted clock moves continuously instead of in steps
    angle = torch.where(g.heard > 0, g.count * (2 * math.pi / 6), sweep)
    flash = g.heard * torch.exp(-14 * g.since)
    face = torch.tensor(PAPER, device=g.x.device) * (0.75 + 0.25 * flash[..., 0])
    hand = g.line(g.x, y, g.x + torch.sin(angle) * size * 0.7, y - torch.cos(angle) * size * 0.7, size * 0.13)
    return [
        (g.disc(g.x, y, size), g.tint(1 + 0.5 * flash)),
        (g.disc(g.x, y, size * 0.75), face),
        (hand, g.tint(g.x * 0)),
    ]


def _cloud(g: Group) -> list[Layer]:
    x, y = g.x + 0.05 * (g.time - 1), g.x * 0 + 0.2
    puffs = [
        g.disc(x + dx * g.radius, y - dy * g.radius, g.radius * r)
        for dx, dy, r in ((-0.8, 0, 0.6), (0, 0.3, 0.8), (0.8, 0, 0.6))
    ]
    return [(torch.maximum(torch.maximum(puffs[0], puffs[1]), puffs[2]), g.tint(g.x * 0 + 1.2))]


def _star(g: Group) -> list[Layer]:
    y, turn = g.x * 0 + 0.3, g.time * 2.0
    arms = [
        g.line(
            g.x - torch.cos(turn + a) * g.radius,
            y - torch.sin(turn + a) * g.radius,
            g.x + torch.cos(turn + a) * g.radius,
            y + torch.sin(turn + a) * g.radius,
            g.radius * 0.2,
        )
        for a in (0.0, math.pi / 2)
    ]
    return [(torch.maximum(*arms), g.colour)]


_PAINTERS: dict[str, Callable[[Group], list[Layer]]] = {
    "ball": _ball,
    "bell": _bell,
    "lamp": _lamp,
    "drum": _drum,
    "bird": _bird,
    "clock": _clock,
    "cloud": _cloud,
    "star": _star,
}


def _fall_seconds(subject: Subject) -> float:
    """Seconds a ball falls: 0.4, or half of the shortest interval between its events if that is less."""
    gaps = [b - a for a, b in pairwise(subject.times)]
    return min([0.4, *(gap / 2 for gap in gaps)])


def _group(subjects: Sequence[Subject], shape: ClipShape, device: str | torch.device) -> Group:
    """Subjects of one kind as tensors."""
    tensor = partial(torch.tensor, dtype=torch.float32, device=device)
    longest = max(1, *(len(s.times) for s in subjects)) if subjects else 1
    onsets = tensor([list(s.times) + [NEVER] * (longest - len(s.times)) for s in subjects])  # n k
    time = (torch.arange(shape.frames, device=device) + 0.5) / shape.fps
    gap = time[None, :, None] - onsets[:, None, :]  # n t k
    column = lambda values: tensor(values)[:, None, None, None].expand(-1, shape.frames, 1, 1)  # noqa: E731 - one line, used below
    rows = (torch.arange(shape.height, device=device) + 0.5) / shape.height
    columns = (torch.arange(shape.width, device=device) + 0.5) / shape.height
    aspect = shape.width / shape.height
    return Group(
        x=column([s.x * aspect for s in subjects]),
        radius=column([RADIUS[s.size] for s in subjects]),
        colour=tensor([RGB[s.colour] for s in subjects])[:, None],
        heard=column([float(s.heard) for s in subjects]),
        since=torch.where(gap >= 0, gap, NEVER).amin(-1)[..., None, None],
        until=torch.where(gap < 0, -gap, NEVER).amin(-1)[..., None, None],
        count=(gap >= 0).float().sum(-1)[..., None, None],
        fall=column([_fall_seconds(s) for s in subjects]),
        time=time[None, :, None, None].expand(len(subjects), -1, 1, 1),
        px=columns[None, None, None, :],
        py=rows[None, None, :, None].expand(1, 1, -1, shape.width),
    )


def _scenery(scenes: Sequence[Scene], shape: ClipShape, device: str | torch.device) -> Tensor:
    """Backgrounds of sky and ground: [b, t, 3, h, w]."""
    top, ground = (torch.tensor([SKY[s.background][i] for s in scenes], device=device)[:, :, None] for i in (0, 1))
    y = (torch.arange(shape.height, device=device) + 0.5) / shape.height
    below = ((y - FLOOR_Y) * shape.height + 0.5).clamp(0, 1)
    column = (top * (1 - 0.35 * y)) * (1 - below) + ground * below  # b 3 h
    return column[:, None, :, :, None].expand(-1, shape.frames, -1, -1, shape.width).clone()


def scenery_share(frames: Tensor) -> float:
    """Share of the pixels of ``frames`` [t, 3, h, w] that match the best matching of the world's backgrounds."""
    scenes = [Scene(0, 0, "single", name, 1.0, ()) for name in SKY]
    empty = _scenery(scenes, ClipShape(1.0, 4, *frames.shape[2:]), frames.device)[:, :1]  # one frame of each
    return float(((frames - empty).abs().amax(2) < SCENERY_TOLERANCE).float().mean((1, 2, 3)).max())


def render_picture(scenes: Sequence[Scene], shape: ClipShape, *, device: str | torch.device = "cpu") -> Tensor:
    """Frames of ``scenes``: [b, t, 3, h, w], float32 in 0..1. Frame k shows the time (k + 0.5) / fps."""
    canvas = _scenery(scenes, shape, device)
    slots = max(len(scene.subjects) for scene in scenes)
    # Silent subjects are drawn first, so that a cloud never hides a source.
    ordered = [sorted((s for s in scene.subjects if s.seen), key=lambda s: s.kind not in SILENT) for scene in scenes]
    for slot in range(slots):
        for kind in KINDS:
            clips = [b for b, subjects in enumerate(ordered) if slot < len(subjects) and subjects[slot].kind == kind]
            if not clips:
                continue
            part = canvas[clips]
            for cover, colour in _PAINTERS[kind](_group([ordered[b][slot] for b in clips], shape, device)):
                alpha = cover[:, :, None].expand(-1, shape.frames, 3, -1, -1)
                part = part + (colour.expand(-1, shape.frames, 3)[..., None, None] - part) * alpha
            canvas[clips] = part
    return canvas.clamp_(0, 1)
