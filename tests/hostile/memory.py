"""How much memory real commands need for clips of 1, 10 and 60 minutes: the campaign's ``--memory``."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import av

MINUTES = (1, 10, 60)
PROMPT = "a large red ball bounces once on the left in a meadow"
FAST = ("--steps", "1", "--form", "cfg", "--cfg", "1", "--anyway")
COMMANDS = {
    "measure": ("measure", "{clip}"),
    "generate --video": ("generate", PROMPT, *FAST, "--video", "{clip}", "-o", "{folder}/o.mp4"),
    "generate --audio": ("generate", PROMPT, *FAST, "--audio", "{clip}", "-o", "{folder}/o.mp4"),
    "data": ("data", "{folder}", "-o", "{folder}/d.safetensors"),
}
MEASURED = """
import sys; sys.path.insert(0, sys.argv[1]); import tests.conftest
from pathlib import Path
from duet_av.pipelines.cli.main import main
status = main(sys.argv[2:])
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print("\\nstatus", status, "peak", int(peak.split()[1]) // 1024)
"""
MOST_GROWTH = 1.5  # times the peak for one minute


def write_long_clip(path: Path, minutes: float) -> None:
    """A clip of ``minutes`` at 160 x 90 pixels and 12 frames per second, with sound at 16 kHz in which a tone beeps."""
    seconds = round(60 * minutes)
    with (
        av.open(f"testsrc2=size=160x90:rate=12:duration={seconds}", format="lavfi") as seen,
        av.open(f"sine=frequency=440:beep_factor=4:sample_rate=16000:duration={seconds}", format="lavfi") as heard,
        av.open(str(path), "w") as container,
    ):
        video = container.add_stream("libx264", rate=12, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 160, 90, "yuv420p"
        audio = container.add_stream("aac", rate=16_000, layout="mono")
        for decoded, stream in ((seen.decode(video=0), video), (heard.decode(audio=0), audio)):
            for frame in decoded:
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def memory(folder: Path, root: Path) -> tuple[dict[str, dict[str, object]], list[str]]:
    """The peak memory in MiB and the seconds of each command and length, and what grew or failed."""
    found: dict[str, dict[str, object]] = {name: {} for name in COMMANDS}
    faults = []
    for minutes in MINUTES:
        (folder / str(minutes)).mkdir()
        clip = folder / str(minutes) / "clip.mp4"
        write_long_clip(clip, minutes)
        clip.with_suffix(".txt").write_text(PROMPT)
        for name, words in COMMANDS.items():
            command = [word.format(clip=clip, folder=clip.parent) for word in words]
            begun = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-c", MEASURED, str(root), *command], capture_output=True, text=True, cwd=root
            )
            *_, status, _, peak = done.stdout.split() or ("", "-", "", "0")
            found[name][str(minutes)] = {"peak_mib": int(peak), "seconds": round(time.monotonic() - begun, 1)}
            print(name, minutes, "min:", found[name][str(minutes)], file=sys.stderr)
            if status != "0":
                faults.append(f"{name}, {minutes} min: status {status}: {done.stderr[-500:]}")
            if int(peak) > MOST_GROWTH * found[name][str(MINUTES[0])]["peak_mib"]:
                faults.append(f"{name}: {peak} MiB for {minutes} min, {found[name]['1']['peak_mib']} MiB for 1 min")
    return found, faults
