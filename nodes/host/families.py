"""The model families that 'Duet Load AV' supports: how files are recognised, and which parts each family needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import comfy.sd
import folder_paths

from ...pipelines.core.weights import configured, is_ours, load_weights, stored_kind
from ...pipelines.models.catalogue import identify, part
from ...pipelines.models.javisdit.clock import V01_CLOCK
from ...pipelines.models.javisdit.files import SUFFIXES, checkpoint_shapes, read_checkpoint, require
from ...pipelines.models.javisdit.load import load_audioldm2_codec, load_video_autoencoder
from ...pipelines.models.ltx2 import pocket_config as ltx2
from ...pipelines.models.pocket import load as pocket
from .codec import build_audio_vae, build_audioldm2_vae, build_open_sora_vae, build_video_vae
from .javisdit import build_javisdit
from .ltx2 import build_pocket_ltx2
from .model import build_pocket
from .text import build_clip, build_t5

AUTO, LTX2 = "auto", "pocket LTX-2"  # models that ship with the pack
SHIPPED = {AUTO: pocket.FILES[pocket.KINDS["model"]], LTX2: ltx2.FILE}
FOLDERS = {"model": "diffusion_models", "text_encoder": "text_encoders", "video_codec": "vae", "audio_codec": "vae"}
# Generic file names do not identify a model; the folder name is shown instead.
GENERIC = re.compile(r"(model|pytorch_model|diffusion_pytorch_model)\b|.*-\d{5}-of-\d{5}\.")
PAIRED = {"model", "lora", "vae", "vocoder"}  # subfolders that belong to their parent folder
Parts = tuple[Any, Any, Any, Any]  # MODEL, CLIP, video VAE, audio VAE


def choices(folder: str) -> list[str]:
    """Entries of one of the host's model folders: files, and folders (with a trailing '/') whose files belong together."""
    found = []
    for name in folder_paths.get_filename_list(folder):
        path = PurePosixPath(name.replace("\\", "/"))
        above = path.parent
        if len(path.parts) > 2 and above.name in PAIRED:
            found.append(f"{above.parent}/")
        elif len(path.parts) > 1 and GENERIC.match(path.name):
            found.append(f"{above}/")
        elif path.suffix in SUFFIXES:
            found.append(name)
    return list(dict.fromkeys(found))


def options_of(input_: str) -> list[str]:
    """What the loader offers for one of its inputs: what ships with the pack, then the entries of the input's folder."""
    return [*(SHIPPED if input_ == "model" else (AUTO,)), *choices(FOLDERS[input_])]


def place(folder: str, choice: str) -> Path:
    """The path of an entry of ``choices``.

    Raises:
        ValueError: it no longer exists.
    """
    for base in folder_paths.get_folder_paths(folder):
        if (path := Path(base) / choice).exists():
            return path
    raise ValueError(f"models/{folder}/{choice} no longer exists. Choose another file, or refresh the list with R.")


def kind_of(path: Path) -> str:
    """The kind of model in a file or folder, from its tensor names."""
    return _kind(path, path.stat().st_mtime_ns)


@cache
def _kind(path: Path, _changed: int) -> str:
    if path.is_file() and path.suffix == ".safetensors" and is_ours(path):
        return ltx2.NAME if stored_kind(path) == ltx2.KIND else pocket.NAME
    return identify(checkpoint_shapes(path / "vae" if (path / "vae").is_dir() else path))


def _is(path: Path, wanted: str) -> bool:
    """Whether the safetensors at ``path`` are ``wanted``. Unreadable files are skipped; the error appears when one is chosen."""
    inside = path if path.is_file() else next((f for f in path.rglob("*") if f.suffix in SUFFIXES), path)
    try:
        return inside.suffix == ".safetensors" and kind_of(path) == wanted
    except ValueError:
        return False


def find(folder: str, wanted: str) -> Path:
    """The first safetensors entry that is ``wanted``, otherwise the official pickle by name; other pickles are not opened.

    Raises:
        ValueError: there is no such file.
    """
    row, pickle = part(wanted), None
    for choice in choices(folder):
        path = place(folder, choice)
        if _is(path, wanted):
            return path
        pickle = path if path.name == row.pickle else pickle
    if pickle is not None:
        return pickle
    raise ValueError(
        f"{wanted} is required, and models/{folder} has no safetensors file of it. Download it from {row.source} "
        f"(about {row.gigabytes:g} GB, licence: {row.licence}), or select the file manually if it has another format."
    )


def _pocket(paths: dict[str, Path]) -> Parts:
    frames, sound = pocket.load_video_codec(paths["video_codec"]), pocket.load_audio_codec(paths["audio_codec"])
    model = build_pocket(load_weights(paths["model"], pocket.KINDS["model"]), frames)
    clip = build_clip(load_weights(paths["text_encoder"], pocket.KINDS["text_encoder"]))
    fps = model.model.diffusion_model.config.fps
    return model, clip, build_video_vae(frames, fps=fps), build_audio_vae(sound)


