"""x0 predictions of the pocket network for several branches in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ...guidance import Branch, Latents
from ...streams import Streams
from .network import TwinStreamDiT

Text = Float[Tensor, "b m s"]


@dataclass(frozen=True)
class PocketDenoiser:
    """The network with a prompt: ``text`` and the ``null`` text for each stream, each [b, m, s]."""

    network: TwinStreamDiT
    text: Streams[Text]
    null: Streams[Text]

    @torch.inference_mode()
    def __call__(self, branches: Sequence[Branch], x: Latents, sigma: float) -> list[Latents]:
        """x0 predictions of ``branches`` at one noise level; the branches share a pass as further rows of the batch."""
        count, batch = len(branches), x.present()[0].shape[0]
        stacked = x.map(lambda z: z.repeat(count, *[1] * (z.ndim - 1)))
        texts = [self.text if branch.text else self.null for branch in branches]
        text = Streams(*(torch.cat(rows) for rows in zip(*texts, strict=True)))
        flags = partial(torch.tensor, device=x.present()[0].device)
        route = Streams(*(flags([getattr(b, way) for b in branches for _ in range(batch)]) for way in ("a2v", "v2a")))
        level = x.map(lambda z: z.new_full((count * batch, 1), sigma))
        x0 = self.network(stacked, level, text, route=route).map(Tensor.float)
        return [x0.map(lambda z, i=i: z[i * batch : (i + 1) * batch]) for i in range(count)]
