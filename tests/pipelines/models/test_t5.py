"""The own T5 encoder and the own mel filters equal transformers' on the same weights and sizes."""

import pytest
import torch
from transformers import T5Config, T5EncoderModel
from transformers.audio_utils import mel_filter_bank

from duet_av.pipelines.media.mel import mel_bank
from duet_av.pipelines.models.pocket.t5 import T5Encoder, position_buckets


@pytest.mark.parametrize("tokens", [3, 48, 300])
def test_states_equal_transformers(tokens):
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=50,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=3,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
    )
    reference = T5EncoderModel(config).eval()
    own = T5Encoder(50, dim=32, depth=3, heads=4)
    own.load_state_dict(reference.state_dict(), strict=True)
    ids = torch.randint(3, 50, (2, tokens))
    mask = torch.arange(tokens) < torch.tensor([tokens, tokens // 2])[:, None]
    with torch.no_grad():
        expected = reference(input_ids=ids, attention_mask=mask).last_hidden_state
        assert torch.allclose(own(ids, mask)[mask], expected[mask], atol=1e-5)


def test_a_new_encoder_starts_like_transformers():
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=50, d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    spreads = lambda module: {name: value.std().item() for name, value in module.named_parameters() if value.ndim == 2}  # noqa: E731
    own, reference = spreads(T5Encoder(50, dim=128, depth=2, heads=4)), spreads(T5EncoderModel(config))
    assert own == pytest.approx(reference, rel=0.2)


def test_near_positions_have_their_own_bucket_and_far_ones_share():
    buckets = position_buckets(400)
    assert len(set(buckets[200, 193:208].tolist())) == 15
    assert buckets[0, 128:].unique().numel() == buckets[399, :271].unique().numel() == 1
    assert buckets.max() == 31


@pytest.mark.parametrize(
    ("mels", "rate", "options", "theirs"),
    [
        (64, 16_000, {"low": 40.0, "high": 7800.0}, {"norm": None, "mel_scale": "htk"}),
        (128, 16_000, {"n_fft": 1024}, {"norm": None, "mel_scale": "htk"}),
        (64, 16_000, {"slaney": True}, {"norm": "slaney", "mel_scale": "slaney"}),
        (80, 22_050, {"slaney": True}, {"norm": "slaney", "mel_scale": "slaney"}),
    ],
)
def test_mel_filters_equal_transformers(mels, rate, options, theirs):
    low, high = options.get("low", 0.0), options.get("high", rate / 2)
    expected = torch.from_numpy(mel_filter_bank(513, mels, low, high, rate, **theirs)).float()
    assert torch.allclose(mel_bank(mels, rate, **options), expected, atol=1e-6)
