"""``duet train timed-lora``: times in captions, their windows, what the network reads, a short run, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("diffusers")
pytest.importorskip("peft")

from ltx2_release import write_clip

from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.core.timed_events import TimedEvents
from duet_av.pipelines.guidance.timed import HIDDEN
from duet_av.pipelines.media.segments import Segment
from duet_av.pipelines.models.ltx2.folder import LTX2Folder
from duet_av.pipelines.training.encode import encode_clips
from duet_av.pipelines.training.lora import LoRAObjective
from duet_av.pipelines.training.own_models import OwnLTX2
from duet_av.pipelines.training.shards import ClipShards
from duet_av.pipelines.training.sidecars import find_sources
from duet_av.pipelines.training.timed_captions import TimedCaption, restored, stored
from duet_av.pipelines.training.timed_lora import TimedLoRAObjective, TimedLTX2

FPS, FRAMES = 24.0, 17  # of a segment: 3 video latents of 1, 8 and 8 frames


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A clip with written times, one whose sound tells them, and one with a caption alone."""
    folder = tmp_path_factory.mktemp("timed")
    for name in ("times", "heard", "plain"):
        write_clip(folder / f"{name}.mkv", frames=36)
    (folder / "times.txt").write_text("a square")
    lines = ["0.2-0.5 video: it moves", "1.0 audio: a tone"]
    (folder / "times.json").write_text(json.dumps({"events": lines}))
    (folder / "heard.json").write_text(json.dumps({"caption": "a square", "onset": "a tone begins"}))
    (folder / "plain.txt").write_text("a grey square")
    return folder


@pytest.fixture(scope="module")
def shards(clips, ltx2_release, tmp_path_factory):
    out, model = tmp_path_factory.mktemp("shards"), LTX2Folder(ltx2_release)
    encode_clips(clips, out, model, model.shape(seconds=0.7, fps=FPS, width=64, height=32))
    return ClipShards.read(out)


def network(release):
    return LTX2Folder(release).network(torch.device("cpu"), torch.float32)


def train(release, shards, run, *more, model="ltx2", stage="timed-lora"):
    options = ["--model", model, release, "--data", shards, "--run", run, "--rank", 2, "--steps", 2, *more]
    return cli.main([str(a) for a in ("train", stage, *options)])


def test_times_are_read_beside_a_file_and_from_tables(clips, tmp_path):
    found = {source.name: source.timed for source in find_sources(clips, times=True).found}
    assert [str(e) for e in found["times.mkv"].events.events] == ["0.2-0.5 video: it moves", "1 audio: a tone"]
    assert found["times.mkv"].texts == ("a square", "a square. it moves", "a square. a tone")
    assert found["heard.mkv"].texts == ("a square", "a square. a tone begins")
    assert not found["plain.mkv"].timed
    write_clip(tmp_path / "a.mkv", frames=4)
    (tmp_path / "clips.csv").write_text('path,text,events\na.mkv,a square,"0.1: it moves"\n')
    (source,) = find_sources(tmp_path, times=True).found
    assert str(source.timed.events) == "0.1 both: it moves"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"events": "soon: it moves"}, "Line 1 of the timed events"),
        ({"events": {"at": 1}}, "its entry 'events' is {'at': 1}; it must be a text or"),
        ({"events": ["0.1: it moves", 7]}, "its entry 'events' is ['0.1: it moves', 7]; it must be a text or"),
        ({"onset": ["a tone"]}, "its entry 'onset' is ['a tone']; it must be a text"),
    ],
)
def test_a_clip_with_unreadable_times_is_left_out_with_the_reason(tmp_path, entries, message):
    write_clip(tmp_path / "a.mkv", frames=4)
    (tmp_path / "a.json").write_text(json.dumps({"caption": "a square", **entries}))
    found = find_sources(tmp_path, times=True)
    assert not found.found
    assert message in found.rejected["a.mkv"]


def test_json_of_other_tools_is_ignored_where_times_are_not_used(tmp_path):
    write_clip(tmp_path / "a.mkv", frames=4)
    (tmp_path / "a.txt").write_text("a square")
    for text in ("[1]", '{"events": [{"t": 1}]}'):
        (tmp_path / "a.json").write_text(text)
        (source,) = find_sources(tmp_path).found
        assert not source.timed.timed
    (tmp_path / "a.json").write_text("[1]")
    assert find_sources(tmp_path, times=True).found


RATE = 16_000


def segment_of(wave, start=3.0):
    frames = torch.zeros(24, 8, 8, 3, dtype=torch.uint8)
    return Segment(start, frames, torch.as_tensor(wave).float().expand(2, -1))


def test_each_onset_of_the_sound_is_an_event_and_background_noise_has_none():
    noise = 1e-3 * np.random.default_rng(0).standard_normal(RATE)
    wave = noise.copy()
    for time in (0.25, 0.7):
        at = round(time * RATE)
        wave[at : at + 800] += np.sin(2 * np.pi * 600 * np.arange(800) / RATE)
    caption = TimedCaption("a hammer", onset="it strikes")
    assert caption.within(segment_of(noise), RATE) == []
    found = caption.within(segment_of(wave), RATE)
    assert [e.asked for e in found] == pytest.approx([0.25, 0.7], abs=0.02)
    assert {(e.text, e.streams) for e in found} == {("a hammer. it strikes", ("video", "audio"))}


