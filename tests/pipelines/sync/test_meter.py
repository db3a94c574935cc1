"""The synchrony meter: known offsets, clips without evidence, both forms of AV-Align, loudness against its standard, media files."""

import json
import math
from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from duet_av.pipelines.cli.main import main
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.core.timeline import Timeline
from duet_av.pipelines.figures.offsets import draw_curve
from duet_av.pipelines.figures.timeline import draw_timeline
from duet_av.pipelines.media.mp4 import write_mp4
from duet_av.pipelines.media.sound import shift_sound
from duet_av.pipelines.sync.avalign import av_align_code, av_align_paper, peaks
from duet_av.pipelines.sync.events import against_plan
from duet_av.pipelines.sync.loudness import loudness
from duet_av.pipelines.sync.measure import measure, read_signals, signals_of
from duet_av.pipelines.sync.meter import agreement
from duet_av.pipelines.sync.onsets import CELLS, NOVELTIES, TICKS, cell_changes, sound_onsets, video_onsets
from duet_av.pipelines.world import irregular, make_scene, render_picture, render_sound

SHAPE = ClipShape(seconds=8.0)
RATE = SHAPE.sample_rate


@pytest.fixture(scope="module")
def clips():
    """Clips of 8 s with irregular events."""
    scenes = [irregular(make_scene(21, i, stratum="single", seconds=8.0)) for i in range(8)]
    frames = render_picture(scenes, SHAPE).permute(0, 1, 3, 4, 2)
    sounds = render_sound(scenes, samples=SHAPE.samples, sample_rate=RATE)
    return [Clip(f, float(SHAPE.fps), w, RATE) for f, w in zip(frames, sounds, strict=True)]


def late(clip, seconds):
    """``clip`` with its audio delayed."""
    return replace(clip, waveform=shift_sound(clip.waveform, samples=-round(seconds * RATE)))


@pytest.mark.parametrize("seconds", [0.0, 0.1, -0.25])
def test_an_offset_is_found_within_a_frame(clips, seconds):
    found = [measure(signals_of(late(clip, seconds))).agreement for clip in clips]
    errors = [abs(a.offset - seconds) for a in found if a.offset is not None]
    assert len(errors) >= 6
    assert sorted(errors)[len(errors) // 2] <= 1 / SHAPE.fps


def test_shifting_the_audio_by_the_measured_offset_removes_it(clips):
    found = measure(signals_of(late(clips[0], 0.2)))
    assert found.agreement.offset == pytest.approx(0.2, abs=1 / SHAPE.fps)
    back = replace(
        clips[0], waveform=shift_sound(late(clips[0], 0.2).waveform, samples=round(found.agreement.offset * RATE))
    )
    assert abs(measure(signals_of(back)).agreement.offset) <= 1 / SHAPE.fps


def test_noise_still_video_silence_and_short_clips_give_no_evidence(clips):
    noise = [replace(clip, waveform=0.1 * torch.randn(2, SHAPE.samples)) for clip in clips]
    assert sum(measure(signals_of(clip)).agreement.offset is not None for clip in noise) <= 1
    still = replace(clips[0], frames=clips[0].frames[:1].expand(128, -1, -1, -1))
    assert measure(signals_of(still)).agreement.reason == "nothing moves"
    silent = replace(clips[0], waveform=torch.zeros(2, SHAPE.samples))
    assert measure(signals_of(silent)).agreement.reason == "the audio has no onsets"
    short = Clip(clips[0].frames[:16], 16.0, clips[0].waveform[:, :RATE], RATE)
    assert "too short" in measure(signals_of(short)).agreement.reason


def test_audio_of_another_clip_rarely_gives_evidence(clips):
    swapped = [replace(clip, waveform=clips[(i + 3) % 8].waveform) for i, clip in enumerate(clips)]
    assert sum(measure(signals_of(clip)).agreement.offset is not None for clip in swapped) <= 2


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 192_000])
def test_audio_onsets_are_located_at_any_sample_rate(rate):
    t = torch.arange(2 * rate) / rate
    wave = sum(
        (t >= at) * torch.exp(-30 * (t - at).clamp_min(0)) * torch.sin(2 * math.pi * 900 * t) for at in (0.5, 1.2)
    )
    found = peaks(sound_onsets(wave[None], sample_rate=rate))
    assert len(found) == 2
    assert all(abs(a - b) < 0.02 for a, b in zip(found, (0.5, 1.2), strict=True))


def test_variable_frame_rates_keep_their_times():
    times = torch.tensor([0.0, 0.1, 0.15, 0.4, 0.9, 1.0, 1.05])
    frames = torch.zeros(7, 16, 16, 3)
    frames[4:] = 1.0
    trace = video_onsets(cell_changes(frames, times), times, seconds=1.5).sum(1)
    assert abs((int(trace.argmax()) + 0.5) / 100 - 0.9) < 0.02


