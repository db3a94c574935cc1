"""The pocket codecs: exact where they should be, measured where they lose."""

import pytest
import torch

from duet_av.pipelines.bench.fidelity import moving, psnr
from duet_av.pipelines.bench.sound_audit import audit
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.models.pocket.audio_codec import BIN, AudioCodec, envelope, follow, griffin_lim, log_mel, spectra
from duet_av.pipelines.models.pocket.load import load_audio_codec, load_video_codec
from duet_av.pipelines.models.pocket.pca import PatchPCA
from duet_av.pipelines.models.pocket.video_codec import VideoCodec
from duet_av.pipelines.world import make_scenes, render_picture, render_sound

SCENES = make_scenes(77, 12, split="test")


@pytest.fixture(scope="module")
def waveforms():
    return render_sound(SCENES, samples=32_000, sample_rate=16_000)


def test_all_components_reconstruct_exactly_and_are_standardised():
    pca = PatchPCA(6, 6)
    x = torch.randn(500, 6) @ torch.randn(6, 6) + 3
    pca.fit(x)
    z = pca.encode(x)
    assert torch.allclose(pca.decode(z), x, atol=1e-4)
    assert z.mean(0).abs().max() < 1e-4
    assert z.square().mean().item() == pytest.approx(1, rel=0.01)


def test_strong_components_keep_a_larger_deviation():
    pca = PatchPCA(3, 3)
    pca.fit(torch.randn(5000, 3) * torch.tensor([9.0, 4.0, 1.0]))
    spread = pca.encode(torch.randn(5000, 3) * torch.tensor([9.0, 4.0, 1.0])).std(0)
    assert spread[0] / spread[2] == pytest.approx(3, rel=0.1)  # the square root of 9 to 1


def test_world_video_is_reconstructed():
    frames = render_picture(SCENES, ClipShape())
    codec = load_video_codec()
    latent = codec.encode(frames)
    assert latent.shape == (12, 16, 8, 8, 8)
    error = (codec.decode(latent) - frames).square().mean()
    assert -10 * error.log10() > 25


def test_the_learnt_decoder_reconstructs_motion_better_than_the_linear_inverse():
    frames, codec = render_picture(SCENES, ClipShape()), load_video_codec()
    linear = VideoCodec(channels=codec.channels)
    linear.pca = codec.pca
    sharp, plain = (psnr(c.decode(codec.encode(frames)), frames, moving(frames)) for c in (codec, linear))
    assert sharp > plain + 3


def test_decoding_in_chunks_equals_decoding_at_once():
    torch.manual_seed(0)
    codec = VideoCodec(channels=4, widths=(8, 6, 4), depths=(1, 1, 2))
    codec.pca.basis.normal_(std=0.1)
    codec.CHUNK = 3
    latent = torch.randn(1, 4, 11, 2, 3)
    parts = list(codec.stream(latent))
    assert [p.shape[1] for p in parts] == [12, 12, 12, 8]
    assert torch.allclose(torch.cat(parts, dim=1), codec.pixels(latent).clamp(0, 1), atol=1e-6)


def test_world_audio_is_reconstructed(waveforms):
    codec = load_audio_codec()
    latent = codec.encode(waveforms)
    assert latent.shape == (12, 24, 32)
    decoded = codec.decode(latent, samples=32_000)
    assert decoded.shape == waveforms.shape
    assert decoded.abs().max() <= 1
    distance = (log_mel(decoded, sample_rate=16_000) - log_mel(waveforms, sample_rate=16_000)).abs().mean()
    assert distance * 3 * 8.686 < 2.5  # decibels


def test_silence_stays_silent():
    codec = load_audio_codec()
    assert codec.decode(codec.encode(torch.zeros(1, 2, 32_000))).abs().max() < 0.02


def test_a_click_is_in_the_mel_frame_of_its_time():
    for sample in (125, 4_000, 31_990):
        wave = torch.zeros(1, 1, 32_000)
        wave[..., sample] = 1
        frame = log_mel(wave, sample_rate=16_000)[0, 0].mean(0).argmax().item()
        assert abs((frame + 0.5) * 250 - sample) <= 250


@pytest.mark.parametrize(("samples", "frames"), [(32_000, 128), (31_999, 128), (251, 2), (1, 1)])
def test_mel_frames_cover_every_sample(samples, frames):
    assert log_mel(torch.zeros(1, 2, samples), sample_rate=16_000).shape[-1] == frames


def test_griffin_lim_is_deterministic_and_keeps_an_onset(waveforms):
    wave = torch.zeros(1, 2, 16_000)
    wave[..., 8_000:8_800] = waveforms[0].abs().max() * torch.sin(torch.arange(800) * 0.5)
    padded = torch.nn.functional.pad(wave[:, 0], (387, 387))
    magnitude = torch.stft(padded, 1024, 250, window=torch.hann_window(1024), center=False, return_complex=True).abs()
    first, second = (griffin_lim(magnitude[:, None], samples=16_000)[:, 0] for _ in range(2))
    assert torch.equal(first, second)
    heard = first[0].abs().gt(0.3 * first.abs().max()).nonzero()[0].item()
    assert abs(heard - 8_000) < 0.016 * 16_000


def test_channels_of_a_panned_sound_stay_in_phase():
    tone = torch.sin(torch.arange(16_000) * 0.3) * torch.linspace(0, 1, 16_000)
    left, right = griffin_lim(spectra(torch.stack([tone, 0.5 * tone]))[None], samples=16_000)[0]
    assert torch.allclose(left, 2 * right, atol=1e-4)


def test_what_is_louder_than_the_envelope_is_attenuated_and_silence_is_exact():
    wave = torch.randn(1, 40 * BIN)
    levels = envelope(wave)
    levels[:, 10:20], levels[:, 30:] = levels[:, 10:20] / 4, 0
    quiet = follow(wave, levels)
    assert torch.allclose(quiet[:, : 6 * BIN], wave[:, : 6 * BIN], atol=1e-5)
    assert envelope(quiet)[0, 13:17].div(levels[0, 13:17]).sub(1).abs().max() < 0.2
    assert quiet[:, 30 * BIN :].abs().max() == 0


def test_decoded_audio_has_one_lobe_an_event_and_nothing_before_it(waveforms):
    codec = load_audio_codec()
    singles = make_scenes(78, 12, split="test", mix={"single": 1.0})
    true = render_sound(singles, samples=32_000, sample_rate=16_000)
    assert audit(true, true, singles)["lobes_per_event"] == 1
    found = audit(codec.decode(codec.encode(true), samples=32_000), true, singles)
    assert found["lobes_per_event"] < 1.2
    assert found["level_before_onset"] < -80
    assert found["envelope_correlation"] > 0.97
    assert found["clipped"] == 0


def test_a_codec_without_a_vocoder_refuses_to_decode():
    codec = AudioCodec(channels=4, sample_rate=16_000)
    with pytest.raises(ValueError, match="no vocoder"):
        codec.decode(torch.zeros(1, 4, 8))


def test_a_latent_frame_covers_four_frames():
    codec = VideoCodec(channels=5)
    assert codec.encode(torch.zeros(1, 12, 3, 32, 64)).shape == (1, 5, 3, 4, 8)
    assert codec.decode(torch.zeros(1, 5, 3, 4, 8)).shape == (1, 12, 3, 32, 64)
