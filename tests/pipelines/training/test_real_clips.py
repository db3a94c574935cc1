"""``duet data --model``: clips of all kinds, encoded with a model's own encoders into shards."""

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")

from cluster_work import Pickled
from ltx2_release import write_clip, write_clips

from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.core.weights import save_weights
from duet_av.pipelines.media import segments
from duet_av.pipelines.media.conform import fit_picture
from duet_av.pipelines.media.segments import read_segments
from duet_av.pipelines.models.ltx2.folder import LTX2Folder
from duet_av.pipelines.training import encode
from duet_av.pipelines.training.shards import ClipShards, Sample, shard_paths

SHAPE = {"seconds": 0.7, "fps": 24.0, "width": 64, "height": 32}


def duet(*arguments):
    return cli.main([str(a) for a in arguments])


def data(folder, release, out, *more):
    return duet(*("data", folder, "--model", "ltx2", release, "-o", out, "--size", "64x32", "--seconds", 0.7, *more))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def shards(clips, ltx2_release, tmp_path_factory):
    out = tmp_path_factory.mktemp("encoded") / "shards"
    assert data(clips, ltx2_release, out) == 0
    return out


def test_clips_of_all_kinds_are_encoded_or_rejected_with_a_reason(shards):
    report = json.loads((shards / "report.json").read_text())
    assert report["taken"] == {"mono.mkv": 2, "portrait.mp4": 1, "surround.mkv": 1, "varying.mkv": 2}
    reasons = report["rejected"]
    assert "no audio stream" in reasons["mute.mp4"]
    assert "lasts 0.708 s" in reasons["short.mp4"]
    assert "cannot be read as a media file" in reasons["damaged.mp4"]
    assert "it has no caption" in reasons["uncaptioned.mp4"]
    assert "it does not exist" in reasons["gone.mp4"]
    assert len(reasons) == 5


def test_latents_have_the_models_sizes_and_portrait_clips_are_turned(shards):
    found = ClipShards.read(shards)
    sizes = {sample.file: sample.video for sample in found.samples}
    assert sizes["mono.mkv"] == (128, 3, 1, 2)  # 17 frames, 32 x 64 pixels
    assert sizes["portrait.mp4"] == (128, 3, 2, 1)
    assert {sample.audio for sample in found.samples} == {(128, round(17 / 24 * 25))}
    latents, text, _ = found.draw(3, torch.Generator().manual_seed(0))
    assert latents.video.shape[0] == 3
    assert {name: tuple(z.shape[1:]) for name, z in text.items()} == {
        "video": (32, 16),
        "audio": (32, 16),
        "mask": (32,),
    }


def test_a_second_run_encodes_nothing_and_changes_no_file(clips, shards, ltx2_release, monkeypatch):
    before = {path: path.read_bytes() for path in shards.glob("*.safetensors")}
    monkeypatch.setattr(LTX2Folder, "codecs", lambda *_: pytest.fail("the codecs were loaded"))
    monkeypatch.setattr(LTX2Folder, "text", lambda *_: pytest.fail("the text encoder was loaded"))
    assert data(clips, ltx2_release, shards) == 0
    assert {path: path.read_bytes() for path in shards.glob("*.safetensors")} == before
    assert json.loads((shards / "report.json").read_text())["encoded"] == 0


def test_another_process_encodes_the_same(clips, shards, ltx2_release, tmp_path):
    folder = LTX2Folder(ltx2_release)
    report = encode.encode_clips(clips, tmp_path, folder, folder.shape(**SHAPE), executor=Pickled())
    expected = json.loads((shards / "report.json").read_text())
    assert (report.taken, report.rejected) == (expected["taken"], expected["rejected"])
    assert report.encoded == 6
    here, there = ([path.read_bytes() for path in sorted(out.glob("*.safetensors"))] for out in (shards, tmp_path))
    assert here == there


class _KilledError(Exception):
    """Replaces the signal that ends a run."""


def test_a_killed_run_continues_where_it_stopped(clips, shards, ltx2_release, tmp_path, monkeypatch):
    folder = LTX2Folder(ltx2_release)
    shape, limit = folder.shape(**SHAPE), 8000  # bytes; a segment has 6144, so each has a shard of its own
    encoder, calls = folder.codecs(*encode.processor()), []

    def killed_at_the_third(segment):
        calls.append(segment)
        if len(calls) == 3:
            raise _KilledError
        return encoder(segment)

    monkeypatch.setattr(LTX2Folder, "codecs", lambda *_: killed_at_the_third)
    with pytest.raises(_KilledError):
        encode.encode_clips(clips, tmp_path, folder, shape, shard_bytes=limit)
    report = encode.encode_clips(clips, tmp_path, folder, shape, shard_bytes=limit)
    assert report.taken == json.loads((shards / "report.json").read_text())["taken"]
    assert len(calls) - 1 == sum(report.taken.values()) + 1, "one segment was not yet in a complete shard"
    assert len(shard_paths(tmp_path, "clips")) > 3
    whole, parts = (ClipShards.read(path) for path in (shards, tmp_path))
    key = [(s.file, s.start, s.text) for s in whole.samples]
    assert [(s.file, s.start, s.text) for s in parts.samples] == key
    for a, b in zip(whole.samples, parts.samples, strict=True):
        for x, y in zip(whole.load([a])[0].both(), parts.load([b])[0].both(), strict=True):
            torch.testing.assert_close(x, y, atol=1e-3, rtol=0)


