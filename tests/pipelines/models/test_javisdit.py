"""JavisDiT: properties that hold for any weights; parity with the reference is tested in tests/parity."""

from dataclasses import replace

import pytest
import torch

from duet_av.pipelines.core.conditions import PriorTokens
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.guidance.sampling import flow_sigmas
from duet_av.pipelines.models.javisdit.autoencoder import KLConfig
from duet_av.pipelines.models.javisdit.clock import V01_CLOCK, V10_CLOCK
from duet_av.pipelines.models.javisdit.opensora_vae import OpenSoraVAE, TemporalConfig, latent_frames
from duet_av.pipelines.models.javisdit.schedule import shift_ratio
from duet_av.pipelines.models.javisdit.v01 import JavisDiT01, V01Config
from duet_av.pipelines.models.javisdit.v10 import JavisDiT10, V10Config, rotations
from duet_av.pipelines.models.prior.estimator import PriorConfig, PriorEstimator

V01 = V01Config(
    hidden_size=32,
    depth=2,
    num_heads=4,
    caption_channels=12,
    model_max_length=6,
    spatial_prior_len=3,
    temporal_prior_len=2,
    st_prior_channel=8,
)
V10 = V10Config(
    dim=48, ffn_dim=32, num_layers=2, num_heads=4, freq_dim=16, text_dim=12, text_len=5, in_dim=3, audio_in_dim=2
)


def randomised(module):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not name.endswith("freqs"):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.15)
    return module.eval()


@pytest.fixture(scope="module")
def v01():
    return randomised(JavisDiT01(V01))


@pytest.fixture(scope="module")
def v10():
    return randomised(JavisDiT10(V10))


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(shape, generator=generator)  # noqa: E731 - five uses
    x = Streams(draw(2, 4, 3, 4, 6), draw(2, 8, 8, 4))
    prior = PriorTokens(draw(2, 3, 8), draw(2, 2, 8))
    return x, torch.tensor([700.0, 700.0]), draw(2, 6, 12), torch.ones(2, 6, dtype=torch.bool), prior


PLACE = {"size": (32.0, 48.0), "fps": 24.0}


def rows(x, i):
    return x.map(lambda z: z[i : i + 1])


def close(a, b, tolerance=1e-5):
    return all(torch.allclose(x, y, atol=tolerance) for x, y in zip(a, b, strict=True))


@torch.inference_mode()
def test_a_samples_output_does_not_depend_on_the_rest_of_the_batch(v01, inputs):
    """In both modes a sample's output depends on the priors that it reads, not on the other samples of the batch."""
    x, t, text, mask, prior = inputs
    for own in (None, torch.tensor([0, 1])):
        together = v01(x, t, text, mask, replace(prior, own=own), **PLACE)
        for i in range(2):
            one = replace(prior, own=None if own is None else own[i : i + 1])
            alone = v01(rows(x, i), t[:1], text[i : i + 1], mask[:1], one, **PLACE)
            assert close(rows(together, i), alone)


@torch.inference_mode()
def test_pooled_priors_and_own_priors_differ(v01, inputs):
    x, t, text, mask, prior = inputs
    pooled = v01(x, t, text, mask, prior, **PLACE)
    own = v01(x, t, text, mask, replace(prior, own=torch.tensor([0, 1])), **PLACE)
    assert not close(pooled, own, 1e-3)


@torch.inference_mode()
def test_a_closed_direction_in_v01_passes_no_information(v01, inputs):
    x, t, text, mask, prior = inputs
    shut, open_ = torch.zeros(2, dtype=torch.bool), torch.ones(2, dtype=torch.bool)
    other = Streams(x.video, x.audio + 1)
    for route, same in ((Streams(shut, open_), True), (Streams(open_, shut), False)):
        a, b = (v01(z, t, text, mask, prior, route=route, **PLACE) for z in (x, other))
        assert torch.equal(a.video, b.video) is same


@torch.inference_mode()
def test_a_closed_direction_in_v10_passes_no_information(v10):
    x = Streams(torch.randn(1, 3, 2, 4, 4), torch.randn(1, 2, 6, 4))
    text, mask, t = torch.randn(1, 4, 12), torch.ones(1, 4, dtype=torch.bool), torch.tensor([300.0])
    louder, brighter = Streams(x.video, x.audio + 1), Streams(x.video + 1, x.audio)
    both = v10(x, t, text, mask)
    first, second = (v10(z, t, text, mask, a2v=False) for z in (x, louder))
    assert torch.equal(first.video, second.video)
    assert not torch.allclose(first.video, both.video, atol=1e-4)
    first, second = (v10(z, t, text, mask, v2a=False) for z in (x, brighter))
    assert torch.equal(first.audio, second.audio)


@torch.inference_mode()
def test_clean_frames_do_not_depend_on_the_noise_level(v01, inputs):
    """Where all frames are clean, they are modulated with level zero: up to the final layer, whose first modulation still has the
    noise level (as in the reference), nothing depends on the timestep."""
    x, t, text, mask, prior = inputs
    clean, states = Streams(torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2, 8, dtype=torch.bool)), []
    hook = v01.va_cross_blocks[-1].register_forward_hook(lambda _block, _inputs, out: states.append(out))
    for level, noisy in ((t, clean), (t * 0, clean), (t, None)):
        v01(x, level, text, mask, prior, noisy=noisy, **PLACE)
    hook.remove()
    early, late, noisy_states = states
    assert torch.equal(early.video, late.video)
    assert torch.equal(early.audio, late.audio)
    assert not close(early, noisy_states, 1e-3)


