"""The procedural audio-video world: clips with known event times, on which the pocket models are trained and measured."""

from .caption import caption, is_caption, vocabulary
from .edit import asynchronous, irregular, moved
from .render import render_picture
from .scene import KINDS, SOUNDING, STRATA, Scene, Subject, make_scene, make_scenes
from .sound import render_sound

__all__ = [
    "KINDS",
    "SOUNDING",
    "STRATA",
    "Scene",
    "Subject",
    "asynchronous",
    "caption",
    "irregular",
    "is_caption",
    "make_scene",
    "make_scenes",
    "moved",
    "render_picture",
    "render_sound",
    "vocabulary",
]
