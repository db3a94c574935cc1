"""Which precision and which attention kernel a training step uses, depending on the processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def bfloat16_is_fast(device: str) -> bool:
    """Whether ``device`` ('cpu' or 'cuda') has bfloat16 instructions. A CPU without them emulates bfloat16: a step of the pocket
    network then takes 2 to 7 times as long as in float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@contextmanager
def training_precision(device: str, *, bfloat16: bool) -> Iterator[None]:
    """Autocast to bfloat16 where it is wanted and fast; otherwise float32."""
    with torch.autocast(device, torch.bfloat16, enabled=bfloat16 and bfloat16_is_fast(device)):
        yield


@contextmanager
def attention_kernel(device: str, *, bfloat16: bool) -> Iterator[None]:
    """The attention kernel of a step, which its backward pass needs too: there, checkpointed layers are computed again."""
    if device == "cpu" and bfloat16 and bfloat16_is_fast(device):
        # At pocket lengths the backward pass of the fused bfloat16 kernel alone takes longer than a step's matrix products.
        with sdpa_kernel(SDPBackend.MATH):
            yield
        return
    yield
