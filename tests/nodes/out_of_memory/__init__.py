"""Nodes for the tests of faults: a MODEL and a VAE that run out of memory, with the host's own exception."""

import copy

import comfy.model_management as management


def failing(real, times):
    """``real``, whose first ``times`` calls run out of memory."""
    calls = []

    def call(*args, **named):
        calls.append(1)
        if len(calls) <= times:
            raise management.OOM_EXCEPTION("Allocation on device")
        return real(*args, **named)

    return call


class ModelOutOfMemory:
    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "patched", "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - the name that the host calls
        return {"required": {"model": ("MODEL",), "times": ("INT", {"default": 1})}}

    def patched(self, model, times):
        model = model.clone()
        real = model.get_model_object("diffusion_model").forward
        model.add_object_patch("diffusion_model.forward", failing(real, times))
        return (model,)


class VAEOutOfMemory:
    RETURN_TYPES, FUNCTION, CATEGORY = ("VAE",), "patched", "tests"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - the name that the host calls
        return {"required": {"vae": ("VAE",), "times": ("INT", {"default": 1})}}

    def patched(self, vae, times):
        vae = copy.copy(vae)
        vae.first_stage_model = copy.copy(vae.first_stage_model)
        vae.first_stage_model.decode = failing(vae.first_stage_model.decode, times)
        return (vae,)


NODE_CLASS_MAPPINGS = {"ModelOutOfMemory": ModelOutOfMemory, "VAEOutOfMemory": VAEOutOfMemory}
