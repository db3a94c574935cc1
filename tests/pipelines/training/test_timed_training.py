"""Training of timed text: the windows of true clips, what learns, and the file."""

from dataclasses import replace

import pytest
import torch

from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.pocket.add_ons import TIMED, load_timed_lora
from duet_av.pipelines.models.pocket.load import load_network, load_text_encoder
from duet_av.pipelines.models.pocket.lora import merge_lora
from duet_av.pipelines.models.pocket.network import POCKET
from duet_av.pipelines.models.pocket.timed import pocket_edges
from duet_av.pipelines.training.data import LatentCache
from duet_av.pipelines.training.flow import RECIPES
from duet_av.pipelines.training.loop import Settings, train
from duet_av.pipelines.training.timed import PocketTimedStage, true_windows
from duet_av.pipelines.world import caption, irregular, make_scene

RANK = 4


@pytest.fixture(scope="module")
def scenes():
    found = [
        irregular(make_scene(5, k, stratum=s)) for k, s in enumerate(("single", "muted", "offscreen", "reasoning"))
    ]
    assert [len(scene.subjects) > 0 for scene in found] == [True] * 4
    return found


@pytest.fixture(scope="module")
def edges():
    return pocket_edges(POCKET, Streams(8, 32))


def make_stage(scenes, folder):
    generator = torch.Generator().manual_seed(0)
    encoder = load_text_encoder()
    scenes = [scene if isinstance(scene, Streams) else Streams(scene, scene) for scene in scenes]
    words = encoder.tokenizer.batch([caption(pair.video) for pair in scenes], as_written=True)[:, None]
    draw = lambda *shape: torch.randn(len(scenes), *shape, generator=generator)  # noqa: E731 - two uses
    return PocketTimedStage(
        scenes, LatentCache(draw(16, 8, 8, 8), draw(24, 32), words), load_network(), encoder,
        folder / f"{TIMED}.safetensors", rank=RANK, recipe=RECIPES["joint"], base="b", judge=lambda *_: {"score": 1.0},
    )  # fmt: skip


def test_windows_follow_the_events_of_each_stream(scenes, edges):
    single, muted, offscreen = scenes[:3]
    (subject,) = single.subjects
    for stream, part, seconds in (
        ("video", *window_of(single, edges, "video")),
        ("audio", *window_of(single, edges, "audio")),
    ):
        read = {int(t / seconds) for t in subject.times}
        share = part.log_shares[:-1, 0].exp()
        assert all(share[k] > 0 for k in read), stream
        assert share.sum() * seconds < 0.25 * (len(subject.times) + 1)
    heard = true_windows(Streams(offscreen, offscreen), edges)
    assert (len(heard.video.texts), len(heard.audio.texts)) == (1, 2), "what is off screen acts in the audio alone"
    still = true_windows(Streams(muted, muted), edges)
    assert still.video.texts == still.audio.texts == (caption(muted),)


def window_of(scene, edges, stream):
    return getattr(true_windows(Streams(scene, scene), edges), stream), {"video": 0.25, "audio": 0.0625}[stream]


def test_an_event_of_one_stream_is_a_window_of_that_stream(scenes, edges):
    single = scenes[0]
    quiet = replace(single, subjects=tuple(replace(s, times=()) for s in single.subjects))
    whole, apart = (true_windows(pair, edges) for pair in (Streams(single, single), Streams(quiet, single)))
    assert apart.audio.texts == whole.audio.texts
    assert torch.equal(apart.audio.log_shares, whole.audio.log_shares)
    assert apart.video.texts == whole.video.texts[-1:], "nothing is seen to happen, so only the rest text is read"


def test_a_caption_that_states_a_rule_is_read_everywhere(scenes, edges):
    windows = true_windows(Streams(scenes[3], scenes[3]), edges)
    assert windows.video.texts
    assert (windows.video.log_shares[:-1].exp().sum(1) > 0).all()


def test_only_lora_on_text_attention_learns_and_its_file_loads_on_its_base_alone(scenes, tmp_path):
    stage = make_stage(scenes, tmp_path)
    learning = [name for name, p in stage.objective.named_parameters() if p.requires_grad]
    assert len(learning) == 2 * 4 * 3 * 2
    assert all(".text_attention." in name and name.endswith((".up", ".down")) for name in learning)
    before = {name: p.clone() for name, p in load_network().named_parameters()}
    train(stage, Settings(2, 4, 1e-2, tmp_path / "run", compiled=False))
    network = load_network()
    lora = load_timed_lora(network, "b", stage.path)
    merged = dict(merge_lora(network, lora).named_parameters())
    changed = {name for name, value in before.items() if not torch.equal(value, merged[name])}
    assert len(changed) == 2 * 4 * 3
    assert all(".text_attention." in name for name in changed)
    with pytest.raises(ValueError, match="trained on the base b"):
        load_timed_lora(network, "other", stage.path)


def test_a_clip_whose_objects_do_not_act_as_its_caption_says_never_reads_it_throughout(scenes, tmp_path):
    quiet = replace(scenes[0], subjects=tuple(replace(s, times=()) for s in scenes[0].subjects))
    pairs = [Streams(scenes[0], scenes[0]), Streams(quiet, scenes[0]), Streams(quiet, quiet)]
    stage = make_stage(pairs, tmp_path)
    assert stage.whole[0].video.texts == (caption(scenes[0]),)
    assert all(stage.whole[k] is stage.timed[k] for k in (1, 2)), "nothing sounds in the last one"


def test_batches_hold_windows_captions_and_no_text(scenes, tmp_path):
    stage = make_stage(scenes, tmp_path)
    batch = stage.batch(torch.Generator().manual_seed(1), 64)
    shares = batch.shares.audio.exp() * (batch.states.audio.abs().amax(-1) > 0)[:, None]
    changing = (shares.amax(1) - shares.amin(1)).amax(1) > 0.5
    assert 0.4 < changing.float().mean() < 1
    assert (batch.states.video.abs().amax(-1) > 0).any(1).all(), "every clip reads something"
    assert stage.objective(batch)["loss"].isfinite()
