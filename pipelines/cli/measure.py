"""``duet measure``: measure audio offset, AV-Align and loudness of any clips."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.documents import printable
from ..core.files import atomic_output, check_output_path

if TYPE_CHECKING:
    from ..core.timed_events import TimedEvents
    from ..sync.desync import DesyncMeter


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet measure``."""
    parser.add_argument("files", nargs="+", type=Path, help="media files from any model or camera")
    parser.add_argument(
        "--synchformer",
        type=Path,
        metavar="FILE",
        help="also estimate the offset with Synchformer (DeSync), with these weights: synchformer_state_dict.pth or safetensors",
    )
    parser.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="also report when each event of a plan or of timed events ('0.5-1.2 both: a door slams') is heard and seen",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all measurements as JSON")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure the files and print the results."""
    target = check_output_path(arguments.json, suffix=".json", inputs=arguments.files) if arguments.json else None
    from tqdm import tqdm

    from ..core.saved_plan import read_timed_events
    from ..sync.measure import measure, read_signals

    events = None if arguments.plan is None else read_timed_events(arguments.plan)
    meter = None if arguments.synchformer is None else desync_meter(arguments.synchformer)
    found, refused = {}, 0
    for path in arguments.files:
        with tqdm(desc=printable(path.name), unit=" s", leave=False, bar_format="{desc}: {n:.0f} s read") as bar:
            try:
                if not path.is_file():
                    raise ValueError(f"{path} is not a file. Check the path.")
                signals = read_signals(path, on_seconds=lambda t, bar=bar: bar.update(t - bar.n))
                measured = measure(signals)
            except ValueError as error:
                refused += 1
                found[str(path)] = {"refused": str(error)}
                bar.clear()
                print(f"duet: {printable(error)}", file=sys.stderr)
                continue
        found[str(path)] = measured.to_json()
        print(f"{printable(path)}: " + str(measured).replace("\n", "\n  "))
        if events is not None:
            found[str(path)]["plan"] = _plan(path, events)
        if meter is not None:
            found[str(path)]["synchformer"] = _synchformer(meter, path)
    if target:
        with atomic_output(target) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if refused:
        raise ValueError(f"{refused} of {len(arguments.files)} file(s) could not be measured; the reasons are above.")


def desync_meter(path: Path) -> DesyncMeter:
    """Synchformer with the weights in ``path``, on the GPU if there is one."""
    import torch

    from ..sync.desync import DesyncMeter

    return DesyncMeter.load(path, "cuda" if torch.cuda.is_available() else "cpu")


def _plan(path: Path, events: TimedEvents) -> dict[str, object]:
    """Print the plan report of a clip, or the reason why there is none; both also as plain data."""
    from ..bench.plan_report import report_of
    from ..media.mp4 import read_mp4

    try:
        clip = read_mp4(path)
        events.require_within(len(clip.frames) / clip.fps, cut=True)
        report = report_of(clip, events)
    except ValueError as error:
        print(f"  {printable(error)}")
        return {"not measured": str(error)}
    print("\n".join(f"  {printable(line)}" for line in str(report).splitlines()))
    return report.to_json()


def _synchformer(meter: DesyncMeter, path: Path) -> dict[str, object]:
    """Print Synchformer's estimate, or the reason why there is none; both also as plain data."""
    from ..sync.desync import frames_of_file
    from ..sync.measure import read_waveform

    try:
        measured = meter.measure(frames_of_file(path), *read_waveform(path))
    except ValueError as error:
        print(f"  {printable(error)}")
        return {"not measured": str(error)}
    print(f"  {measured}")
    for window in measured.windows:
        print(
            f"    {window.start:.1f} to {window.end:.1f} s: {1000 * window.offset:+.0f} ms (confidence {window.confidence:.2f})"
        )
    return measured.to_json()
