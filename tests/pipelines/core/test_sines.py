"""Sine features: values and order of the features."""

import math

import torch

from duet_av.pipelines.core.conditions import sinusoidal
from duet_av.pipelines.core.sines import sine_features
from duet_av.pipelines.models.javisdit.embeddings import sincos_1d
from duet_av.pipelines.models.javisdit.layers import timestep_features


def test_features_are_sines_then_cosines_of_each_axis():
    values, frequencies = torch.tensor([[0.5, 2.0]]), torch.tensor([1.0, 3.0])
    angles = torch.tensor([[0.5, 1.5, 2.0, 6.0]])
    assert torch.allclose(sine_features(values, frequencies), torch.cat([angles.sin(), angles.cos()], 1))
    swapped = sine_features(values, frequencies, cosine_first=True)
    assert torch.allclose(swapped, torch.cat([angles.cos(), angles.sin()], 1))


def test_octaves_of_a_place_start_at_half_a_period():
    assert torch.allclose(sinusoidal(torch.tensor([[0.5]]), octaves=1), torch.tensor([[1.0, 0.0]]), atol=1e-6)
    assert sinusoidal(torch.rand(7, 3), octaves=4).shape == (7, 24)


def test_positions_and_timesteps_have_the_same_frequencies_in_opposite_order():
    values = torch.tensor([0.0, 1.0, 40.0])
    sine, cosine = sincos_1d(values, 8).chunk(2, dim=1)
    assert torch.allclose(timestep_features(values, 8, dtype=torch.float32), torch.cat([cosine, sine], 1), atol=1e-5)
    assert math.isclose(float(sine[1, -1]), math.sin(1e-3), rel_tol=1e-5)
