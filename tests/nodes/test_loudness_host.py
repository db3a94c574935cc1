"""Videos of the nodes as ComfyUI itself saves them: their true peak is at most -1 dB after its encoder, whatever audio is given."""

import math

import pytest
import torch

from duet_av.pipelines.media.limiter import CEILING, true_peaks
from duet_av.pipelines.media.sound import read_sound

HIGHEST = 10 ** (CEILING / 20)


def loud(rate, kind):
    time, generator = torch.arange(2 * rate) / rate, torch.Generator().manual_seed(0)
    sounds = {
        "square": torch.sign(torch.sin(2 * math.pi * 997 * time)).expand(2, -1),
        "noise": 4 * torch.randn(2, 2 * rate, generator=generator),
        "between samples": 1.4 * torch.sin(2 * math.pi * rate / 4 * time + math.pi / 4).expand(2, -1),
    }
    return {"waveform": sounds[kind][None].contiguous(), "sample_rate": rate}


def peak_of(video, path):
    video.save_to(str(path))
    return float(true_peaks(read_sound(path)[0]).amax())


@pytest.mark.parametrize("kind", ["square", "noise", "between samples"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_saved_video_is_not_louder_than_the_ceiling(run, tmp_path, rate, kind):
    images = torch.rand(32, 48, 32, 3)
    video = run("DuetMux", images, loud(rate, kind), 16.0, 1)[0]
    assert peak_of(video, tmp_path / "mux.mp4") <= HIGHEST + 1e-3
    parts = video.get_components()
    assert torch.equal(parts.images, images)


def test_shifted_and_decoded_audio_too(comfy, run, loaded, empty, tmp_path):
    from comfy_api.latest import InputImpl, Types

    parts = Types.VideoComponents(images=torch.rand(32, 48, 32, 3), audio=loud(44_100, "square"), frame_rate=16)
    shifted = run("DuetShiftAudio", late_ms=30.0, video=InputImpl.VideoFromComponents(parts))[1]
    assert peak_of(shifted, tmp_path / "shifted.mp4") <= HIGHEST + 1e-3
    noise = [4 * torch.randn(z.shape, generator=torch.Generator().manual_seed(1)) for z in empty["samples"].unbind()]
    (images,), (audio,), fps = run("DuetDecode", {**empty, "samples": comfy.nested(noise)}, *loaded[2:], False)
    assert peak_of(run("DuetMux", images, audio, fps, 1)[0], tmp_path / "decoded.mp4") <= HIGHEST + 1e-3
