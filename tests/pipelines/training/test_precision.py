"""A training step uses bfloat16 only where the processor has instructions for it."""

import pytest
import torch

from duet_av.pipelines.training import precision


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_bfloat16_is_used_where_it_is_wanted_and_fast(monkeypatch, fast, wanted):
    monkeypatch.setattr(precision, "bfloat16_is_fast", lambda device: fast)
    with precision.training_precision("cpu", bfloat16=wanted):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if fast and wanted else torch.float32)


def test_bfloat16_support_of_this_processor_is_detected():
    assert precision.bfloat16_is_fast("cpu") in (True, False)