def test_an_event_at_one_time_belongs_to_the_segment_of_that_time():
    events = TimedEvents.read("4.02 both: slam\n3.95-4.2 both: thunder")
    before, after = (
        TimedCaption("a door", events).within(segment_of(torch.zeros(RATE), start), RATE) for start in (3.0, 4.0)
    )
    assert [e.text for e in before] == ["a door. thunder"], "the range around 4.02 s begins before 4 s"
    assert [e.text for e in after] == ["a door. slam", "a door. thunder"]
    assert (after[0].start, after[0].end) == pytest.approx((0.0, 0.16))


def test_a_run_does_not_resume_with_other_times(clips, shards, ltx2_release, tmp_path, capsys):
    assert train(ltx2_release, shards.folder, tmp_path) == 0
    other, model = tmp_path / "clips", LTX2Folder(ltx2_release)
    shutil.copytree(clips, other)
    text = (other / "times.json").read_text()
    (other / "times.json").write_text(text.replace("0.2-0.5", "0.3-0.6"))
    target = tmp_path / shards.folder.name
    encode_clips(other, target, model, model.shape(seconds=0.7, fps=FPS, width=64, height=32))
    assert train(ltx2_release, target, tmp_path, "--steps", "3") == 2
    assert "data" in capsys.readouterr().err


def test_the_events_of_a_segment_are_stored_in_its_own_time(shards):
    first, second = (s for s in shards.samples if s.file == "times.mkv")
    assert first.start == 0
    (moves,) = first.events
    assert (moves.start, moves.end, moves.streams) == (0.2, 0.5, ("video",))
    (tone,) = second.events
    assert tone.end == pytest.approx(1.14 - second.start, abs=1e-3)
    assert tone.streams == ("audio",)
    assert {s.file: bool(s.events) for s in shards.samples if s.file != "times.mkv"}["plain.mkv"] is False
    assert {moves.text, tone.text, first.text} <= shards.texts.keys()
    assert restored(stored(first.events)) == first.events
    with pytest.raises(ValueError, match="timed events cannot be read"):
        restored([[0.1, 0.2, "key", "smell", 1.0]])
    with pytest.raises(ValueError, match="timed events cannot be read"):
        restored([[10**400, 0.2, "key", "both", 1.0]])


def test_each_latent_reads_the_text_of_its_time(shards, ltx2_release):
    sample = next(s for s in shards.samples if s.file == "times.mkv")
    objective = TimedLoRAObjective(TimedLTX2(network(ltx2_release)))
    batch = objective.batch(shards, shards.load([sample]), torch.Generator().manual_seed(0))
    words = shards.words
    video, audio = (shares[0] for shares in batch.read.shares.both())
    assert video.shape == (3, 2 * words)
    assert audio.shape[1] == words, "the event is seen and not heard"
    assert torch.equal(audio, torch.zeros_like(audio))
    # Latents cover 0 to 1/24 s, to 9/24 s and to 17/24 s; an event shorter than a latent is shared out between those that it reaches.
    shares = torch.tensor([0.0, 9 / FPS - 0.2, 0.5 - 9 / FPS]) / 0.3
    expected = torch.stack([shares, 1 - shares], dim=1).log().clamp_min(HIDDEN)
    torch.testing.assert_close(video[:, [0, words]], expected, atol=1e-5, rtol=0)
    own = shards.states(sample.text)["video"]
    torch.testing.assert_close(batch.read.text.video[0, words:], own)


def test_without_events_the_network_reads_its_caption_as_ever(shards, ltx2_release):
    sample = next(s for s in shards.samples if s.file == "plain.mkv")
    model = network(ltx2_release)
    losses = [
        objective(objective.batch(shards, shards.load([sample, sample]), torch.Generator().manual_seed(0)))["loss"]
        for objective in (LoRAObjective(OwnLTX2(model)), TimedLoRAObjective(TimedLTX2(model)))
    ]
    torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-5)


def test_clips_with_more_and_fewer_texts_share_a_batch(shards, ltx2_release):
    samples = [next(s for s in shards.samples if s.file == name) for name in ("times.mkv", "plain.mkv")]
    objective = TimedLoRAObjective(TimedLTX2(network(ltx2_release)))

    def velocity(chosen):
        drawn = shards.load(chosen)
        read = objective.batch(shards, drawn, torch.Generator().manual_seed(0)).read
        sigma = Streams(torch.full((len(chosen), 1), 0.5), torch.full((len(chosen), 1), 0.5))
        return objective.model.velocity(drawn.latents, sigma, read)

    both, alone = velocity(samples), velocity(samples[1:])
    for together, single in zip(both.both(), alone.both(), strict=True):
        torch.testing.assert_close(together[1:], single, atol=1e-5, rtol=1e-5)


def test_a_run_writes_a_lora_of_the_text_attention_alone(shards, ltx2_release, tmp_path, capsys):
    assert train(ltx2_release, shards.folder, tmp_path, "--estimate") == 0
    assert "GiB" in capsys.readouterr().out
    assert train(ltx2_release, shards.folder, tmp_path) == 0
    tensors = load_file(tmp_path / "timed-lora" / "ltx2-timed-lora.safetensors")
    assert {name.split(".")[3] for name in tensors} == {"attn2", "audio_attn2"}
    assert any(value.abs().max() > 0 for name, value in tensors.items() if "lora_B" in name)
    capsys.readouterr()


def test_what_cannot_be_trained_is_refused(shards, ltx2_release, ltx2_shards, tmp_path, capsys):
    assert train(ltx2_release, ltx2_shards, tmp_path) == 2
    assert "states when something happens" in capsys.readouterr().err
    assert train(ltx2_release, shards.folder, tmp_path, model="javisdit-v1.0") == 2
    assert "timed-lora trains ltx2" in capsys.readouterr().err
