"""Measures of a user's clips: scores computed by hand, distances with known values, names of measures, and the command."""

import json

import pytest
import torch
from safetensors.torch import save_file

from duet_av.pipelines.bench.javisbench import (
    Features,
    check_clips,
    clip_of,
    distances,
    file_numbers,
    measure_list,
    read_features,
    samples_of,
)
from duet_av.pipelines.cli.main import main
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.media.mp4 import write_mp4
from duet_av.pipelines.media.sound import read_sound, write_wav
from duet_av.pipelines.sync.desync import Desync, DesyncMeter
from duet_av.pipelines.sync.distances import divergence, frechet, inception_score, kernel_distance
from duet_av.pipelines.sync.encoders import (
    CAVP,
    IMAGEBIND,
    ClapEncoder,
    ClipEncoder,
    Embedded,
    EmbeddingFile,
    aggregated,
    avh_score,
    cavp_similarity,
    frame_windows,
    javis_score,
)
from duet_av.pipelines.sync.synchformer import Synchformer, SynchformerConfig

UP, SIDE = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])


def test_windows_end_with_the_clip():
    assert frame_windows(20, fps=10.0, window=2.0, step=0.5) == [(0, 20)]
    assert frame_windows(15, fps=10.0, window=2.0, step=0.5) == [(0, 15)]
    assert frame_windows(32, fps=10.0, window=2.0, step=0.5) == [(0, 20), (5, 25), (10, 30), (12, 32)]


def test_scores_match_values_computed_by_hand():
    frames = torch.stack([UP] * 6 + [SIDE] * 4)
    e = Embedded(frames=frames, audio=UP, audio_windows=UP[None], audio_frames=torch.stack([UP] * 12), fps=10.0)
    assert avh_score(e) == pytest.approx(0.6)
    assert javis_score(e) == pytest.approx(0.0), "the lowest two fifths are the four that do not fit"
    assert cavp_similarity(e) == pytest.approx(0.6)
    assert javis_score(Embedded(frames=frames, audio_windows=UP[None])) is None, "no rate, no windows"


def test_published_names_are_only_used_for_the_published_encoder():
    e = Embedded(frames=torch.stack([UP, UP]), audio=UP, video=UP, text=SIDE, audio_windows=UP[None], fps=1.0)
    assert aggregated(IMAGEBIND, e) == {
        "JavisScore": pytest.approx(1),
        "AVHScore": pytest.approx(1),
        "IB-AV": pytest.approx(1),
        "IB-TV": pytest.approx(0),
        "IB-TA": pytest.approx(0),
    }
    assert set(aggregated("mine", e)) == {
        "javis (mine)",
        "avh (mine)",
        "video-audio (mine)",
        "text-video (mine)",
        "text-audio (mine)",
    }
    assert "CAVP-Sim" in aggregated(CAVP, Embedded(frames=UP[None], audio_frames=UP[None]))


def test_distances_have_their_known_values():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(4000, 3, generator=generator)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet(a, a + torch.tensor([3.0, 4.0, 0.0])) == pytest.approx(25, abs=1e-6)
    # two Gaussians of deviations 1 and 2: 3 (1 + 4 - 2 * 2)
    assert frechet(a, 2 * torch.randn(4000, 3, generator=generator)) == pytest.approx(3, rel=0.08)
    assert frechet(a[:3], a[:3] + 1) == pytest.approx(3, abs=1e-5), "fewer samples than channels"
    assert kernel_distance(a[:500], a[500:1000]) == pytest.approx(0, abs=0.1)
    assert kernel_distance(a[:500], a[:500] + 1) > 0.5
    one_hot = torch.eye(4)
    assert inception_score(one_hot) == pytest.approx(4)
    assert divergence(one_hot, one_hot) == pytest.approx(0)
    for f, message in ((frechet, "at least 2"), (kernel_distance, "at least 2")):
        with pytest.raises(ValueError, match=message):
            f(a[:1], a)
    with pytest.raises(ValueError, match="equal channels"):
        frechet(a, a[:, :2])
    with pytest.raises(ValueError, match="pairs"):
        divergence(one_hot, one_hot[:2])


