"""Runs that are killed, resumed with other settings, or meet a full disk; outputs that are inputs or links."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from duet_av.pipelines.bench.takes import Take, sweep
from duet_av.pipelines.cli import generate as command
from duet_av.pipelines.cli import world
from duet_av.pipelines.cli.batches import Batches
from duet_av.pipelines.cli.main import main
from duet_av.pipelines.core.files import atomic_output, check_output_path
from duet_av.pipelines.core.weights import save_tensors

PROMPT = "a small red ball bounces slowly on the left at night"
OPEN = """
import sys, time; sys.path.insert(0, sys.argv[1])
import tests.conftest
from pathlib import Path
from duet_av.pipelines.core.files import atomic_output
with atomic_output(Path(sys.argv[2])) as temporary:
    temporary.write_text("half")
    print("open", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def killed(tmp_path, root):
    """The output of a process that was killed while its temporary file was open."""
    target = tmp_path / "out.txt"
    target.write_text("earlier")
    process = subprocess.Popen([sys.executable, "-c", OPEN, str(root), str(target)], stdout=subprocess.PIPE, cwd=root)
    with process:
        assert process.stdout.readline().strip() == b"open"
        assert len(list(tmp_path.glob(".*.part*"))) == 1
        process.kill()
    return target


def test_the_next_run_removes_what_a_killed_run_left(killed):
    assert killed.read_text() == "earlier"
    assert len(list(killed.parent.glob(".*.part*"))) == 1
    with atomic_output(killed) as temporary:
        temporary.write_text("whole")
    assert [path.name for path in killed.parent.iterdir()] == ["out.txt"]
    assert killed.read_text() == "whole"


def test_the_temporary_file_of_a_running_process_stays(tmp_path, root):
    target = tmp_path / "out.txt"
    process = subprocess.Popen([sys.executable, "-c", OPEN, str(root), str(target)], stdout=subprocess.PIPE, cwd=root)
    with process:
        process.stdout.readline()
        with atomic_output(target) as temporary:
            temporary.write_text("second writer")
        assert len(list(tmp_path.glob(".*.part*"))) == 1
        process.kill()
    assert target.read_text() == "second writer"


def test_sigterm_ends_a_command_like_ctrl_c(tmp_path, root):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import tests.conftest;"
        "from duet_av.pipelines.cli.main import main; sys.exit(main(sys.argv[2:]))"
    )
    arguments = ["world", "--count", "1000", "-o", str(tmp_path / "w")]
    process = subprocess.Popen([sys.executable, "-c", code, str(root), *arguments], stderr=subprocess.PIPE, cwd=root)
    with process:
        while not (tmp_path / "w" / "scene-0.mp4").is_file() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"interrupted" in error
    assert not list((tmp_path / "w").glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_that_code_in_c_turns_into_an_error_is_an_interrupt(
    tmp_path, monkeypatch, capsys, request, number
):
    def swallowing(_arguments):
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except KeyboardInterrupt:
            raise TypeError("could not determine the shape") from None

    monkeypatch.setattr(world, "run", swallowing)
    started_with = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores SIGINT
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, started_with))
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert main(["world", "-o", str(tmp_path / "w")]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_links_stay_links_and_inputs_are_not_overwritten(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    with atomic_output(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    for output in (real, link):
        with pytest.raises(ValueError, match=r"\.txt is also an input"):
            check_output_path(output, inputs=[None, real])
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    with pytest.raises(ValueError, match=r"loop\.txt"):
        check_output_path(tmp_path / "loop.txt")
    with pytest.raises(ValueError, match="device or pipe"):
        check_output_path(type(real)(os.devnull))


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=r"full\.safetensors"):
            save_tensors(tmp_path / "full.safetensors", {"x": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permissions of this kind")
def test_other_users_can_read_weights_as_they_can_read_any_new_file(tmp_path):
    save_tensors(tmp_path / "x.safetensors", {"x": torch.zeros(1)})
    (tmp_path / "any").write_text("")
    assert (tmp_path / "x.safetensors").stat().st_mode == (tmp_path / "any").stat().st_mode


def made(seed):
    return Take(seed, seed / 10, {"in_step": seed / 10}), {"video": torch.full((2,), float(seed))}


DAMAGED_TAKES = (
    *(b"", b"{", b"[" * 100_000, b"\xff", b'{"seed": true, "score": 1, "numbers": {}}'),
    *(b'{"seed": 1, "score": "x", "numbers": {}}', b'{"seed": 7, "score": 9e9, "numbers": {}}'),
)


@pytest.mark.parametrize("content", DAMAGED_TAKES)
def test_a_damaged_take_is_named_and_generated_again(tmp_path, content, caplog):
    sweep(tmp_path, range(3), made, keep=2)
    (tmp_path / "take-1.json").write_bytes(content)
    (tmp_path / "take-2.safetensors").write_bytes(content)
    best = sweep(tmp_path, range(3), made, keep=2)
    assert [take.seed for take, _ in best] == [2, 1]
    assert torch.equal(best[0][1]["video"], torch.full((2,), 2.0))
    assert json.loads((tmp_path / "take-1.json").read_text())["score"] == 0.1
    assert "take-2.safetensors" in caplog.text


def test_clips_are_written_batch_by_batch(tmp_path, monkeypatch, capsys):
    """The second batch fails; the clip of the first one is there, as is that of a call without a failure."""
    (tmp_path / "prompts.txt").write_text(f"{PROMPT}\n{PROMPT}\n")
    monkeypatch.setattr(command, "BATCH", 1)
    real, seen = Batches._with_conditions, []

    def failing(work, request, first):
        seen.append(first)
        if first == 1:
            raise ValueError("stopped")
        return real(work, request, first)

    monkeypatch.setattr(Batches, "_with_conditions", failing)
    options = ["generate", "--prompts", str(tmp_path / "prompts.txt"), "--steps", "1", "-o", str(tmp_path / "o.mp4")]
    assert main(options) == 2
    assert seen == [0, 1]
    assert (tmp_path / "o-0.mp4").is_file()
    assert capsys.readouterr().err.splitlines()[-1] == "duet: error: stopped"
