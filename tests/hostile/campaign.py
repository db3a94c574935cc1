"""The standing fault campaign: random damage to every kind of file and option, in processes of their own.

    python tests/hostile/campaign.py --minutes 5 --seed 0 --json report.json

Each try runs in a forked process with limits on memory and time. A fault is an exception that is not a plain refusal, a signal, a
hang, control characters in a message, a refusal that does not name the file, or a file left half written. ``--kills 50`` first
kills that many runs of ``duet generate``, and fewer of the other commands, at random moments and runs them again; ``--memory``
measures the commands on clips of up to an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import memory  # noqa: E402
import real_runs  # noqa: E402
import targets  # noqa: E402

SECONDS, RUN_SECONDS, MEMORY = 60, 300, 12 * 2**30  # of one try; a kind of ``real_runs`` runs whole commands


def in_process(work, folder: Path, *, seconds: float = SECONDS) -> tuple[str, str]:
    """Run ``work`` in a forked process: its outcome ('accepted', 'refused' or a class of fault) and what it reported."""
    report = folder / "report.json"
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        with report.open("w") as file:  # opened before ``work`` may give up its rights
            json.dump(_outcome(work), file)
        os._exit(0)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - begun > seconds:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hang", ""
        time.sleep(0.002)
    if os.WIFSIGNALED(status):
        return "signal", signal.Signals(os.WTERMSIG(status)).name
    outcome, text = json.loads(report.read_text())
    report.unlink()
    return outcome, text


def _outcome(work) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            outcome, text = work()
    except MemoryError:
        return "memory", ""
    except BaseException:  # noqa: BLE001 - whatever else a try raises is a fault, which is counted
        return "traceback", traceback.format_exc()[-1500:]
    shown = "".join(c for c in out.getvalue() + err.getvalue() if c not in "\r\n")
    return ("control characters", repr(shown)[:500]) if not shown.isprintable() else (outcome, text)


def kill_a_writer(rng: random.Random, folder: Path) -> tuple[str, str]:
    """Kill a process that rewrites a file; the file must be whole, and the next writer must leave nothing else."""
    from duet_av.pipelines.core.files import atomic_output

    target = folder / "out.txt"
    target.write_text("0" * 10_000)
    child = os.fork()
    if child == 0:
        for k in range(1, 10**9):
            with atomic_output(target) as temporary:
                temporary.write_text(str(k % 10) * 10_000)
    time.sleep(rng.uniform(0, 0.02))
    os.kill(child, rng.choice([signal.SIGKILL, signal.SIGTERM]))
    os.waitpid(child, 0)
    text = target.read_text()
    if len(text) != 10_000 or len(set(text)) != 1:
        return "half file", text[:40]
    with atomic_output(target) as temporary:
        temporary.write_text("whole")
    left = [path.name for path in folder.iterdir()]
    return ("litter", ", ".join(left)) if left != ["out.txt"] else ("refused", "")


def main() -> int:
    """Run tries for the given time and write the report; the status is 1 if there were faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        campaign = Campaign(Path(name), random.Random(arguments.seed))
        for kind, count in real_runs.quotas(arguments.kills).items():
            for _ in range(count):
                campaign.attempt(kind)
        end = time.monotonic() + 60 * arguments.minutes
        while time.monotonic() < end:
            campaign.attempt(campaign.rng.choice([*targets.KINDS, "kill"]))
        report = {"seed": arguments.seed, "minutes": arguments.minutes, **campaign.report()}
        if arguments.memory:
            report["memory"], grown = memory.memory(Path(name), HERE.parents[1])
            report["faults"] += len(grown)
            report["details"] += [{"kind": "memory", "fault": "memory", "text": text} for text in grown]
    print(json.dumps({key: value for key, value in report.items() if key != "details"}, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(bool(report["faults"]))


class Campaign:
    """Tries in ``folder``, their outcomes by kind, and the faults."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.corpus = targets.Corpus(folder / "corpus")
        self.corpus.reference = real_runs.Reference(folder / "reference")
        self.counts: dict[str, Counter[str]] = {}
        self.faults: list[dict[str, object]] = []

    def attempt(self, kind: str) -> None:
        """One try of ``kind``."""
        folder, number = self.folder / "try", sum(sum(outcomes.values()) for outcomes in self.counts.values())
        folder.mkdir()
        if kind == "kill":
            outcome, text = kill_a_writer(self.rng, folder)
        elif kind in real_runs.KINDS:
            work = real_runs.KINDS[kind](self.corpus, self.rng, folder)
            outcome, text = in_process(work, folder, seconds=RUN_SECONDS)
        else:
            outcome, text = in_process(targets.KINDS[kind](self.corpus, self.rng, folder), folder)
        if outcome in ("accepted", "refused") and (half := [path.name for path in folder.rglob("*.part*")]):
            outcome, text = "litter", ", ".join(half)
        self.counts.setdefault(kind, Counter())[outcome] += 1
        if outcome not in ("accepted", "refused"):
            self.faults.append({"try": number, "kind": kind, "fault": outcome, "text": text})
            print(f"try {number}, {kind}: {outcome}: {text.strip().rpartition(chr(10))[2]}", file=sys.stderr)
        shutil.rmtree(folder)

    def report(self) -> dict[str, object]:
        """The numbers of tries and faults, and the outcomes of each kind."""
        tries = sum(sum(outcomes.values()) for outcomes in self.counts.values())
        outcomes = {kind: dict(sorted(self.counts[kind].items())) for kind in sorted(self.counts)}
        return {"tries": tries, "faults": len(self.faults), "outcomes": outcomes, "details": self.faults}


if __name__ == "__main__":
    sys.exit(main())
