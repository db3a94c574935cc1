"""A rendered clip for the tests of the bench."""

import pytest

from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.world import make_scene, render_picture, render_sound


@pytest.fixture(scope="module")
def clip():
    shape, scene = ClipShape(), make_scene(3, 1, stratum="single")
    sound = render_sound([scene], samples=shape.samples, sample_rate=shape.sample_rate)[0]
    return Clip(render_picture([scene], shape)[0].permute(0, 2, 3, 1), float(shape.fps), sound, shape.sample_rate)
