"""Hostile files: each is refused with status 2 and one line that names the file and contains no control characters."""

import struct
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from duet_av.pipelines.cli.main import main
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.weights import load_weights, save_weights
from duet_av.pipelines.media.conform import read_streams
from duet_av.pipelines.media.containers import open_media, samples_of
from duet_av.pipelines.media.sound import read_sound
from duet_av.pipelines.sync.measure import read_signals


def late_frame(path):
    """Five frames, the last of them after a million seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=16)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        pictures = [av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")] * 5
        packets = [packet for picture in [*pictures, None] for packet in stream.encode(picture)]
        for k, packet in enumerate(packets):
            packet.pts = packet.dts = 16_000_000 if k == 4 else k
            packet.time_base = Fraction(1, 16)
            container.mux(packet)


def sound(path, channels=2, rate=16_000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack("<h", 1000) * channels * 4000)


def random_bytes(path):
    path.write_bytes(bytes(range(256)) * 8)


HOSTILE_MEDIA = {
    "frame after a million seconds": ("late.mkv", late_frame),
    "sample rate of 7 Hz": ("slow.wav", lambda path: sound(path, rate=7)),
    "sample rate of 900 MHz": ("fast.wav", lambda path: sound(path, rate=900_000_000)),
    "random bytes": ("random.mp4", random_bytes),
    "empty file": ("empty.mp4", lambda path: path.write_bytes(b"")),
    "header only": ("header.wav", lambda path: path.write_bytes(b"RIFF\x00\x00\x00\x00WAVE")),
    "text": ("text.mkv", lambda path: path.write_text("\x1b[31mred\x1b[0m")),
    "missing file": ("missing.mp4", lambda path: None),
    "folder": ("folder.mp4", lambda path: path.mkdir()),
}


@pytest.mark.parametrize("case", HOSTILE_MEDIA)
def test_hostile_media_is_refused_in_one_line(tmp_path, capsys, case):
    name, create = HOSTILE_MEDIA[case]
    create(tmp_path / name)
    with pytest.raises(SystemExit) as stopped:
        raise SystemExit(main(["measure", str(tmp_path / name)]))
    lines = capsys.readouterr().err.splitlines()  # splits at the carriage returns of the progress line as well
    assert stopped.value.code == 2
    reasons = [line for line in lines if line.startswith("duet: ") and name in line]
    assert len(reasons) == 1
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("channels", [7, 8, 16])
def test_audio_with_many_channels_does_not_end_the_process(tmp_path, channels):
    sound(tmp_path / "many.wav", channels)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import tests.conftest, pathlib;"
        "from duet_av.pipelines.media.sound import read_sound;"
        "print(read_sound(pathlib.Path(sys.argv[2]))[0].shape[0])"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, root, str(tmp_path / "many.wav")], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.strip() == str(channels)


def test_audio_with_eight_channels_is_measured_and_conformed(tmp_path):
    sound(tmp_path / "many.wav", 8)
    assert read_signals(tmp_path / "many.wav").waveform.shape == (8, 4000)
    assert len(read_streams(tmp_path / "many.wav", ClipShape()).audio) == 2


def test_channels_stay_in_order(tmp_path):
    with wave.open(str(tmp_path / "two.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(struct.pack("<hh", 8192, -16384) * 4000)
    waveform, _ = read_sound(tmp_path / "two.wav")
    assert torch.equal(waveform[:, 0], torch.tensor([0.25, -0.5]))
    with open_media(tmp_path / "two.wav") as container:
        assert samples_of(next(container.decode(audio=0)))[:, 0].tolist() == [8192, -16384]


def test_a_frame_after_a_million_seconds_is_refused_before_memory_is_allocated(tmp_path):
    late_frame(tmp_path / "late.mkv")
    with pytest.raises(ValueError, match="gap of"):
        read_streams(tmp_path / "late.mkv", ClipShape())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_when_loaded(tmp_path, value):
    path = tmp_path / "broken.safetensors"
    save_weights(path, {"layer": torch.tensor([1.0, value])}, kind="video codec", config={}, record={})
    with pytest.raises(ValueError, match=r"broken\.safetensors: tensor 'layer' contains values that are not finite"):
        load_weights(path, "video codec")


@pytest.mark.parametrize(("value", "usable"), [(-float("inf"), True), (float("inf"), False), (float("nan"), False)])
def test_only_an_additive_mask_may_contain_minus_infinity(tmp_path, value, usable):
    path = tmp_path / "prior.safetensors"
    save_weights(path, {"text.mask": torch.tensor([0.0, value])}, kind="prior", config={}, record={})
    if usable:
        assert torch.equal(load_weights(path, "prior").tensors["text.mask"], torch.tensor([0.0, value]))
    else:
        with pytest.raises(ValueError, match="not finite"):
            load_weights(path, "prior")
