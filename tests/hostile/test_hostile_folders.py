"""Damaged parts in the layout of diffusers and transformers: loading the part either works or ends with one line that names it."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from duet_av.pipelines.core.documents import printable
from duet_av.pipelines.core.pretrained import load_part
from duet_av.pipelines.models.javisdit.folder import JavisFolder10
from duet_av.pipelines.models.javisdit.folder01 import JavisFolder01

spec = importlib.util.spec_from_file_location(
    "javisdit_files", Path(__file__).parents[1] / "nodes" / "javisdit_files.py"
)
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)
CPU = torch.device("cpu"), torch.float32


@pytest.fixture(scope="session")
def javis10(tmp_path_factory):
    pytest.importorskip("diffusers")
    return tiny.write_folder10(tmp_path_factory.mktemp("javis10"))


@pytest.fixture(scope="session")
def javis01(tmp_path_factory):
    return tiny.write_folder01(tmp_path_factory.mktemp("javis01"))


def changed(**entries):
    """A damage: entries of a JSON file get other values."""

    def damage(path):
        path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))

    return damage


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


DAMAGES = {
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "bytes": lambda path: path.write_bytes(bytes(range(256))),
    "escape": lambda path: path.write_text("\x1b[31m{"),
    "list": lambda path: path.write_text("[]"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "gone": lambda path: path.unlink(),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}
CONFIGS = {
    "architecture": changed(architectures=["print"], _class_name=None),
    "architectures as numbers": changed(architectures=[7], _class_name=None),
    "architectures as an object": changed(architectures={"a": 1}, _class_name=None),
    "another type": changed(model_type=[], hidden_size="wide", d_model="wide", base_dim="wide"),
    "negative": changed(num_layers=-1, d_model=-8, base_dim=-8, text_config={"hidden_size": -1}),
    "text": changed(text_config="text", d_kv=[], z_dim={}),
}
PARTS = {
    "ltx2 text_encoder": ("ltx2", "text"),
    "ltx2 tokenizer": ("ltx2", "text"),
    "ltx2 vae": ("ltx2", "codecs"),
    "ltx2 connectors": ("ltx2", "text"),
    "javis10 text_encoder": ("javis10", "text"),
    "javis10 tokenizer": ("javis10", "text"),
    "javis10 vae": ("javis10", "codecs"),
    "javis01 text_encoder": ("javis01", "text"),
    "javis01 prior_tokenizer": ("javis01", "text"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_part_is_named(part, request, tmp_path):
    release, method = PARTS[part]
    if release != "javis01":
        pytest.importorskip("diffusers")
    source, name = request.getfixturevalue("ltx2_release" if release == "ltx2" else release), part.split()[1]
    failed = 0
    for file in sorted(path for path in (source / name).iterdir() if path.suffix in (".json", ".safetensors")):
        config = file.name == "config.json"
        for damage, damaged in {**DAMAGES, **(CONFIGS if config else {})}.items():
            copy = shutil.copytree(source, tmp_path / "copy")
            damaged(copy / name / file.name)
            if message := _refusal(release, copy, method):
                assert str(copy / name) in message, (file.name, damage, message)
                assert printable(message) == message, (file.name, damage)
                failed += 1
            shutil.rmtree(copy)
    assert failed >= len(DAMAGES) - 2, "loading reads the part"


def _refusal(release, path, method):
    """The message with which loading ends; empty if it works."""
    try:
        getattr(_opened(release, path), method)(*CPU)
    except ValueError as error:
        return str(error)
    return ""


def _opened(release, path):
    if release == "ltx2":
        from duet_av.pipelines.models.ltx2.folder import LTX2Folder

        return LTX2Folder(path)
    return JavisFolder10(path) if release == "javis10" else JavisFolder01(path)


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (ImportError("T5Tokenizer requires the sentencepiece library"), ValueError, "needs a package .* sentencepiece"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), RuntimeError, "can't allocate memory"),
        (KeyError("weight"), ValueError, "cannot be loaded .*KeyError.* Copy or download it again"),
    ],
)
def test_a_missing_package_and_a_lack_of_memory_are_not_called_damage(tmp_path, error, expected, message):
    class Kind:
        @staticmethod
        def from_pretrained(*_args, **_options):
            raise error

    with pytest.raises(expected, match=message):
        load_part(Kind, tmp_path)
