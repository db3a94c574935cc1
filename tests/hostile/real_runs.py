"""What the campaign does to real commands: kills at random moments, two at once, without the rights of root, and how much memory they need.

A kind is a function (corpus, random numbers, folder) that returns the work to do in a forked process, as in ``targets``.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import accelerate  # noqa: F401 - imported once, for the forked processes
import targets
import torch
from ltx2_release import write_release
from safetensors.torch import load_file

from duet_av.pipelines.cli.main import main
from duet_av.pipelines.training import stages  # noqa: F401 - for the forked processes

PROMPT = "a large red ball bounces once on the left in a meadow"
FAST = ("--steps", "2", "--form", "cfg", "--cfg", "1", "--seconds", "0.5")
NOBODY = 65534
COMMANDS = {  # {} is the folder of the outputs; the names in capitals are made by `Reference`
    "generate": ("generate", PROMPT, *FAST, "--batch", "2", "--timeline", "{}/t.png", "-o", "{}/o.mp4"),
    "extend": ("extend", PROMPT, *FAST[:-2], "--seconds", "1.5", "--piece", "1", "-o", "{}/e.mp4"),
    "sweep": ("sweep", PROMPT, *FAST, "--takes", "3", "--keep", "2", "-o", "{}/s"),
    "train": (
        "train",
        "lora",
        "--model",
        "ltx2",
        "LTX2",
        "--data",
        "SHARDS",
        "--rank",
        "2",
        "--steps",
        "8",
        "--run",
        "{}/r",
    ),
    "data": ("data", "CLIPS", "-o", "{}/d.safetensors"),
    "world": ("world", "--count", "3", "--seconds", "1", "-o", "{}/w"),
}
SHARES = {"generate": 1.0, "sweep": 0.4, "train": 0.2, "data": 0.2, "extend": 0.2, "world": 0.2}  # of the kills


@dataclass
class Reference:
    """The outputs of each command without a fault, and the seconds that it took."""

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def of(self, name: str) -> Path:
        """The folder with the outputs of a command."""
        out = self.folder / name
        if name not in self.seconds:
            self._prepare()
            out.mkdir()
            if (
                name != "train"
            ):  # once in this process, so that forked ones have imported everything; training starts threads
                self._run(self.words(name, out))
                shutil.rmtree(out)
                out.mkdir()
            begun = time.monotonic()
            status = wait_for(started(self.words(name, out), self.folder))
            assert status == 0, (self.folder / "log").read_text()[-1000:]
            self.seconds[name] = time.monotonic() - begun
        return out

    def words(self, name: str, out: Path) -> list[str]:
        """The command with its outputs in ``out``."""
        return [word.replace("{}", str(out)) for word in self._named(COMMANDS[name])]

    def _prepare(self) -> None:
        """Captioned clips, a tiny LTX-2 and the clips encoded for it."""
        if self.folder.is_dir():
            return
        self.folder.mkdir()
        self._run(("world", "--count", "3", "-o", "CLIPS"))
        for scene in (self.folder / "CLIPS").glob("*.json"):
            scene.unlink()
            scene.with_suffix(".txt").write_text(PROMPT)
        write_release(self.folder / "LTX2")
        for path in (self.folder / "LTX2").rglob("*.safetensors"):
            path.chmod(0o644)  # diffusers writes them for their owner alone
        sizes = ("--seconds", "0.7", "--size", "64x32", "--fps", "24")
        self._run(("data", "CLIPS", "--model", "ltx2", "LTX2", *sizes, "-o", "SHARDS"))

    def _run(self, words: Iterable[str]) -> None:
        with (self.folder / "log").open("w") as log, redirect_stdout(log), redirect_stderr(log):
            status = main(self._named(words))
        assert status == 0, (self.folder / "log").read_text()[-1000:]

    def _named(self, words: Iterable[str]) -> list[str]:
        return [str(self.folder / word) if word in ("CLIPS", "LTX2", "SHARDS") else word for word in words]


def started(words: Iterable[str], folder: Path) -> int:
    """The process of a command, with its messages in the file log of ``folder``."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    child = os.fork()
    if child == 0:
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        try:
            status = main(list(words))
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        except BaseException:  # noqa: BLE001 - shown in the log
            sys.excepthook(*sys.exc_info())
            status = 99
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    os.close(log)
    return child


def wait_for(process: int) -> int:
    """The exit status of a process, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def outputs(folder: Path) -> dict[str, Path]:
    """All files below ``folder``, by their relative names."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def same(a: Path, b: Path) -> bool:
    """Whether two outputs hold the same. Records of training name the time, so of weights the tensors are compared; a checkpoint is read by
    the run that resumes from it."""
    if a.suffix == ".safetensors":
        first, second = load_file(a), load_file(b)
        return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    return a.suffix in (".ckpt", ".md") or a.read_bytes() == b.read_bytes()


