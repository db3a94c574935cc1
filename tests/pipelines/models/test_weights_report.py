"""The report on the pack's weights files, and their hashes."""

import json
from pathlib import Path

from duet_av.pipelines.cli.main import main
from duet_av.pipelines.media.provenance import file_hash
from duet_av.pipelines.models.ltx2 import pocket_config
from duet_av.pipelines.models.pocket.load import ADD_ONS, FILES
from duet_av.pipelines.models.pocket.provenance import next_step, weights_report


def test_the_weights_report_lists_files_with_their_hashes(capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    files = [*FILES.values(), *ADD_ONS.values(), pocket_config.FILE]
    listed, advice = lines[: len(files)], lines[len(files) :]
    assert listed == weights_report(files)
    assert advice[:2] == ["", "What to do next"]
    assert (
        advice[2]
        == "  the Duet pocket model: complete; open the template text_to_av in ComfyUI, or run 'duet generate --help'"
    )
    assert all("found" in line and "sha256" in line for line in listed)


def test_a_shipped_file_that_is_gone_is_marked_in_the_weights_report(monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda _path: False)
    assert weights_report([FILES["pocket-av"]]) == [
        "  MISSING  pocket-av.safetensors: restore the pack's 'weights' folder"
    ]
    assert "pocket-av.safetensors is missing; run 'git checkout weights'" in next_step(
        [FILES["pocket-av"]], "text_to_av"
    )


def test_a_large_file_is_hashed_by_its_header(tmp_path, monkeypatch):
    from duet_av.pipelines.media import provenance

    path = tmp_path / "large.safetensors"
    header = json.dumps({"a": 1}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"0" * 100)
    assert file_hash(path).startswith("sha256 ")
    monkeypatch.setattr(provenance, "LARGE", 64)
    provenance._hashed.cache_clear()
    assert file_hash(path).startswith("sha256 of the header ")
    provenance._hashed.cache_clear()
