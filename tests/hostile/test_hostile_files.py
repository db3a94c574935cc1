"""Hostile files and options: each is refused with status 2 and one line that names the file and contains no control characters."""

import struct
import subprocess
import sys
import wave
from pathlib import Path

import pytest
import torch

from duet_av.pipelines.cli.main import main
from duet_av.pipelines.core.documents import printable
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.weights import load_weights, save_weights
from duet_av.pipelines.media.conform import read_streams
from duet_av.pipelines.media.containers import open_media, samples_of
from duet_av.pipelines.media.sound import read_sound
from duet_av.pipelines.sync.measure import read_signals, read_waveform

sys.path.insert(0, str(Path(__file__).parent))
import cases


def refused(arguments, capsys):
    """The lines that a refused command prints; progress lines are split at their carriage returns and left out."""
    with pytest.raises(SystemExit) as stopped:
        raise SystemExit(main(arguments))
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2
    assert all(line.isprintable() for line in lines)
    return [line for line in lines if line.startswith("duet")]


@pytest.mark.parametrize("case", cases.TABLE)
def test_a_hostile_file_is_refused_in_one_line(tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    path, arguments = cases.prepare(tmp_path, case)
    before = {p.name for p in tmp_path.iterdir()}
    reasons = [line for line in refused(arguments, capsys) if printable(path.name) in line]
    assert len(reasons) == 1
    assert len(reasons[0]) < 1000
    assert {p.name for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("case", cases.WITHOUT_FILE)
def test_a_hostile_option_is_refused_in_one_line(tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    assert len(refused(list(cases.WITHOUT_FILE[case]), capsys)) == 1
    assert not list(tmp_path.iterdir())


def test_the_table_is_long_enough():
    assert len(cases.TABLE) + len(cases.WITHOUT_FILE) >= 100


def test_metadata_is_shown_escaped(tmp_path, capsys):
    text = '{"model": "\\u001b[31mred\\nduet: error: forged", "settings": {"a": "\\r"}}'
    cases.png(tmp_path / "a.png", text=[("duet", text), ("workflow", '{"nodes": 5}')])
    assert main(["doctor", str(tmp_path / "a.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() for line in lines)
    assert r"model: \x1b[31mred\nduet: error: forged" in lines[1]
    assert "an unknown number of nodes" in lines[-1]


LIMITED = """
import resource, sys; sys.path.insert(0, sys.argv[1]); import tests.conftest, pathlib
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.media.conform import read_streams
from duet_av.pipelines.media.sound import read_sound
path = pathlib.Path(sys.argv[2])
print(read_sound(path / "16.wav")[0].shape[0], read_sound(path / "8.wav")[0].shape[0])
resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30,) * 2)
try:
    read_streams(path / "late.mkv", ClipShape())
except ValueError as error:
    print("gap of" in str(error))
"""


def test_many_channels_and_late_frames_in_a_process_of_limited_memory(tmp_path, root):
    cases.sound(tmp_path / "16.wav", 16)
    cases.sound(tmp_path / "8.wav", 8)
    cases.late_frame(tmp_path / "late.mkv")
    command = [sys.executable, "-c", LIMITED, str(root), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.split() == ["16", "8", "True"]


def test_audio_with_eight_channels_is_measured_and_conformed(tmp_path):
    cases.sound(tmp_path / "many.wav", 8)
    assert read_waveform(tmp_path / "many.wav")[0].shape == (8, 4000)
    assert read_signals(tmp_path / "many.wav").sound.loudness.true_peak < 0
    assert len(read_streams(tmp_path / "many.wav", ClipShape()).audio) == 2


def test_channels_stay_in_order(tmp_path):
    with wave.open(str(tmp_path / "two.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\x00\x20\x00\xc0" * 4000)
    waveform, _ = read_sound(tmp_path / "two.wav")
    assert torch.equal(waveform[:, 0], torch.tensor([0.25, -0.5]))
    assert torch.equal(read_sound(tmp_path / "two.wav", start=0.1, seconds=0.05)[0], waveform[:, 1600:2400])
    with open_media(tmp_path / "two.wav") as container:
        assert samples_of(next(container.decode(audio=0)))[:, 0].tolist() == [8192, -16384]


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


def test_metadata_that_is_no_text_does_not_prevent_reading(tmp_path):
    cases.sound(tmp_path / "a.wav")
    info = b"INFOINAM\x04\x00\x00\x00\xff\xfe\xb2\x00"
    data = (tmp_path / "a.wav").read_bytes() + b"LIST" + struct.pack("<I", len(info)) + info
    (tmp_path / "a.wav").write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    assert read_sound(tmp_path / "a.wav")[0].shape == (2, 4000)
    with open_media(tmp_path / "a.wav") as container:
        assert "\ufffd" in container.metadata["title"]
