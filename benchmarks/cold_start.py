"""From nothing to a clip: CPU time of `duet generate` relative to `import torch`, and its peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "a small red ball bounces slowly on the left at night"

REGISTER = f"""
ROOT = {str(ROOT)!r}
import asyncio, importlib.util, os, sys, time
sys.path.insert(0, os.environ["COMFYUI_PATH"])
import comfy.options
comfy.options.enable_args_parsing(False)
from comfy.cli_args import args
args.cpu = True
import nodes, comfy.samplers, comfy.sd, comfy_extras.nodes_custom_sampler, latent_preview, server
from comfy_api.latest import ComfyExtension
start = time.process_time()
spec = importlib.util.spec_from_file_location("duet_av", ROOT + "/__init__.py", submodule_search_locations=[ROOT])
pack = sys.modules["duet_av"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
imported = time.process_time()
async def register():
    extension = await pack.comfy_entrypoint()
    return [node.GET_SCHEMA() for node in await extension.get_node_list()]
asyncio.run(register())
print(imported - start, time.process_time() - imported)
"""


def spent(command: list[str]) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of ``command`` and its children."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}.")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024  # kilobytes on Linux


def generate_over_torch(folder: Path, runs: int, *, steps: int = 8) -> dict[str, float]:
    """The ratio of both CPU times, alternately in ``runs`` rounds, and the memory of a clip of ``steps`` steps."""
    clip = [
        "-m",
        "duet_av.pipelines.cli.main",
        "generate",
        PROMPT,
        "--steps",
        str(steps),
        "-o",
        str(folder / "out.mp4"),
    ]
    pairs = [(spent([sys.executable, *clip]), spent([sys.executable, "-c", "import torch"])) for _ in range(runs)]
    return {
        "ratio": statistics.median(clip[0] / torch[0] for clip, torch in pairs),
        "megabytes": statistics.median(clip[1] for clip, _ in pairs),
    }


def registering(runs: int) -> tuple[float, float]:
    """CPU seconds to import the pack in ComfyUI and to register its nodes, beyond ComfyUI's own imports."""
    command = [sys.executable, "-c", REGISTER]
    lines = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(runs)]
    rounds = [[float(number) for number in out.splitlines()[-1].split()] for out in lines]
    imported, registered = (statistics.median(column) for column in zip(*rounds, strict=True))
    return imported, registered
