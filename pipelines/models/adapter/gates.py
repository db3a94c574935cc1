"""Gates: how a mask decides what of a projected latent is let through.

SAVA multiplies by a sigmoid and pays for its l1 norm. What reads the result can undo a small factor, so that such a mask shrinks
for nothing and only its ranking means something. The noise gate (ours) takes a channel's information away instead of its size:
z must be of unit variance, and what is let through always is.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Gate = Callable[[Tensor, Tensor, Tensor], Tensor]  # latent, mask in 0..1, standard normal noise, all of one shape
OPEN, SOFT, NOISE = "unmasked", "soft", "gate"


def open_gate(z: Tensor, _mask: Tensor, _noise: Tensor) -> Tensor:
    """Everything: the paper's condition without a mask."""
    return z


def soft_gate(z: Tensor, mask: Tensor, _noise: Tensor) -> Tensor:
    """The paper's soft mask: M z."""
    return mask * z


def noise_gate(z: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
    """sqrt(M) z + sqrt(1 - M) noise: at M the channel carries half log(1 / (1 - M)) nats of a Gaussian z, whatever reads it."""
    return mask.sqrt() * z + (1 - mask).sqrt() * noise


GATES: dict[str, Gate] = {OPEN: open_gate, SOFT: soft_gate, NOISE: noise_gate}
THRESHOLD = 0.5  # of the hard mask (the paper's)
OPEN_LOGIT, MOST_LOGIT = 2.0, 4.0  # where masks begin, and how far their logits go


def bounded(logits: Tensor) -> Tensor:
    """Masks in (0, 1) that never saturate: one that did would not close when it should."""
    return (MOST_LOGIT * (logits / MOST_LOGIT).tanh()).sigmoid()


def support(mask: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """The hard mask."""
    return (mask > threshold).to(mask)


def let_through(gate: str, z: Tensor, mask: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """What passes once gates do not learn any more: all of it, the soft mask's share, or what the hard mask has open."""
    return {OPEN: z, SOFT: mask * z, NOISE: support(mask, threshold) * z}[gate]