def _pocket_ltx2(paths: dict[str, Path]) -> Parts:
    file = ltx2.read_file(paths["model"])
    config = configured(ltx2.PocketLTX2Config, file)
    codec = pocket.load_video_codec(paths["video_codec"])
    frames, sound = ltx2.scaled_codecs(config, codec, pocket.load_audio_codec(paths["audio_codec"]))
    clip = build_clip(load_weights(paths["text_encoder"], pocket.KINDS["text_encoder"]))
    model = build_pocket_ltx2(file, codec)
    return model, clip, build_video_vae(frames, fps=config.fps), build_audio_vae(sound, bins=True)


def _javisdit(name: str, text: str, video: Callable[[Path], Any], paths: dict[str, Path]) -> Parts:
    sound = build_audioldm2_vae(load_audioldm2_codec(paths["audio_codec"]))
    frames, clip = video(paths["video_codec"]), build_t5(paths["text_encoder"], text)
    tensors = require(read_checkpoint(paths["model"]), name, source=paths["model"])
    return build_javisdit(name, tensors, source=paths["model"]), clip, frames, sound


def _open_sora(path: Path) -> Any:
    return build_open_sora_vae(load_video_autoencoder(path), fps=V01_CLOCK.fps)


def _wan(path: Path) -> Any:
    return comfy.sd.VAE(sd=require(read_checkpoint(path), "Wan2.1's video autoencoder", source=path))


@dataclass(frozen=True)
class Family:
    """A model family: the catalogue names of its other parts (empty if they ship with the pack), its example graph, and the function that
    loads all."""

    parts: dict[str, str]
    template: str
    load: Callable[[dict[str, Path]], Parts]
    files: tuple[Path, ...] = ()  # weights that ship with the pack


AUDIO = "AudioLDM2's audio autoencoder"
FAMILIES = {
    pocket.NAME: Family({}, "text_to_av", _pocket, (*pocket.FILES.values(), *pocket.ADD_ONS.values())),
    ltx2.NAME: Family({}, "pocket_ltx2", _pocket_ltx2, (ltx2.FILE, ltx2.PLAN_FILE, ltx2.TIMED_FILE)),
    "JavisDiT v0.1": Family(
        {"text_encoder": "T5-XXL", "video_codec": "Open-Sora's video autoencoder v1.2", "audio_codec": AUDIO},
        "javisdit_v01_prior",
        lambda paths: _javisdit("JavisDiT v0.1", "T5-XXL", _open_sora, paths),
    ),
    "JavisDiT v1.0": Family(
        {"text_encoder": "UMT5-XXL", "video_codec": "Wan2.1's video autoencoder", "audio_codec": AUDIO},
        "javisdit_v10",
        lambda paths: _javisdit("JavisDiT v1.0", "UMT5-XXL", _wan, paths),
    ),
}


def resolve(chosen: dict[str, str]) -> tuple[str, dict[str, Path]]:
    """The family of the ``chosen`` file of each input, and the paths of all files.

    Raises:
        ValueError: the model belongs to no supported family, or a part is missing.
    """
    first = SHIPPED.get(chosen["model"]) or place(FOLDERS["model"], chosen["model"])
    name = ltx2.NAME if chosen["model"] == LTX2 else kind_of(first)
    if name not in FAMILIES:
        raise ValueError(
            f"{first}: this is {name}; 'Duet Load AV' supports {', '.join(FAMILIES)}. Choose a file of one of them."
        )
    paths = {"model": first}
    for input_, folder in list(FOLDERS.items())[1:]:
        if chosen[input_] != AUTO:
            paths[input_] = place(folder, chosen[input_])
        elif not FAMILIES[name].parts:
            paths[input_] = pocket.FILES[pocket.KINDS[input_]]
        else:
            paths[input_] = find(folder, FAMILIES[name].parts[input_])
    return name, paths


def licences(family: str, paths: dict[str, Path], chosen: dict[str, str]) -> list[str]:
    """One line with the licence of each file."""
    return [f"{path.name}: {_licence(family, input_, chosen[input_])}" for input_, path in paths.items()]


def load_family(chosen: dict[str, str]) -> tuple[Parts, str]:
    """The loaded parts of the ``chosen`` files, and one line with the licence of each.

    Raises:
        ValueError: the model belongs to no supported family, or a part is missing or of the wrong kind.
    """
    name, paths = resolve(chosen)
    return FAMILIES[name].load(paths), "\n".join(licences(name, paths, chosen))


def _licence(family: str, input_: str, choice: str) -> str:
    if FAMILIES[family].parts:
        return part({"model": family, **FAMILIES[family].parts}[input_]).licence
    return pocket.LICENCE if choice in SHIPPED else "stated by the author of the file"