@torch.inference_mode()
def test_padding_of_v10_text_is_zeroed_and_not_masked(v10):
    x, t = Streams(torch.randn(1, 3, 2, 4, 4), torch.randn(1, 2, 6, 4)), torch.tensor([300.0])
    text, mask = torch.randn(1, 4, 12), torch.tensor([[True, True, False, False]])
    assert close(v10(x, t, text, mask), v10(x, t, text[:, :2], mask[:, :2]))
    assert not close(v10(x, t, text, mask), v10(x, t, text, mask | True), 1e-4)


@torch.inference_mode()
def test_v10_reads_as_many_text_tokens_as_in_training(v10):
    x, t = Streams(torch.randn(1, 3, 2, 4, 4), torch.randn(1, 2, 6, 4)), torch.tensor([300.0])
    text, mask = torch.randn(1, 7, 12), torch.ones(1, 7, dtype=torch.bool)
    assert close(v10(x, t, text, mask), v10(x, t, text[:, :5], mask[:, :5]))


def test_boundaries_of_latent_frames_follow_the_frame_rate_of_the_clip():
    for clock in (V01_CLOCK, V10_CLOCK):
        own, twice = clock.edges(10, 8), clock.edges(10, 8, fps=2 * clock.fps)
        assert torch.equal(own.video, 2 * twice.video)
        assert torch.equal(own.audio, twice.audio)


def test_audio_tokens_have_the_time_of_their_latent_frame():
    """240p, 65 frames: 17 latent frames and 52 audio tokens; the first time indices are the reference's."""
    grid, width = (17, 15, 27, 52, 8), 128
    video, audio = rotations(grid, width).split((17 * 15 * 27, 52 * 8))
    times = audio.unflatten(0, (52, 8))[:, 0, 0]
    assert times[:8].tolist() == [0, 1, 1, 1, 2, 2, 2, 3]
    assert times[-1] == 16 == video[-1, 0]
    assert torch.unique(torch.cat([video, audio]), dim=0).shape[0] == 17 * 15 * 27 + 52 * 8


@pytest.mark.parametrize(
    ("size", "ratio"),
    [((240, 426, 51), 2.42188), ((240, 426, 81), 2.79688), ((480, 854, 65), 4.84375), ((720, 1280, 51), 7.25)],
)
def test_the_shift_equals_the_references_in_bfloat16(size, ratio):
    assert shift_ratio(*size) == pytest.approx(ratio, abs=1e-5)


def test_the_schedule_starts_at_pure_noise_and_is_shifted_towards_it():
    levels = 1000 * flow_sigmas(30, shift=shift_ratio(240, 426, 102))
    assert levels[0] == 1000
    assert (levels[1:] < levels[:-1]).all()
    assert levels[15] > 700


@pytest.mark.parametrize("frames", [2, 16, 0, -1])
def test_frame_counts_without_a_valid_shift_are_refused(frames):
    with pytest.raises(ValueError, match="at least 17"):
        shift_ratio(240, 426, frames)


def test_a_prior_is_the_mean_at_temperature_zero_and_reproducible_by_seed():
    sizes = {"text_width": 16, "text_heads": 2, "text_layers": 1, "hidden_size": 8, "heads": 2, "layers": 1}
    estimator = randomised(PriorEstimator(PriorConfig(3, 2, 4, **sizes)))
    estimator.text_encoder.modality_preprocessors["text"].mask.copy_(torch.full((77, 77), -torch.inf).triu(1))
    ids = torch.zeros(1, 77, dtype=torch.long)
    with torch.inference_mode():
        mean, _ = estimator.moments(ids)
        still = estimator.sample(ids, seed=1, temperature=0.0).tokens
        draws = [estimator.sample(ids, seed=seed).tokens for seed in (1, 1, 2)]
    assert torch.equal(torch.cat([still.spatial, still.temporal], 1), mean)
    assert torch.equal(draws[0].spatial, draws[1].spatial)
    assert not torch.equal(draws[0].spatial, draws[2].spatial)


@pytest.mark.parametrize(("frames", "latent"), [(51, 15), (102, 30), (204, 60), (65, 19), (1, 1)])
def test_latent_frames_of_the_video_autoencoder(frames, latent):
    assert latent_frames(frames) == latent


def test_the_video_autoencoder_decodes_the_same_number_of_frames():
    temporal = TemporalConfig(filters=4, num_res_blocks=1, num_groups=2)
    vae = randomised(OpenSoraVAE(temporal, KLConfig(3, 3, 4, (4, 4, 4, 4), 1, norm_num_groups=2)))
    frames = torch.rand(1, 3, 22, 16, 24)
    with torch.inference_mode():
        z = vae.encode(frames)
        assert z.shape == (1, 4, 7, 2, 3)
        assert vae.decode(z, frames=22).shape == frames.shape
    with pytest.raises(ValueError, match="7 latent frames; 30 frames need 9"):
        vae.decode(z, frames=30)
