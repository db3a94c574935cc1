"""The standing fault campaign: random damage to every kind of file and option, in processes of their own.

    python tests/hostile/campaign.py --minutes 5 --seed 0 --json report.json

Each try runs in a forked process with limits on memory and time. A fault is an exception that is not a plain refusal, a signal, a
hang, control characters in a message, a refusal that does not name the file, or a file left half written.
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

import targets  # noqa: E402

SECONDS, MEMORY = 60, 12 * 2**30  # of one try


def in_process(work, folder: Path) -> tuple[str, str]:
    """Run ``work`` in a forked process: its outcome ('accepted', 'refused' or a class of fault) and what it reported."""
    report = folder / "report.json"
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        outcome = _outcome(work)
        report.write_text(json.dumps(outcome))
        os._exit(0)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - begun > SECONDS:
            os.kill(child, signal.SIGKILL)
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
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    counts, faults = campaign(arguments.minutes, random.Random(arguments.seed))
    tries = sum(sum(outcomes.values()) for outcomes in counts.values())
    total = {"tries": tries, "faults": len(faults), "seed": arguments.seed, "minutes": arguments.minutes}
    report = {**total, "outcomes": {kind: dict(sorted(counts[kind].items())) for kind in sorted(counts)}}
    print(json.dumps(report, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps({**report, "details": faults}, indent=1) + "\n")
    return int(bool(faults))


def campaign(minutes: float, rng: random.Random) -> tuple[dict[str, Counter[str]], list[dict[str, object]]]:
    """The outcomes of each kind of try, and the faults."""
    counts: dict[str, Counter[str]] = {}
    faults: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        corpus = targets.Corpus(Path(name) / "corpus")
        end, number = time.monotonic() + 60 * minutes, 0
        while time.monotonic() < end:
            kind, folder = rng.choice([*targets.KINDS, "kill"]), Path(name) / "try"
            folder.mkdir()
            if kind == "kill":
                outcome, text = kill_a_writer(rng, folder)
            else:
                outcome, text = in_process(targets.KINDS[kind](corpus, rng, folder), folder)
                half = [path.name for path in folder.rglob("*.part*")]
                outcome, text = ("litter", ", ".join(half)) if half else (outcome, text)
            counts.setdefault(kind, Counter())[outcome] += 1
            if outcome not in ("accepted", "refused"):
                faults.append({"try": number, "kind": kind, "fault": outcome, "text": text})
                print(f"try {number}, {kind}: {outcome}: {text.strip().rpartition(chr(10))[2]}", file=sys.stderr)
            shutil.rmtree(folder)
            number += 1
    return counts, faults


if __name__ == "__main__":
    sys.exit(main())
