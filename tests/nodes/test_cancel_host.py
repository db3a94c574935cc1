"""Cancelling ends sampling, decoding, encoding and measuring at the next operation, long before they would have finished."""

import threading
import time

import pytest
import torch

LATEST = 5.0  # seconds of this thread's own computation after the click; the limit for a user is 1 s, but test machines are slow


@pytest.fixture
def cancelled(comfy):
    """Run a function and cancel it after some seconds: seconds of computation until it ended. Fails if it ran to its end."""
    import comfy.model_management as management

    def cancelled(function, after):
        clicked = {}

        def click():
            clicked["at"] = time.monotonic()
            management.interrupt_current_processing()

        timer = threading.Timer(after, click)
        timer.start()
        try:
            with pytest.raises(management.InterruptProcessingException), torch.inference_mode():
                function()
            return time.monotonic() - clicked["at"]
        finally:
            timer.cancel()
            management.interrupt_current_processing(False)

    return cancelled


@pytest.fixture
def large(comfy, run, loaded):
    """A noisy latent of 384 x 384 pixels and 4 s."""
    latent = run("DuetEmptyLatent", loaded[0], 384, 384, 4.0, 0, 1)[0]
    return {**latent, "samples": comfy.nested([torch.randn_like(z) for z in latent["samples"].unbind()])}


def test_cancelling_ends_sampling(run, pocket, large, cancelled):
    guider = run("DuetGuider", pocket.model, pocket.positive)[0]
    assert cancelled(lambda: run("DuetSampler", guider, large, 0, 1000), 1.0) < LATEST


@pytest.mark.parametrize("node", ["Duet Decode", "in tiles", "VAE Decode"])
def test_cancelling_ends_decoding(comfy, run, loaded, large, cancelled, node):
    jobs = {
        "Duet Decode": lambda: run("DuetDecode", large, *loaded[2:], False),
        "VAE Decode": lambda: comfy.core.VAEDecode().decode(loaded[2], large),
        "in tiles": lambda: run("DuetDecode", large, *loaded[2:], True),
    }
    assert cancelled(jobs[node], 0.3) < LATEST


def test_cancelling_ends_decoding_of_audio(comfy, loaded, cancelled):
    audio = torch.randn(8, 24, 480)  # 8 clips of 30 s
    assert cancelled(lambda: loaded[3].decode(audio), 0.5) < LATEST


def test_cancelling_ends_encoding_and_measuring(run, loaded, cancelled):
    images, sound = torch.rand(480, 128, 128, 3), {"waveform": torch.rand(1, 2, 30 * 48_000), "sample_rate": 48_000}
    latent = run("DuetEmptyLatent", loaded[0], 256, 256, 30.0, 0, 1)[0]
    encode = lambda: run("DuetEncodeAV", latent, *loaded[2:], images=images, audio=sound, fps=16.0, anyway=True)  # noqa: E731
    assert cancelled(encode, 0.3) < LATEST
    run("DuetSyncMeter", images[:32], sound, 16.0)  # loads the plotting library, which cannot be cancelled
    assert cancelled(lambda: run("DuetSyncMeter", images, sound, 16.0), 0.1) < LATEST
