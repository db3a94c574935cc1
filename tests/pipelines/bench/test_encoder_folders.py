"""Encoders read from folders in the format of transformers, with tiny random weights."""

import json

from duet_av.pipelines.sync.encoders import ClapEncoder, ClipEncoder, aggregated


def test_a_clip_folder_embeds_frames_and_text(tmp_path, clip):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 8,
    }
    sight = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(text_config=text, vision_config={**sight, "image_size": 32, "patch_size": 16}, projection_dim=8)
    CLIPModel(config).save_pretrained(tmp_path / "tiny")
    (tmp_path / "vocab.json").write_text(
        json.dumps({w: i for i, w in enumerate(["a", "a</w>", "<|startoftext|>", "<|endoftext|>"])})
    )
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    words = CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    CLIPProcessor(CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32), words).save_pretrained(
        tmp_path / "tiny"
    )
    found = ClipEncoder(tmp_path / "tiny").embed("x", lambda: clip, "a")
    assert found.frames.shape == (32, 8)
    assert found.text.shape == (8,)
    assert set(aggregated("tiny", found)) == {"text-video (tiny)"}


def test_a_clap_folder_embeds_audio_and_text(tmp_path, clip):
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text = {**small, "vocab_size": 8, "max_position_embeddings": 40, "projection_dim": 8}
    sound = {"hidden_size": 32, "depths": [1] * 4, "num_attention_heads": [1] * 4, "patch_embeds_hidden_size": 4}
    config = ClapConfig(
        text_config=text, audio_config={**sound, "num_classes": 4, "projection_dim": 8}, projection_dim=8
    )
    ClapModel(config).save_pretrained(tmp_path / "tiny")
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(tmp_path / "tiny")
    words = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "a", "<mask>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    RobertaTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")).save_pretrained(tmp_path / "tiny")
    found = ClapEncoder(tmp_path / "tiny").embed("x", lambda: clip, "a")
    assert found.audio.shape == found.text.shape == (8,)
    assert set(aggregated("tiny", found)) == {"text-audio (tiny)"}
