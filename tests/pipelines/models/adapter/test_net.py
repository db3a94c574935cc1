"""SAVA's masked adapter: gates with known values, and which inputs a mask depends on."""

import math

import pytest
import torch

from duet_av.pipelines.core.conditions import A2V, V2A
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.adapter.condition import adapter_streams, condition
from duet_av.pipelines.models.adapter.gates import OPEN, SOFT, noise_gate, soft_gate, support
from duet_av.pipelines.models.adapter.net import (
    AdapterConfig,
    MaskedAdapter,
    deviations_from_mean,
    repeated_frame_means,
)


def test_the_noise_gate_keeps_unit_variance_and_passes_the_stated_information():
    z, noise = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(0))
    for mask in (0.0, 0.3, 1.0):
        out = noise_gate(z, torch.full_like(z, mask), noise)
        assert out.std() == pytest.approx(1, abs=0.01)
        correlation = float(torch.corrcoef(torch.stack([z, out]))[0, 1])
        if mask < 1:
            # the mutual information of two Gaussians: -1/2 log(1 - rho^2) nats
            assert -0.5 * math.log(1 - correlation**2) == pytest.approx(0.5 * math.log(1 / (1 - mask)), abs=0.01)
    assert torch.equal(soft_gate(z, torch.full_like(z, 0.3), noise), 0.3 * z)
    assert support(torch.tensor([0.2, 0.5, 0.7])).tolist() == [0, 0, 1]


def test_projections_are_orthonormal_and_of_unit_variance(net, latents):
    q = torch.linalg.qr(net.q["video"].weight)[0]
    assert torch.allclose(q.T @ q, torch.eye(24), atol=1e-5)
    with torch.no_grad():
        z = net.train().tokens(latents)
    assert [tuple(t.shape) for t in z.both()] == [(12, 128, 24), (12, 8, 24)]
    assert all(t.flatten(0, 1).std(0).mean() == pytest.approx(1, abs=0.15) for t in z.both())


def test_a_mask_depends_on_both_streams_or_only_on_its_own(net, latents):
    z = net.tokens(latents)
    torch.nn.init.normal_(net.mask["video"].token.weight)
    other = Streams(z.video, z.audio.flip(0))
    assert not torch.allclose(net.masks(z).video, net.masks(other).video, atol=1e-4)
    own = MaskedAdapter(AdapterConfig(16, 24, dim=24, hidden=16, heads=2, sees="own")).eval()
    torch.nn.init.normal_(own.mask["video"].token.weight)
    assert torch.equal(own.masks(z).video, own.masks(other).video)
    bare = MaskedAdapter(AdapterConfig(16, 24, gate=OPEN, dim=24, hidden=16, heads=2)).eval()
    assert all((mask == 1).all() for mask in bare.masks(z).both())
    with pytest.raises(ValueError, match="gate is 'hard'; it must be one of unmasked, soft, gate"):
        AdapterConfig(16, 24, gate="hard")
    with pytest.raises(ValueError, match="sees is 'all'"):
        AdapterConfig(16, 24, sees="all")


@torch.inference_mode()
def test_a_mask_depends_only_on_changes_of_the_other_stream(net, latents):
    z = net.tokens(latents)
    torch.nn.init.normal_(net.mask["audio"].token.weight)
    brighter = Streams(z.video + 3.0, z.audio)
    assert torch.allclose(net.masks(z).audio, net.masks(brighter).audio, atol=1e-4), "constant brightness is ignored"
    moved = Streams(z.video.unflatten(1, (8, 16)).roll(1, 1).flatten(1, 2), z.audio)
    assert not torch.allclose(net.masks(z).audio, net.masks(moved).audio, atol=1e-4)
    still = z.video.unflatten(1, (8, 16))[:, :1].expand(-1, 8, -1, -1).flatten(1, 2)
    assert torch.allclose(deviations_from_mean(still, 8), torch.zeros_like(still), atol=1e-5)
    assert repeated_frame_means(z.audio, 8, 128)[:, :16].sub(z.audio[:, :1]).abs().max() == 0


@torch.inference_mode()
def test_a_condition_contains_the_masked_tokens_and_the_masks(net, latents):
    picture = Streams(latents.video, None)
    torch.nn.init.normal_(net.mask["video"].token.weight)
    hard = condition(net, picture, V2A)
    z, mask = net.project_and_mask(picture, "video")
    assert torch.equal(hard.tokens.tokens, z * (mask > 0.5))
    assert torch.equal(hard.support, (mask > 0.5).float())
    assert hard.tokens.places.shape == (128, 3)
    assert hard.streams.video is None
    assert hard.streams.audio is hard.tokens
    assert torch.equal(condition(net, picture, V2A, kind=SOFT).tokens.tokens, z * mask)
    assert torch.equal(condition(net, picture, V2A, kind=OPEN, strength=0.5).tokens.tokens, 0.5 * z)
    assert not condition(net, picture, V2A, strength=0.0).tokens.shown.any()
    left = torch.zeros(1, 64, 64)
    left[..., :32] = 1
    passed = condition(net, picture, V2A, kind=SOFT, painted=left).tokens.tokens.unflatten(1, (8, 4, 4))
    assert passed[:, :, :, 2:].abs().max() == 0
    assert passed[:, :, :, :2].abs().max() > 0
    early = torch.zeros(32, 64, 64)
    early[:16] = 1
    from_audio = condition(net, Streams(None, latents.audio), A2V, kind=OPEN, painted=early)
    assert from_audio.tokens.tokens.shape == (12, 8, 24)
    assert condition(net, Streams(None, latents.audio), A2V, kind=SOFT, painted=early).mask[:, 4:].max() == 0
    over = net.mask_over_frames(hard.mask, "video")
    assert over.shape == (12, 32, 64, 64)
    assert over[0, 0, 0, 0] == pytest.approx(float(hard.mask[0, 0].mean()))
    assert adapter_streams([hard, from_audio]).present() == [from_audio.tokens, hard.tokens]
    for wrong, message in (
        ({"kind": "hard"}, "kind is 'hard'"),
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"strength": 3.0}, "strength is 3.0"),
    ):
        with pytest.raises(ValueError, match=message):
            condition(net, picture, V2A, **wrong)
    with pytest.raises(ValueError, match=r"reads clips of \(8, 8, 8\) video and 32 audio latent cells"):
        condition(net, Streams(latents.video[:, :, :4], None), V2A)
    with pytest.raises(ValueError, match="Two adapter conditions are for the same stream"):
        adapter_streams([hard, hard])


@torch.inference_mode()
def test_an_absent_stream_is_predicted(net, latents):
    whole = net.fill_missing_stream(Streams(latents.video, None))
    assert torch.equal(whole.video, latents.video)
    assert whole.audio.shape == latents.audio.shape
    back = net.fill_missing_stream(Streams(None, latents.audio))
    assert back.video.shape == latents.video.shape
    z, mask = net.project_and_mask(Streams(latents.video, None), "video")
    assert z.shape == mask.shape == (12, 128, 24)
