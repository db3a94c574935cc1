"""Synchformer: parity with the public implementation at small size, input, windows, files and the command.

The fixture holds outputs of the implementation by Iashin et al. (github.com/v-iashin/Synchformer) with random weights drawn from their
names, and a spectrogram by torchaudio.
"""

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from duet_av.pipelines.cli.main import main
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.media.mp4 import write_mp4
from duet_av.pipelines.sync import desync
from duet_av.pipelines.sync.desync import DesyncMeter, fitted, frames_of_clip, frames_of_file, load_synchformer, log_mel
from duet_av.pipelines.sync.synchformer import UNUSED, Synchformer, SynchformerConfig, own_tensors

FIXTURE = Path(__file__).parent / "fixtures" / "synchformer_small"
SMALL = SynchformerConfig(channels=24, encoder_depth=2, encoder_heads=2, depth=1, heads=2)


def draw(name, shape):
    generator = np.random.default_rng(zlib.crc32(f"public/{name}".encode()))
    return torch.from_numpy(generator.standard_normal(shape).astype(np.float32))


def weight(name, shape):
    value = draw(name, shape) * (0.08 if len(shape) < 2 else min(0.08, float(np.prod(shape[1:])) ** -0.5))
    return value + 1 if len(shape) == 1 and name.endswith("weight") else value


@pytest.fixture(scope="module")
def tensors():
    return {name: weight(name, shape) for name, shape in json.loads(FIXTURE.with_suffix(".json").read_text()).items()}


@pytest.fixture(scope="module")
def network(tensors):
    network = Synchformer(SMALL).eval().requires_grad_(False)
    network.load_state_dict(own_tensors(tensors), strict=True)
    return network


def test_the_network_matches_the_public_implementation(network):
    expected = load_file(FIXTURE.with_suffix(".safetensors"))
    video, audio = draw("in/video", (14, 16, 3, 224, 224)) * 0.5, draw("in/audio", (14, 128, 66)) * 0.5
    seen = torch.cat([network.video(segment[None].transpose(1, 2)) for segment in video])
    heard = network.audio(audio)
    for found, name in ((seen, "video"), (heard, "audio"), (network.compare(seen, heard), "logits")):
        torch.testing.assert_close(found, expected[name].reshape(found.shape), atol=5e-6, rtol=0)


def test_every_tensor_of_the_checkpoint_is_used(tensors):
    renamed = own_tensors(tensors)
    left_out = [name for name in tensors if name.startswith(UNUSED)]
    assert len(renamed) + len(left_out) == len(tensors)
    assert renamed.keys() == Synchformer(SMALL).state_dict().keys()
    assert len(left_out) == 2, "the embedding of single images, which the public implementation does not use either"


def test_the_spectrogram_matches_torchaudio():
    expected = load_file(FIXTURE.with_suffix(".safetensors"))["spectrum"]
    torch.testing.assert_close(log_mel(draw("in/waveform", (1, 10240)) * 0.1), expected, atol=1e-4, rtol=0)


class Fixed(Synchformer):
    """A network that always reports one class."""

    def __init__(self, chosen):
        super().__init__(SMALL)
        self.chosen, self.compared = chosen, []
        self.video, self.audio = self._encode(8, (3, 16, 224, 224)), self._encode(6, (128, 66))

    @staticmethod
    def _encode(count, shape):
        encoder = torch.nn.Identity()
        encoder.forward = lambda x: torch.zeros(len(x), count, 4) if x.shape[1:] == shape else None
        return encoder

    def compare(self, video, audio):
        self.compared.append((len(video), len(audio)))
        return 20.0 * torch.nn.functional.one_hot(torch.tensor(self.chosen), 21)


def clip(seconds, fps=25.0):
    return Clip(torch.rand(round(seconds * fps), 8, 8, 3), fps, torch.rand(2, round(seconds * 16000)) - 0.5, 16000)


def measured(network, clip):
    return DesyncMeter(network).measure(frames_of_clip(clip), clip.waveform, clip.sample_rate)