def difference(found: Path, reference: Path, *, whole: bool) -> str:
    """What is missing, left over or different in ``found``; nothing may be missing once it is ``whole``."""
    now, then = outputs(found), outputs(reference)
    visible = {name for name in now if not any(part.startswith(".") for part in Path(name).parts)}
    if whole and now.keys() != then.keys():
        return f"other files: {sorted(now.keys() ^ then.keys())}"
    changed = [name for name in (now if whole else visible & then.keys()) if not same(now[name], then[name])]
    return f"other content: {changed}" if changed else ""


def kill(name: str):
    """The kind of try that kills the command ``name`` and runs it again."""

    def kind(corpus: targets.Corpus, rng: random.Random, folder: Path):
        reference = corpus.reference.of(name)
        moment, sent = rng.uniform(0, 1.1) * corpus.reference.seconds[name], rng.choice(["SIGKILL", "SIGTERM"])

        def work():
            out = folder / "out"
            out.mkdir()
            words = corpus.reference.words(name, out)
            process = started(words, folder)
            time.sleep(moment)
            os.kill(process, getattr(signal, sent))
            status = wait_for(process)
            if status not in (0, 130, -signal.SIGKILL, -signal.SIGTERM):
                return "status after a signal", f"{sent} at {moment:.2f} s: {status}, {_said(folder)}"
            if damaged := difference(out, reference, whole=False):
                return "half file", f"{sent} at {moment:.2f} s: {damaged}"
            if sent == "SIGTERM" and (left := [path for path in outputs(out) if ".part" in path]):
                return "litter", f"SIGTERM at {moment:.2f} s: {left}"
            taken = {path: path.stat().st_mtime_ns for path in out.rglob("take-*.json")}
            if (status := wait_for(started(words, folder))) != 0:
                return "lost", f"{sent} at {moment:.2f} s, and again: status {status}, {_said(folder)}"
            if wrong := difference(out, reference, whole=True):
                return "lost", f"{sent} at {moment:.2f} s, and again: {wrong}"
            again = [path.name for path, stamp in taken.items() if path.stat().st_mtime_ns != stamp]
            return ("lost", f"generated again: {again}") if again else ("accepted", "")

        return work

    return kind


def _said(folder: Path) -> str:
    return (folder / "log").read_text()[-1000:]


def two_writers(corpus: targets.Corpus, rng: random.Random, folder: Path):
    """One command twice at once, into the same outputs."""
    name = rng.choice(["generate", "sweep", "data", "world", "extend"])
    reference, pause = corpus.reference.of(name), rng.uniform(0, 1) * corpus.reference.seconds[name]

    def work():
        out = folder / "out"
        out.mkdir()
        words = corpus.reference.words(name, out)
        (folder / "b").mkdir()
        first = started(words, folder)
        time.sleep(pause)
        statuses = [wait_for(process) for process in (started(words, folder / "b"), first)]
        if statuses != [0, 0]:
            return "status", f"{name} {pause:.2f} s later: {statuses}, {_said(folder)}, {_said(folder / 'b')}"
        wrong = difference(out, reference, whole=True)
        return ("lost", f"{name} {pause:.2f} s later: {wrong}") if wrong else ("accepted", "")

    return work


def without_root(corpus: targets.Corpus, rng: random.Random, folder: Path):
    """A user without rights meets a folder, an input or an output that belongs to root; in a folder of their own the command succeeds."""
    name, case = rng.choice(list(COMMANDS)), rng.choice(["own folder", "folder of root", "input of root"])
    reference, uses_input = corpus.reference.of(name), ("measure", "doctor", "plan", "generate")
    secret, own = folder / "secret.mp4", folder / "own"
    out = own if case == "own folder" else folder / "root"
    words = corpus.reference.words(name, out)
    if case == "input of root":
        reading = {"plan": ("plan", PROMPT, "--edit", str(secret)), "generate": ("generate", "--prompts", str(secret))}
        chosen = rng.choice(uses_input)
        words = (*reading.get(chosen, (chosen, str(secret))), *(("-o", f"{own}/x.mp4") if chosen == "generate" else ()))

    def work():
        if os.geteuid() != 0:
            return "accepted", "not run as root"
        for path in (own, folder / "root"):
            path.mkdir()
        secret.write_text("0.5 bell left\n")
        secret.chmod(0o600)
        folder.chmod(0o755)
        folder.parent.chmod(0o755)
        os.chown(own, NOBODY, NOBODY)
        (folder / "first").mkdir()  # a first run as root imports what the second one could not read
        targets.command([word.replace(str(out), str(folder / "first")) for word in words])()
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        status = main(list(words))
        if status != (0 if case == "own folder" else 2):
            return "status", f"{case}: {' '.join(words)}: {status}"
        wrong = difference(own, reference, whole=True) if case == "own folder" else ""
        return ("lost", wrong) if wrong else ("refused" if status else "accepted", "")

    return work


KINDS = {**{f"kill {name}": kill(name) for name in COMMANDS}, "two writers": two_writers, "without root": without_root}


def quotas(kills: int) -> dict[str, int]:
    """How often each kind is tried if ``generate`` is killed ``kills`` times."""
    shares = {**{f"kill {name}": share for name, share in SHARES.items()}, "two writers": 0.2, "without root": 0.4}
    return {kind: round(share * kills) for kind, share in shares.items()}
