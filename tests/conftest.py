"""Imports the pack as ``duet_av`` in the way ComfyUI loads it, whatever the name of its folder."""

import importlib.util
import os
import sys
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # processes with a thread for every core would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

if "duet_av" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "duet_av", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["duet_av"] = module
    spec.loader.exec_module(module)


sys.path.insert(0, str(Path(__file__).parent))  # the helper modules beside this file


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def root():
    return ROOT


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory):
    """A folder with a tiny Qwen3 model over single bytes, with its weights in several files."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    out = tmp_path_factory.mktemp("models") / "Qwen3-tiny"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|im_end|>").save_pretrained(out)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=260, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(out, max_shard_size="8KB")
    return out


@pytest.fixture(scope="session")
def ltx2_release(tmp_path_factory):
    """A folder with a tiny random LTX-2 in diffusers' layout."""
    pytest.importorskip("diffusers")
    from ltx2_release import write_release

    return write_release(tmp_path_factory.mktemp("ltx2"))


@pytest.fixture(scope="session")
def ltx2_shards(ltx2_release, tmp_path_factory):
    """A folder with six segments of 17 frames, encoded for the tiny LTX-2."""
    from ltx2_release import write_clip

    from duet_av.pipelines.models.ltx2.folder import LTX2Folder
    from duet_av.pipelines.training.encode import encode_clips

    clips, out = (tmp_path_factory.mktemp(name) for name in ("clips", "shards"))
    for number in range(3):
        write_clip(clips / f"{number}.mkv", frames=36, colours=(60 * number,))
        (clips / f"{number}.txt").write_text(f"a square on grey {number}")
    model = LTX2Folder(ltx2_release)
    encode_clips(clips, out, model, model.shape(seconds=0.7, fps=24.0, width=64, height=32))
    return out