@pytest.mark.parametrize(("chosen", "offset"), [(10, 0.0), (0, 2.0), (13, -0.6)])
def test_classes_are_offsets_positive_if_the_audio_is_late(chosen, offset):
    network = Fixed(chosen)
    found = measured(network, clip(2.0))
    assert found.offset == pytest.approx(offset)
    assert found.desync == pytest.approx(abs(offset))
    assert found.confidence == pytest.approx(1, abs=1e-3)
    assert network.compared == [(14, 14)], "a short clip is repeated to 14 segments"


def test_windows_slide_over_the_clip_and_end_with_it():
    found = measured(Fixed(10), clip(8.0))
    assert [(w.start, round(w.end, 2)) for w in found.windows] == [(0.0, 4.8), (2.24, 7.04), (3.2, 8.0)]


def test_clips_without_audio_or_shorter_than_a_segment_are_refused():
    with pytest.raises(ValueError, match=r"shorter than 0.64 s"):
        measured(Fixed(0), clip(0.5))
    with pytest.raises(ValueError, match="has no audio"):
        DesyncMeter(Fixed(0)).measure(frames_of_clip(clip(1)), None, 0)


def test_a_file_has_the_same_frames_as_its_clip(tmp_path):
    short = Clip(
        torch.linspace(0, 1, 32)[:, None, None, None].expand(32, 64, 64, 3), 16.0, torch.zeros(2, 32000), 16000
    )
    write_mp4(tmp_path / "a.mp4", short)
    of_file, of_clip = list(frames_of_file(tmp_path / "a.mp4")), list(frames_of_clip(short))
    assert len(of_file) == len(of_clip) == 50
    difference = [float((a - b).abs().mean()) for a, b in zip(of_file, of_clip, strict=True)]
    assert max(difference) < 0.04, "at most one frame of 1/31 at ties"


def test_frames_are_scaled_and_cut_to_the_centre():
    assert fitted(torch.rand(720, 1280, 3)).shape == (3, 224, 224)
    assert fitted(torch.rand(64, 40, 3)).shape == (3, 224, 224)


def test_weights_files_are_checked(tmp_path, tensors):
    with pytest.raises(ValueError, match=r"does not exist; .*MMAudio"):
        load_synchformer(tmp_path / "none.pth")
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save(tensors, tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        assert torch.equal(load_synchformer(tmp_path / name, SMALL).vproj.weight, tensors["vproj.weight"])
    with pytest.raises(ValueError, match="has another shape"):
        load_synchformer(tmp_path / "a.pth", replace(SMALL, channels=48))
    for changed, message in (
        ({k: v for k, v in tensors.items() if k != "vproj.bias"}, "vproj.bias is missing"),
        (tensors | {"extra": torch.zeros(1)}, "extra is unknown"),
    ):
        torch.save(changed, tmp_path / "b.pth")
        with pytest.raises(ValueError, match=message):
            load_synchformer(tmp_path / "b.pth", SMALL)
    torch.save({"model": tensors, "args": Path("x")}, tmp_path / "c.pth")
    (tmp_path / "d.pth").write_bytes(b"nothing")
    for name in ("c.pth", "d.pth"):
        with pytest.raises(ValueError, match="not a file of tensors alone, or damaged"):
            load_synchformer(tmp_path / name)


def test_the_command_prints_the_offset_over_time(tmp_path, monkeypatch, capsys, network):
    monkeypatch.setattr(desync.DesyncMeter, "load", classmethod(lambda cls, path, device: cls(network)))
    write_mp4(tmp_path / "a.mp4", clip(1.5))
    arguments = ["measure", str(tmp_path / "a.mp4"), "--synchformer", "x.pth", "--json", str(tmp_path / "a.json")]
    assert main(arguments) == 0
    assert "Synchformer: audio" in capsys.readouterr().out
    (found,) = json.loads((tmp_path / "a.json").read_text()).values()
    assert found["synchformer"]["desync"] == pytest.approx(abs(found["synchformer"]["offset"]))


def test_the_command_reports_missing_weights_before_measuring(tmp_path, capsys):
    assert main(["measure", str(tmp_path / "a.mp4"), "--synchformer", str(tmp_path / "none.pth")]) == 2
    assert "Download synchformer_state_dict.pth" in capsys.readouterr().err