def test_both_forms_of_av_align_have_known_values():
    audio, video = [0.5, 0.52, 1.0], [0.51, 2.0]
    assert av_align_code(audio, video, frame_seconds=0.0625) == pytest.approx(2 / 3)
    assert av_align_paper(audio, video, frame_seconds=0.0625) == pytest.approx(3 / 5)
    assert av_align_code([], [], frame_seconds=0.1) == av_align_paper([], [], frame_seconds=0.1) == 0
    assert av_align_code([0.5], [0.5625], frame_seconds=0.0625) == 0  # the distance must be less than a frame
    assert av_align_code([0.48, 0.5, 0.52], [0.5], frame_seconds=0.0625) == 3  # the published code can exceed 1


def independent_av_align(audio, video, fps):
    """Both forms, implemented with a matrix of distances."""
    gaps = np.abs(np.array(audio)[:, None] - np.array(video)[None])
    hits = (gaps < 1 / fps).any(1).sum() if len(video) else 0
    code = hits / max(1e-9, len(audio) + len(video) - hits)
    met = (gaps <= 1 / fps).any(1).sum() + (gaps <= 1 / fps).any(0).sum() if len(audio) and len(video) else 0
    return code, met / max(1, len(audio) + len(video))


def test_av_align_agrees_with_an_independent_implementation_on_ten_clips():
    for i in range(10):
        scene = make_scene(33, i, stratum=("single", "simultaneous")[i % 2], seconds=4.0)
        shape = ClipShape(seconds=4.0)
        frames = render_picture([scene], shape)[0].permute(0, 2, 3, 1)
        sound = render_sound([scene], samples=shape.samples, sample_rate=RATE)[0]
        clip = late(Clip(frames, float(shape.fps), sound, RATE), 0.03 * i)
        heard = peaks(sound_onsets(clip.waveform, sample_rate=RATE))
        shown = torch.arange(shape.frames) / shape.fps
        onsets = video_onsets(cell_changes(clip.frames, shown), shown, seconds=4.0)
        seen = peaks(onsets[:, : CELLS**2].sum(1))  # from frame to frame
        found = measure(signals_of(clip))
        assert (found.av_align_code, found.av_align_paper) == pytest.approx(
            independent_av_align(heard, seen, shape.fps)
        )


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 96_000])
def test_loudness_agrees_with_the_standard(rate):
    """EBU Tech 3341: a stereo sine of 1 kHz at -23 dB below full scale measures -23 LUFS."""
    t = torch.arange(rate * 12) / rate
    tone = torch.sin(2 * math.pi * 997 * t) * 10 ** (-23 / 20)
    assert loudness(torch.stack([tone, tone]), sample_rate=rate).lufs == pytest.approx(-23.0, abs=0.1)
    quiet = torch.cat([tone, tone * 10 ** (-30 / 20)])
    assert loudness(torch.stack([quiet, quiet]), sample_rate=rate).lufs == pytest.approx(-23.0, abs=0.15)


def test_true_peak_clipping_and_silence_are_detected():
    rate = 48_000
    t = torch.arange(rate) / rate
    between = torch.sin(2 * math.pi * rate / 4 * t + math.pi / 4)[None]
    found = loudness(between, sample_rate=rate)
    assert found.true_peak == pytest.approx(0.0, abs=0.1)
    assert float(between.abs().max()) < 0.72
    assert found.clipped == 0
    clipped = loudness((2 * torch.sin(2 * math.pi * 5 * t))[None].clamp(-1, 1), sample_rate=rate)
    assert clipped.clipped == 10
    half = torch.cat([0.1 * torch.ones(1, rate), torch.zeros(1, rate)], dim=1)
    assert loudness(half, sample_rate=rate).silent == pytest.approx(0.5)
    assert loudness(torch.zeros(1, rate), sample_rate=rate).lufs is None
    with pytest.raises(ValueError, match="no samples"):
        loudness(torch.zeros(1, 0), sample_rate=rate)


def test_stereo_position_follows_motion_only_with_channels_in_order():
    scenes = [make_scene(5, i, stratum="simultaneous", seconds=8.0) for i in range(30)]
    scene = next(s for s in scenes if {x.place for x in s.subjects} == {"left", "right"})
    scene = irregular(scene)
    frames = render_picture([scene], SHAPE)[0].permute(0, 2, 3, 1)
    sound = render_sound([scene], samples=SHAPE.samples, sample_rate=RATE)[0]
    in_order, swapped = (measure(signals_of(Clip(frames, 16.0, w, RATE))).side for w in (sound, sound.flip(0)))
    assert in_order is not None
    assert in_order > 0.3 > 0 > swapped


