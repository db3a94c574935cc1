"""Freeze Stream nodes combine: whatever an earlier mask keeps remains kept, whether it is ours or the host's."""

import pytest
import torch


def freeze(run, latent, keep):
    return run("DuetFreezeStream", latent, keep, 0.0, 1.0, 0.0)[0]


@pytest.mark.parametrize("name", ["ltx", "h3"])
@pytest.mark.parametrize("order", [("first frame", "audio"), ("audio", "first frame"), ("first frame and audio",)])
def test_an_image_and_audio_are_kept_by_two_nodes_in_either_order_or_by_one(comfy, run, request, name, order):
    latent = {"samples": request.getfixturevalue(name).latent}
    for keep in order:
        latent = freeze(run, latent, keep)
    video, audio = latent["noise_mask"].unbind()
    assert not video[:, :, 0].any()
    assert video[:, :, 1:].all()
    assert not audio.any()


def test_the_hosts_own_mask_of_a_first_frame_is_preserved(run, ltx):
    """LTX's image-to-video node sets a mask for the video only, with one value per latent frame."""
    frames = ltx.latent.unbind()[0].shape[2]
    own = torch.ones(1, 1, frames, 1, 1)
    own[:, :, 0] = 0.25  # strength .75
    video, audio = freeze(run, {"samples": ltx.latent, "noise_mask": own}, "audio")["noise_mask"].unbind()
    assert torch.equal(video[:, :, 0], torch.full_like(video[:, :, 0], 0.25))
    assert video[:, :, 1:].all()
    assert not audio.any()


def test_if_everything_would_be_kept_the_later_node_wins_with_a_warning(run, ltx, caplog):
    """A cascade: the second pass regenerates the video that the first pass kept."""
    video, audio = freeze(run, freeze(run, {"samples": ltx.latent}, "video"), "audio")["noise_mask"].unbind()
    assert video.all()
    assert not audio.any()
    assert "only audio is kept now" in caplog.text