def test_distances_of_other_features_have_other_names():
    features = Features(torch.randn(6, 3), torch.randn(6, 3))
    found = distances({"i3d-400": features, "probe": features})
    assert set(found) == {"FVD", "KVD", "Frechet distance (probe)", "kernel distance (probe)"}


def test_fad_is_scaled_as_javisbench_scales_it():
    a, b = torch.randn(9, 3), torch.randn(9, 3)
    found = distances({"audioclip": Features(a, b), "panns": Features(a, b), "vggish": Features(a, b)})
    assert set(found) == {"FAD", "FD", "FAD-VGGish"}
    assert float(found["FAD"]) == pytest.approx(10_000 * frechet(b, a), abs=1e-3)
    assert float(found["FD"]) == float(found["FAD-VGGish"]) == pytest.approx(frechet(b, a), abs=1e-3)


def test_scores_without_windows_or_frames_are_left_out():
    none = torch.zeros(0, 2)
    assert javis_score(Embedded(frames=UP[None], audio_windows=none, fps=10.0)) is None
    assert javis_score(Embedded(frames=none, audio_windows=UP[None], fps=10.0)) is None
    assert javis_score(Embedded(frames=torch.stack([UP] * 3), audio_windows=UP[None], fps=0.1)) == pytest.approx(1)
    assert avh_score(Embedded(frames=none, audio=UP)) is None
    assert cavp_similarity(Embedded(frames=UP[None], audio_frames=none)) is None


@pytest.fixture
def bench(tmp_path, clip):
    (tmp_path / "list.csv").write_text("text,cat\na ball bounces,1\na bell,2\n", encoding="utf-8")
    for i in range(2):
        write_mp4(tmp_path / f"sample_000{i}.mp4", clip)
    tensors = {}
    for i in range(2):
        tensors |= {f"sample_000{i}/{part}": UP.clone() for part in ("video", "audio", "text")}
    save_file(tensors, tmp_path / "ib.safetensors", metadata={"encoder": IMAGEBIND})
    return tmp_path


def test_the_command_computes_every_measure_that_the_files_allow(bench, capsys):
    where = ["--csv", str(bench / "list.csv"), "--clips", str(bench)]
    assert main(["bench", "javisbench", *where]) == 0
    printed = capsys.readouterr().out
    assert "| in_step |" in printed
    assert "JavisScore: embeddings of imagebind_huge" in printed
    assert "FVD: features of i3d-400" in printed
    assert "| IB-AV |" not in printed
    save_file({"i3d-400/clips": torch.randn(4, 3), "i3d-400/real": torch.randn(4, 3)}, bench / "f.safetensors")
    files = ["--embeddings", str(bench / "ib.safetensors"), "--features", str(bench / "f.safetensors")]
    assert main(["bench", "javisbench", *where, *files, "--json", str(bench / "out.json")]) == 0
    capsys.readouterr()
    table = json.loads((bench / "out.json").read_text())
    assert table["rows"][0]["metrics"]["IB-AV"]["mean"] == pytest.approx(1)
    assert float(table["notes"]["FVD"]) > 0
    assert table["weights"] == {}
    assert "(out.png)" in (bench / "out.md").read_text()


