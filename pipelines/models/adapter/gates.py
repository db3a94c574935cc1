"""Gates: how a mask limits what passes of a projected latent.

SAVA multiplies the latent by a sigmoid and penalises the mask's l1 norm. A layer that reads the result can undo a small factor, so the
penalty shrinks such a mask without removing information, and only the ranking of its values is meaningful. The noise gate (ours)
removes a channel's information instead of reducing its scale: z must have unit variance, and the gated latent has unit variance, too.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Gate = Callable[[Tensor, Tensor, Tensor], Tensor]  # latent, mask in 0..1, standard normal noise, all of one shape
OPEN, SOFT, NOISE = "unmasked", "soft", "gate"


def open_gate(z: Tensor, _mask: Tensor, _noise: Tensor) -> Tensor:
    """Everything passes: the paper's condition without a mask."""
    return z


def soft_gate(z: Tensor, mask: Tensor, _noise: Tensor) -> Tensor:
    """The paper's soft mask, M z."""
    return mask * z


def noise_gate(z: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
    """sqrt(M) z + sqrt(1 - M) noise: the channel carries 1/2 log(1 / (1 - M)) nats of a Gaussian z, and no reader can recover more."""
    return mask.sqrt() * z + (1 - mask).sqrt() * noise


GATES: dict[str, Gate] = {OPEN: open_gate, SOFT: soft_gate, NOISE: noise_gate}
THRESHOLD = 0.5  # of the hard mask, as in the paper
OPEN_LOGIT, MOST_LOGIT = 2.0, 4.0  # initial logit of a mask, and the bound on its logits


def bounded_mask(logits: Tensor) -> Tensor:
    """Masks in (0, 1) from logits. The bound keeps masks from saturating, because a saturated mask has no gradient to close it."""
    return (MOST_LOGIT * (logits / MOST_LOGIT).tanh()).sigmoid()


def support(mask: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """The hard mask: 1 where ``mask`` exceeds ``threshold``, else 0."""
    return (mask > threshold).to(mask)


def apply_gate(gate: str, z: Tensor, mask: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """The gated latent at inference: unchanged, scaled by the soft mask, or zero outside the hard mask (for the noise gate)."""
    return {OPEN: z, SOFT: mask * z, NOISE: support(mask, threshold) * z}[gate]