def test_changed_clips_other_settings_and_other_models_are_refused(clips, shards, ltx2_release, tmp_path, capsys):
    assert data(clips, ltx2_release, shards, "--fps", 25) == 2
    assert "fps is 24.0 there and 25.0 now" in capsys.readouterr().err
    own = tmp_path / "own"
    own.mkdir()
    write_clip(own / "a.mkv")
    (own / "a.txt").write_text("a square")
    assert data(own, ltx2_release, tmp_path / "out") == 0
    (own / "a.txt").write_text("a circle")
    assert data(own, ltx2_release, tmp_path / "out") == 0
    assert "it has changed since it was encoded" in (tmp_path / "out" / "report.json").read_text()
    (tmp_path / "wan" / "vae").mkdir(parents=True)
    (tmp_path / "wan" / "vae" / "config.json").write_text('{"_class_name": "AutoencoderKLWan"}')
    assert data(own, tmp_path / "wan", tmp_path / "no") == 2
    assert "describes a AutoencoderKLWan; AutoencoderKLLTX2Video is required" in capsys.readouterr().err
    assert data(own, ltx2_release, tmp_path / "no", "--size", "60x32") == 2
    assert "must be multiples of 32" in capsys.readouterr().err


def test_segments_are_read_one_at_a_time_and_never_span_a_cut(tmp_path, ltx2_release, monkeypatch):
    shape = LTX2Folder(ltx2_release).shape(**SHAPE)
    path = write_clip(tmp_path / "long.mkv", frames=480)
    decoded = []
    monkeypatch.setattr(segments, "fit_picture", lambda *a: decoded.append(1) or fit_picture(*a))
    parts = read_segments(path, path, shape)
    first = next(parts)
    assert len(decoded) <= shape.frames + 1
    assert first.waveform.shape == (2, round(17 / 24 * 16_000))
    assert len(list(parts)) == 480 // 17 - 1
    cut = write_clip(tmp_path / "cut.mkv", frames=48, colours=(20, 230))  # a cut at frame 24
    assert [round(segment.start * 24) for segment in read_segments(cut, cut, shape)] == [0, 24]


def test_text_states_equal_those_of_the_official_pipeline(ltx2_release):
    from diffusers import FlowMatchEulerDiscreteScheduler, LTX2Pipeline

    text = LTX2Folder(ltx2_release).text(torch.device("cpu"), torch.float32)
    pipeline = LTX2Pipeline(
        FlowMatchEulerDiscreteScheduler(), None, None, text.encoder, text.tokenizer, text.connectors, None, None
    )
    states, mask, *_ = pipeline.encode_prompt(
        "a square moves", do_classifier_free_guidance=False, max_sequence_length=32, device="cpu"
    )
    video, audio, _ = text.connectors(states, mask, padding_side="left")
    found = text("a square moves ")
    torch.testing.assert_close(found["video"], video[0].float(), atol=1e-5, rtol=0)
    torch.testing.assert_close(found["audio"], audio[0].float(), atol=1e-5, rtol=0)


def test_shards_that_duet_did_not_write_are_refused(tmp_path):
    save_weights(tmp_path / "clips-00000.safetensors", {}, kind="pocket-av", config={}, record={})
    with pytest.raises(ValueError, match="is not a shard of encoded clips"):
        ClipShards.read(tmp_path)
    with pytest.raises(ValueError, match="holds no complete set of encoded clips"):
        ClipShards.read(Path(tmp_path / "empty"))


def test_every_tenth_clip_is_held_out():
    samples = [Sample(Path("clips"), f"{k:05d}", "a.mp4", float(k), "key", (1,), (1,)) for k in range(25)]
    kept, held = ClipShards(Path(), {}, samples, {}).split(0.1)
    assert [s.name for s in held.samples] == ["00009", "00019"]
    assert len(kept.samples) == 23
    assert not set(kept.samples) & set(held.samples)
    assert ClipShards(Path(), {}, samples[:9], {}).split(0.1)[1].samples == samples[:9]


@pytest.mark.parametrize(("part", "kind"), [("vae", "AutoencoderKLLTX2Video"), ("audio_vae", "AutoencoderKLLTX2Audio")])
def test_a_configuration_without_an_entry_is_refused(ltx2_release, tmp_path, part, kind):
    for name in ("vae", "audio_vae"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_bytes((ltx2_release / name / "config.json").read_bytes())
    (tmp_path / part / "config.json").write_text(json.dumps({"_class_name": kind}))
    with pytest.raises(ValueError, match=f"{part}.config.json has no entry"):
        LTX2Folder(tmp_path).shape(seconds=1.0, fps=24.0, width=64, height=64)