def write_audio(path, *, rate, layout, codec="pcm_s16le", seconds=2.0):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        channels = stream.layout.nb_channels
        data = (torch.randn(1, round(rate * seconds) * channels) * 3000).to(torch.int16).numpy()
        frame = av.AudioFrame.from_ndarray(data, format="s16", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(("rate", "layout"), [(8_000, "mono"), (48_000, "5.1"), (192_000, "stereo")])
def test_an_audio_file_is_measured_without_synchrony(tmp_path, rate, layout):
    write_audio(tmp_path / "a.wav", rate=rate, layout=layout)
    found = measure(read_signals(tmp_path / "a.wav"))
    assert found.agreement.reason == "the clip has no video"
    assert found.loudness.lufs is not None
    assert found.audio_seconds == pytest.approx(2.0, abs=0.01)


def test_a_file_gives_the_measurements_of_its_clip(tmp_path, clips):
    write_mp4(tmp_path / "a.mp4", late(clips[6], 0.2))
    found = measure(read_signals(tmp_path / "a.mp4"))
    assert found.agreement.offset == pytest.approx(0.2, abs=1 / SHAPE.fps)
    assert found.video_seconds == pytest.approx(8.0, abs=0.07)
    assert abs(found.drift) < 0.1
    assert draw_curve(found).axes


def test_one_frame_missing_audio_and_damaged_files_are_reported(tmp_path, capsys, clips):
    with av.open(str(tmp_path / "one.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for packet in (*stream.encode(av.VideoFrame(64, 64, "yuv420p")), *stream.encode(None)):
            container.mux(packet)
    assert measure(read_signals(tmp_path / "one.mp4")).agreement.reason == "the clip has no audio"
    still = Clip(clips[1].frames[:1], 1.0, clips[1].waveform[:, :16_000], 16_000)
    write_mp4(tmp_path / "still.mp4", still)
    assert "too short" in measure(read_signals(tmp_path / "still.mp4")).agreement.reason
    write_mp4(tmp_path / "whole.mp4", clips[1])
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:3000])
    (tmp_path / "text.mp4").write_text("no media")
    names = ("whole", "cut", "text", "gone")
    status = main(["measure", *(f"{tmp_path}/{n}.mp4" for n in names), "--json", f"{tmp_path}/out.json"])
    printed = capsys.readouterr()
    assert status == 2
    assert "3 of 4 file(s) could not be measured" in printed.err
    assert "whole.mp4: audio" in printed.out or "whole.mp4: no evidence" in printed.out
    found = json.loads((tmp_path / "out.json").read_text())
    assert [("refused" in found[f"{tmp_path}/{n}.mp4"]) for n in names] == [False, True, True, True]


def test_shifting_audio_keeps_its_length():
    wave = torch.arange(1.0, 7.0)[None]
    assert shift_sound(wave, samples=2).tolist() == [[3, 4, 5, 6, 0, 0]]
    assert shift_sound(wave, samples=-2).tolist() == [[0, 0, 1, 2, 3, 4]]
    assert shift_sound(wave, samples=9).tolist() == [[0] * 6]


def test_strength_is_a_correlation(clips):
    signals = signals_of(clips[0])
    heard = sound_onsets(clips[0].waveform, sample_rate=RATE)
    itself = agreement(heard, heard[:, None])
    assert itself.strength == pytest.approx(1.0, abs=1e-3)
    assert itself.offset == pytest.approx(0.0, abs=1e-3)
    assert 0 < measure(signals).agreement.strength < 1


def test_the_timeline_plot_shows_planned_events_or_the_offset(clips):
    timeline = Timeline.read("0.50 bell left\n1.20 bell left\n1.50 ball right silent")
    comparison = against_plan(timeline, {"bell": (0.52, 1.9)}, {"bell": (0.5, 1.2), "ball": (1.5,)})
    assert comparison == "against the plan: heard F1 0.50, seen F1 1.00"
    events = {"bell": (0.5, 1.2)}
    plain = draw_timeline(clips[0], events, events, title="t", score="")
    planned = draw_timeline(clips[0], events, events, title="t", score="", plan=timeline)
    assert len(planned.axes[3].lines) == len(plain.axes[3].lines) + 2, (
        "one mark for each planned event of a detected kind"
    )
    measured = measure(signals_of(clips[0]))
    shown = draw_timeline(clips[0], {}, {}, title="t", score="", measured=measured).axes[3]
    assert len(shown.lines[0].get_xdata()) == sum(a.offset is not None for _, a in measured.seconds)


def test_only_the_start_of_a_flash_is_new():
    frames = torch.zeros(40, 16, 16, 3)
    frames[20:26] = 1.0
    changes = cell_changes(frames, torch.arange(40) / 25)
    previous, known = changes[:, 0].sum(1), changes[:, 3].sum(1)
    assert previous.nonzero().flatten().tolist() == [20, 26]
    assert known.nonzero().flatten().tolist() == [20]
    shorter = changes[:, 1].sum(1)  # 0.15 s do not know the picture from before a flash of 0.24 s
    assert shorter.nonzero().flatten().tolist() == [20, 26]


@pytest.mark.parametrize("times", [[0.0] * 40, [k / 20 + 50 * (k > 20) for k in range(40)]])
def test_frames_with_one_time_or_after_the_end_of_a_damaged_file_are_measured(times):
    changes = torch.rand(40, NOVELTIES + 2, 4, generator=torch.Generator().manual_seed(0))
    traces = video_onsets(changes, torch.tensor(times), seconds=2.0)
    assert traces.shape == (round(2.0 * TICKS), (NOVELTIES + 1) * 4)
    assert traces.isfinite().all()
