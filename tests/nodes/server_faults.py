"""What a real ComfyUI must survive: cancels, hostile graphs, lost clients and long queues. ``test_faults_server.py`` tries a few of
each; as a program this is the campaign:

    COMFYUI_PATH=/path/to/ComfyUI python tests/nodes/server_faults.py --cancels 100 --hostile 300 --graphs 200 --seed 0
"""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from comfy_server import DONE, ended, example, fetch, queued, run_graph, server_process, wait
from hostile_graphs import hostile, try_hostile


def quick(seed):
    """A graph of one step."""
    return example("text_to_av", DuetSampler={"steps": 1, "seed": seed}, DuetMux={"enlarge": 1})


def cancel_at_random(address, rng, seed):
    """A graph that is cancelled at a random moment: how it ended."""
    prompt = queued(address, example("text_to_av", DuetSampler={"steps": 12, "seed": seed}))
    time.sleep(rng.uniform(0, 8))
    fetch_nothing(f"{address}/interrupt")
    status, kind, _ = ended(address, prompt)
    assert kind == "", kind
    return "finished" if status == "success" else "cancelled"


def fetch_nothing(url):
    """POST an empty request whose answer is empty."""
    try:
        fetch(url, {})
    except json.JSONDecodeError:
        return


def disconnect(address, seed):
    """A client that queues a graph over its websocket and is gone after the first message; the graph runs to its end."""
    import aiohttp

    async def gone():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{address}/ws?clientId=lost{seed}") as socket:
                answer = await session.post(
                    f"{address}/prompt", json={"prompt": quick(seed), "client_id": f"lost{seed}"}
                )
                await socket.receive()
                socket._response.connection.transport.abort()
            return (await answer.json())["prompt_id"]

    with ThreadPoolExecutor(1) as pool:  # a browser of another test may run an event loop in this thread
        graph = pool.submit(lambda: asyncio.run(gone())).result()
    assert ended(address, graph)[0] == "success"


def hostile_graph(address, rng):
    """A graph with hostile inputs: how it ended. A failure names what was replaced."""
    graph, done, settings = hostile(rng)
    try:
        return try_hostile(address, graph, settings=settings)
    except AssertionError as error:
        raise AssertionError(f"{done}: {error}") from error


def rss(process):
    """Resident memory of a process in MiB."""
    line = next(x for x in Path(f"/proc/{process.pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def long_queue(address, process, count):
    """``count`` graphs, queued at once: resident memory in MiB after a fifth of them, and after all."""
    prompts = [queued(address, quick(10_000 + k)) for k in range(count)]
    found = []
    for prompt in (prompts[count // 5], prompts[-1]):
        wait(lambda prompt=prompt: fetch(f"{address}/history/{prompt}").get(prompt), 60 * DONE)
        found.append(rss(process))
    assert all(ended(address, prompt)[0] == "success" for prompt in prompts)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in (("cancels", 100), ("hostile", 300), ("graphs", 200), ("clients", 10), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=count)
    arguments = parser.parse_args()
    rng, faults, outcomes = random.Random(arguments.seed), [], Counter()
    base = Path(tempfile.mkdtemp())
    with server_process(base) as (address, process):
        run_graph(address, quick(0))
        jobs = {
            "cancel": (arguments.cancels, lambda k: cancel_at_random(address, rng, k)),
            "hostile": (arguments.hostile, lambda _: hostile_graph(address, rng)),
            "client": (arguments.clients, lambda k: disconnect(address, k) or "finished"),
        }
        for kind, (count, attempt) in jobs.items():
            for k in range(count):
                try:
                    outcomes[f"{kind} {attempt(k)}"] += 1
                except (AssertionError, OSError) as error:
                    faults.append(f"{kind} {k}: {error!r}"[:2000])
                    print(faults[-1], file=sys.stderr)
            run_graph(address, quick(1_000_000 + count))
        begun = time.monotonic()
        memory = long_queue(address, process, arguments.graphs) if arguments.graphs else []
        seconds = round(time.monotonic() - begun)
    shutil.rmtree(base)
    report = {**vars(arguments), "outcomes": outcomes, "faults": faults, "rss_mib": memory, "queue_seconds": seconds}
    print(json.dumps(report, indent=1))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
