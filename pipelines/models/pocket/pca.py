"""Principal components of patches: the linear map at the heart of both pocket codecs."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PatchPCA(nn.Module):
    """z = (x - mean) B / scale for flattened patches x: [..., patch] <-> [..., channels]."""

    mean: Tensor
    basis: Tensor
    scale: Tensor

    def __init__(self, patch: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(patch))
        self.register_buffer("basis", torch.zeros(patch, channels))
        self.register_buffer("scale", torch.ones(channels))

    @torch.no_grad()
    def fit(self, patches: Float[Tensor, "n patch"]) -> None:
        """Principal components of ``patches``; latents get zero mean and, over all channels, unit variance.

        Each channel is divided by the square root of its own deviation, so that strong components stay the strong ones:
        a fully whitened latent spends the network's effort on invisible detail.
        """
        x = patches.double()
        mean = x.mean(0)
        _, vectors = torch.linalg.eigh((x - mean).T @ (x - mean))
        basis = vectors.flip(1)[:, : self.basis.shape[1]]
        z = (x - mean) @ basis
        scale = z.std(0).clamp_min(1e-6).sqrt()
        self.mean.copy_(mean)
        self.basis.copy_(basis)
        self.scale.copy_(scale * (z / scale).pow(2).mean().sqrt())

    def encode(self, x: Float[Tensor, "*n patch"]) -> Float[Tensor, "*n channels"]:
        return (x - self.mean) @ self.basis / self.scale

    def decode(self, z: Float[Tensor, "*n channels"]) -> Float[Tensor, "*n patch"]:
        return (z * self.scale) @ self.basis.T + self.mean