def test_each_aspect_has_a_table_of_its_categories(bench, capsys):
    (bench / "list.csv").write_text(
        'text,cat0_ind,cat1_ind,cat2_ind,cat3_ind,cat4_ind\na ball,0,2,"0,3",1,\na bell,0,0,3,1,2\n', encoding="utf-8"
    )
    same = torch.randn(2, 3)
    save_file({"audioclip/clips": same, "audioclip/real": same + 1}, bench / "f.safetensors")
    where = ["--csv", str(bench / "list.csv"), "--clips", str(bench), "--features", str(bench / "f.safetensors")]
    assert main(["bench", "javisbench", *where, "--json", str(bench / "out.json")]) == 0
    capsys.readouterr()
    table = json.loads((bench / "out.json").read_text())
    counts = {
        (row["variant"], row["stratum"]): row["metrics"]["in_step"]["n"]
        for row in table["rows"]
        if "in_step" in row["metrics"]
    }
    assert counts == {
        ("clips", "all"): 2,
        ("Event Scenario", "Natural Scenario"): 2,
        ("Visual Style", "Camera Shooting"): 1,
        ("Visual Style", "3D-Animate"): 1,
        ("Sound Type", "Ambient sounds"): 1,
        ("Sound Type", "Musical sounds"): 2,
        ("Temporal Composition", "Sequential events"): 2,
        ("Spatial Composition", "Off-screen sound"): 1,
    }
    assert table["notes"]["distances by Event Scenario"] == {"Natural Scenario": {"FAD": pytest.approx(30_000)}}
    (bench / "list.csv").write_text("text,cat1_ind\na ball,3\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"cat1_ind \(Visual Style\) is '3'; it must hold indices from 0 to 2"):
        samples_of(bench / "list.csv", bench)


def test_one_command_generates_measures_and_resumes(tmp_path, capsys):
    (tmp_path / "list.csv").write_text("text\na small red ball bounces\na bell rings\na drum\n", encoding="utf-8")
    where = ["--csv", str(tmp_path / "list.csv"), "--clips", str(tmp_path / "clips"), "--model", "pocket"]
    assert main(["bench", "javisbench", *where, "--jobs", "2"]) == 0
    printed = capsys.readouterr().out
    assert "3 generated, 0 kept" in printed
    assert "WER, LSE-C, LSE-D and other speech scores" in printed
    first = tmp_path / "clips" / "sample_0001.mp4"
    audio, _ = read_sound(first.with_suffix(".wav"))
    before = {path.name: path.stat().st_mtime_ns for path in first.parent.iterdir()}
    assert len(before) == 6
    first.unlink()
    assert main(["bench", "javisbench", *where]) == 0
    assert "1 generated, 2 kept" in capsys.readouterr().out
    # The seed depends on the row alone; only the number of threads differs, which changes the last bits.
    assert float((read_sound(first.with_suffix(".wav"))[0] - audio).abs().max()) < 0.02
    assert all(p.stat().st_mtime_ns == before[p.name] for p in first.parent.iterdir() if p.stem != first.stem)
    assert main(["bench", "javisbench", *where, "--seed", "5"]) == 2
    assert "was generated with seed 1000, not with seed 5" in capsys.readouterr().err
    (tmp_path / "list.csv").write_text("text\nxylophonist\n", encoding="utf-8")
    assert main(["bench", "javisbench", *where[:3], str(tmp_path / "other"), *where[4:]]) == 2
    assert "sample_0000: The prompt 'xylophonist' names nothing" in capsys.readouterr().err


def test_desync_is_measured_on_four_seconds(bench):
    class Meter(DesyncMeter):
        def measure(self, frames, waveform, sample_rate):
            frames = list(frames)
            assert len(frames) == 100
            assert waveform.shape == (1, 64_000)
            assert float(frames[40].max()) > 0.1
            assert float(frames[-1].max()) == float(waveform[:, 32_000:].abs().max()) == 0, "the clip has 2 s"
            return Desync(0.2, 1.0, 0.4, [])

    meter = Meter(Synchformer(SynchformerConfig(channels=4, encoder_depth=1, encoder_heads=1, depth=1, heads=1)))
    table = measure_list(samples_of(bench / "list.csv", bench), [], desync=meter)
    assert table.rows["clips"]["all"]["DeSync"].mean == pytest.approx(0.4)
    assert "DeSync" not in table.notes["not measured"]


def test_wrong_shapes_are_reported_before_clips_are_measured(bench):
    samples = samples_of(bench / "list.csv", bench)
    measured = []
    with pytest.raises(ValueError, match=r"passt/real and passt/clips: .* compared in pairs"):
        measure_list(
            samples,
            [],
            features={"passt": Features(torch.ones(2, 3), torch.ones(3, 3))},
            on_clip=lambda: measured.append(1),
        )
    assert not measured
    for tensors, message in (
        ({"a/audio": UP[None].clone()}, r"a/audio has shape \(1, 2\); it must be \[channels\]"),
        ({"a/audio": torch.ones(2), "a/frames": torch.ones(2, 3)}, "2, 3 channels"),
        ({"a/audio": torch.full((2,), float("nan"))}, "not finite"),
    ):
        save_file(tensors, bench / "wrong.safetensors", metadata={"encoder": "e"})
        with pytest.raises(ValueError, match=message):
            EmbeddingFile.read(bench / "wrong.safetensors")


def test_mistakes_are_reported_before_anything_is_measured(bench, capsys):
    where = ["--csv", str(bench / "list.csv"), "--clips", str(bench)]
    assert main(["bench", "javisbench", "--csv", str(bench / "list.csv")]) == 2
    assert "requires --csv FILE with prompts and --clips" in capsys.readouterr().err
    assert main(["bench", "core", *where]) == 2
    assert "--csv only applies to javisbench" in capsys.readouterr().err
    (bench / "sample_0001.mp4").unlink()
    with pytest.raises(ValueError, match=r"1 of 2 clips are missing .* sample_0001.mp4"):
        check_clips(samples_of(bench / "list.csv", bench))
    (bench / "bad.csv").write_text("prompt\nx\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no column 'text'"):
        samples_of(bench / "bad.csv", bench)
    for name, tensors, about in (("a", {"x/audio": UP}, {}), ("b", {"x/taste": UP}, {"encoder": "e"})):
        save_file(tensors, bench / f"{name}.safetensors", metadata=about)
        with pytest.raises(ValueError, match="is not a file of embeddings"):
            EmbeddingFile.read(bench / f"{name}.safetensors")
    save_file({"x/audio": UP}, bench / "c.safetensors", metadata={"encoder": "e", "fps": "many"})
    with pytest.raises(ValueError, match="'many'; it must be a number"):
        EmbeddingFile.read(bench / "c.safetensors")
    (bench / "cut.safetensors").write_bytes(b"nothing")
    for read in (EmbeddingFile.read, read_features):
        with pytest.raises(ValueError, match="not a complete safetensors file"):
            read(bench / "cut.safetensors")
    save_file({"i3d-400/clips": torch.zeros(2, 2)}, bench / "half.safetensors")
    with pytest.raises(ValueError, match="pairs of tensors"):
        read_features(bench / "half.safetensors")
    for make, kind in ((ClapEncoder, "CLAP"), (ClipEncoder, "CLIP")):
        with pytest.raises(ValueError, match=f"does not contain a {kind}"):
            make(bench)


def test_a_wav_file_beside_a_video_is_used(tmp_path, clip):
    silent = Clip(clip.frames, clip.fps, torch.zeros(2, 0), clip.sample_rate)
    write_mp4(tmp_path / "sample_0000.mp4", silent)
    write_wav(tmp_path / "sample_0000.wav", clip.waveform, clip.sample_rate)
    path = tmp_path / "sample_0000.mp4"
    assert clip_of(path).waveform.shape[0] == 2
    assert file_numbers(path)["lufs"] == pytest.approx(file_numbers(path.with_suffix(".wav"))["lufs"], abs=0.1)
    write_mp4(path, Clip(clip.frames, clip.fps, torch.zeros_like(clip.waveform), clip.sample_rate))
    assert float(clip_of(path).waveform.abs().max()) > 0.01, "the WAV file, not the silent AAC stream"
