"""``duet data`` and ``duet train lora`` on an official LTX-2 file, from clips to a LoRA."""

import pytest
from safetensors.torch import load_file

pytest.importorskip("diffusers")
pytest.importorskip("peft")

from ltx2_official import write_official
from ltx2_release import one_clip

from duet_av.pipelines.cli import main as cli


def duet(*arguments):
    return cli.main([str(a) for a in arguments])


def test_clips_become_a_lora_with_the_file_and_the_text_encoder(ltx2_release, tmp_path, capsys):
    path = write_official(tmp_path / "official.safetensors", ltx2_release)
    shards, clips = tmp_path / "shards", tmp_path / "clips"
    clips.mkdir()
    model, gemma = ("--model", "ltx2", path), ("--text-encoder", ltx2_release / "text_encoder")
    data = ("data", one_clip(clips), *model, "-o", shards, "--size", "64x32", "--seconds", 0.7)
    assert duet(*data) == 2
    assert "holds no text encoder. Name Gemma with --text-encoder" in capsys.readouterr().err
    assert not shards.exists()
    assert duet(*data, *gemma) == 0
    train = ("train", "lora", *model, "--data", shards, "--run", tmp_path / "run", "--rank", 2)
    assert duet(*train, "--estimate") == 0
    assert "GiB  total" in capsys.readouterr().out
    assert duet(*train, "--steps", 2) == 0
    tensors = load_file(tmp_path / "run" / "lora" / "ltx2-lora.safetensors")
    assert len(tensors) == 2 * 6 * 4 * 3
    assert any(value.abs().max() > 0 for name, value in tensors.items() if "lora_B" in name)
    assert duet(*train, *gemma, "--steps", 2) == 0
    assert duet(*train[:2], "--model", "ltx2", ltx2_release, *train[5:]) == 2
    assert "with other VAEs or another text encoder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ltx2", "javisdit-v1.0"])
def test_a_folder_takes_no_text_encoder(name, tmp_path, capsys):
    assert duet("data", tmp_path, "--model", name, tmp_path, "--text-encoder", tmp_path, "-o", tmp_path / "out") == 2
    assert "Leave it out" in capsys.readouterr().err
