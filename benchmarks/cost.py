"""Measures the time from cold start to a finished mp4, peak memory and import times. Prints one JSON object.

    python benchmarks/cost.py [--runs N]

With COMFYUI_PATH set (and run by ComfyUI's Python) it also measures the registration of the nodes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {"cold_start_s": 20.0, "peak_memory_gb": 3.0, "import_beyond_torch_s": 1.5, "register_nodes_s": 0.3}
PROMPT = "a small red ball bounces slowly on the left at night"

IMPORT = """
import time, torch
start = time.perf_counter()
import duet_av.pipelines.models.pocket.generate
print(time.perf_counter() - start)
"""

REGISTER = f"""
ROOT = {str(ROOT)!r}
import asyncio, importlib.util, os, sys, time
sys.path.insert(0, os.environ["COMFYUI_PATH"])
import comfy.options
comfy.options.enable_args_parsing(False)
from comfy.cli_args import args
args.cpu = True
import nodes, comfy.samplers, comfy.sd, comfy_extras.nodes_custom_sampler, latent_preview
from comfy_api.latest import ComfyExtension
spec = importlib.util.spec_from_file_location("duet_av", ROOT + "/__init__.py", submodule_search_locations=[ROOT])
pack = sys.modules["duet_av"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
async def register():
    extension = await pack.comfy_entrypoint()
    return [node.GET_SCHEMA() for node in await extension.get_node_list()]
start = time.perf_counter()
asyncio.run(register())
print(time.perf_counter() - start)
"""


def timed(code: str, runs: int) -> float:
    """The median of the number that ``code`` prints, over ``runs`` fresh processes."""
    command = [sys.executable, "-c", code]
    found = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(runs)]
    return statistics.median(float(out.splitlines()[-1]) for out in found)


def cold_start(folder: Path) -> float:
    """Seconds from the start of the command to a finished mp4 and timeline."""
    command = [sys.executable, "-m", "duet_av.pipelines.cli.main", "generate", PROMPT, "-o", str(folder / "out.mp4")]
    start = time.perf_counter()
    subprocess.run([*command, "--timeline", str(folder / "out.png")], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        figures = {"cold_start_s": statistics.median(cold_start(Path(folder)) for _ in range(runs))}
    # ru_maxrss is in kilobytes on Linux. The largest child process so far is the generating command.
    figures["peak_memory_gb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    figures["import_beyond_torch_s"] = timed(IMPORT, runs)
    if "COMFYUI_PATH" in os.environ:
        figures["register_nodes_s"] = timed(REGISTER, runs)
    report = {
        name: {"measured": round(value, 3), "limit": LIMITS[name], "within": value <= LIMITS[name]}
        for name, value in figures.items()
    }
    print(json.dumps({"cpus": os.cpu_count(), "runs": runs, **report}, indent=1))


if __name__ == "__main__":
    main()
