"""Weights files and atomic outputs: round trips, damaged and foreign files, interrupted writes."""

import pytest
import torch
from safetensors.torch import save_file

from duet_av.pipelines.core.files import atomic_output, check_output_path
from duet_av.pipelines.core.weights import fill, load_weights, save_weights
from duet_av.pipelines.models.pocket.load import FILES, load_network, load_text_encoder, load_video_codec


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "x.safetensors"
    save_weights(path, {"a": torch.arange(6).half().view(2, 3).T}, kind="thing", config={"n": 1}, record={"steps": 5})
    return path


def test_saved_weights_load_with_kind_config_and_record(saved):
    file = load_weights(saved, "thing")
    assert (file.kind, file.config, file.record, file.path) == ("thing", {"n": 1}, {"steps": 5}, saved)
    assert torch.equal(file.tensors["a"], torch.arange(6).float().view(2, 3).T)
    assert len(file.sha256) == 64


def broken(tmp_path, saved, case):
    path = tmp_path / f"{case}.safetensors"
    whole = saved.read_bytes()
    if case == "foreign":
        save_file({"a": torch.zeros(2)}, path)
    elif case != "missing":
        path.write_bytes(
            {
                "truncated": whole[:-5],
                "headless": whole[:4],
                "empty": b"",
                "text": b"hello " * 99,
                "pickle": b"\x80\x04.",
            }[case]
        )
    return path


@pytest.mark.parametrize("case", ["truncated", "headless", "empty", "text", "pickle"])
def test_the_error_for_a_damaged_file_names_it(tmp_path, saved, case):
    with pytest.raises(ValueError, match=rf"{case}\.safetensors is not a complete safetensors file"):
        load_weights(broken(tmp_path, saved, case), "thing")


def test_foreign_missing_and_wrong_kind_files_have_their_own_errors(tmp_path, saved):
    with pytest.raises(ValueError, match=r"foreign\.safetensors is a safetensors file that Duet did not write"):
        load_weights(broken(tmp_path, saved, "foreign"), "thing")
    with pytest.raises(ValueError, match=r"missing\.safetensors does not exist"):
        load_weights(broken(tmp_path, saved, "missing"), "thing")
    with pytest.raises(ValueError, match="holds 'thing' weights, but 'pocket-av' weights are required"):
        load_weights(saved, "pocket-av")


def test_weights_that_do_not_fit_their_configuration_are_refused(saved):
    with pytest.raises(ValueError, match=r"x\.safetensors does not fit its own configuration: .*Missing key"):
        fill(torch.nn.Linear(2, 2), load_weights(saved, "thing").tensors, source=saved)


@pytest.mark.parametrize(
    ("kind", "loader"),
    [("pocket-av", load_network), ("pocket-text", load_text_encoder), ("video-codec", load_video_codec)],
)
@pytest.mark.parametrize("config", [{}, {"unknown": 1}])
def test_a_configuration_of_another_version_is_refused(tmp_path, kind, loader, config):
    path = tmp_path / "other.safetensors"
    save_weights(path, {"a": torch.zeros(1)}, kind=kind, config=config, record={})
    with pytest.raises(ValueError, match=r"other\.safetensors: its configuration does not fit this version"):
        loader(path)


def test_shipped_files_load_and_have_a_record():
    assert all(load_weights(path, kind).record["stage"] for kind, path in FILES.items())


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "out.txt"
    path.write_text("finished")

    def write():
        with atomic_output(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]
    assert path.read_text() == "finished"


def test_a_finished_write_creates_only_the_output(tmp_path):
    with atomic_output(tmp_path / "out.txt") as temporary:
        temporary.write_text("new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("out.txt", "new")]


def test_check_output_path_refuses_unwritable_outputs(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="is a folder"):
        check_output_path(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        check_output_path(tmp_path / "none" / "x")
    with pytest.raises(ValueError, match=r"does not end in \.mp4"):
        check_output_path(tmp_path / "x.avi", suffix=".mp4")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ValueError, match="cannot be written to"):
        check_output_path(tmp_path / "x")
