"""What the campaign damages, and how each kind of damaged input is read. A kind is a function (corpus, random numbers, folder) that
writes the input and returns the work to do in the forked process."""

from __future__ import annotations

import argparse
import json
import random
import shutil
from pathlib import Path

import cases
import torch
from safetensors.torch import load_file, save_file

import tests.conftest  # noqa: F401 - imports the pack as duet_av
from duet_av.pipelines.bench import takes
from duet_av.pipelines.bench.javisbench import read_features, samples_of
from duet_av.pipelines.bench.probes import AudioProbe, VideoProbe
from duet_av.pipelines.bench.readings import AUDIO_PROBE, VIDEO_PROBE
from duet_av.pipelines.cli import main as cli
from duet_av.pipelines.core.documents import printable
from duet_av.pipelines.core.saved_plan import read_plan, read_timeline
from duet_av.pipelines.core.sizes import ClipShape
from duet_av.pipelines.core.streams import Clip
from duet_av.pipelines.core.weights import KEY, load_module
from duet_av.pipelines.media.conform import read_conformed
from duet_av.pipelines.media.footage import read_footage
from duet_av.pipelines.media.mp4 import read_mp4, write_mp4
from duet_av.pipelines.media.provenance import describe, read_provenance
from duet_av.pipelines.media.sound import read_sound
from duet_av.pipelines.models.adapter.load import load_adapter
from duet_av.pipelines.models.javisdit.files import read_checkpoint
from duet_av.pipelines.models.planner.load import load_planner
from duet_av.pipelines.models.pocket import load as pocket
from duet_av.pipelines.models.pocket.add_ons import LAYERS, load_layers, load_timed_lora
from duet_av.pipelines.models.pocket.config import POCKET
from duet_av.pipelines.models.prior.load import load_prior_net
from duet_av.pipelines.sync.encoders import EmbeddingFile
from duet_av.pipelines.sync.measure import measure, read_signals

LOADERS = {
    pocket.FILES["pocket-av"]: pocket.load_network,
    pocket.FILES["pocket-text"]: pocket.load_text_encoder,
    pocket.FILES["video-codec"]: pocket.load_video_codec,
    pocket.FILES["audio-codec"]: pocket.load_audio_codec,
    pocket.ADD_ONS["pocket-planner"]: load_planner,
    pocket.ADD_ONS["pocket-prior"]: load_prior_net,
    pocket.ADD_ONS["pocket-adapter"]: load_adapter,
    pocket.ADD_ONS["pocket-timed"]: lambda path: load_timed_lora(pocket.load_network(), "base", path),
    AUDIO_PROBE: lambda path: load_module(path, "audio-probe", AudioProbe),
    VIDEO_PROBE: lambda path: load_module(path, "video-probe", VideoProbe),
    **{pocket.ADD_ONS[kind]: lambda path, kind=kind: load_layers(kind, POCKET, "base", path) for kind in LAYERS},
}
SHAPE = ClipShape(seconds=1)
VALUES = (
    *(-7, 0, 1, 3, 0.5, 10**12, 10**400, 1e308, float("nan"), True, None),
    *("", "\x1b[31m", "x" * 10**6, [], [[]], {}, {"a": 1}),
)
OPTIONS = (
    *("nan", "inf", "-inf", "-1", "1e308", "9" * 400, "", "--", "0x10", "\x1b[31m", "\u0661\u0662", "1,5", "0", "5"),
    "\udcff",
)
ARGUMENTS = {  # of each command, with files that do not exist, so that nothing is computed
    "generate": ("a red ball", "-o", "none/o.mp4"),
    "extend": ("a red ball", "-o", "none/o.mp4"),
    "sweep": ("a red ball", "-o", "/dev/null/x"),
    "plan": ("a red ball", "-o", "none/o.txt"),
    "world": ("-o", "/dev/null/x"),
    "data": ("none", "-o", "none/o.safetensors"),
    "bench": ("core", "--json", "none/x.json"),
    "train": ("joint", "--data", "none.safetensors"),
    "measure": ("none.mp4",),
    "doctor": ("none.mp4",),
}


def numeric_options() -> dict[str, list[str]]:
    """The options of each command that take a number; for commands without any, the file for their report."""
    (commands,) = (action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
    found = {
        name: [action.option_strings[-1] for action in parser._actions if action.type in (int, float)]
        for name, parser in commands.choices.items()
    }
    return {name: options or ["--json"] for name, options in found.items()}


class Corpus:
    """Whole files of every kind, which are copied and then damaged."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        clip = Clip(torch.rand(24, 32, 32, 3), 16.0, torch.rand(2, 24_000) - 0.5, 16_000)
        write_mp4(folder / "a.mp4", clip, metadata={KEY: {"model": "x", "prompts": ["a"]}, "workflow": {"nodes": []}})
        cases.sound(folder / "a.wav")
        cases.late_frame(folder / "a.mkv")
        cases.png(folder / "a.png", text=[(KEY, '{"model": "x"}'), ("workflow", '{"nodes": [1]}')])
        self.media = sorted(folder.iterdir())
        self.timeline = [cases.EVENT, cases.EVENT | {"when": 1.25, "where": "right", "heard": False}]
        self.plan = {"video": "a ball", "audio": "a bell", "timeline": self.timeline, "seed": 5}
        self.weights = [path for path in LOADERS if path.stat().st_size < 5e6]
        layer = {"a.q.weight": torch.zeros(4, 4)}
        lora = {"a.q.lora_A.weight": torch.zeros(2, 4), "a.q.lora_B.weight": torch.zeros(4, 2)}
        torch.save(layer | lora, folder / "a.bin")
        self.pickle = folder / "a.bin"
        vectors = {"a/video": torch.zeros(4), "b/video": torch.ones(4)}
        save_file(vectors, folder / "e.safetensors", metadata={"encoder": "x", "fps": "4"})
        self.embeddings = folder / "e.safetensors"


def damaged(data: bytes, rng: random.Random, *, head: int = 0) -> bytes:
    """``data`` with changed, removed, repeated or foreign bytes; with ``head``, half of the changes fall among the first bytes."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8, 40])):
        at = rng.randrange(min(head, len(out)) if head and rng.random() < 0.5 else len(out) or 1) if out else 0
        match rng.randrange(6):
            case 0 if out:
                out[at] ^= 1 << rng.randrange(8)
            case 1 if out:
                out[at] = rng.choice([0, 255, 127, 128, rng.randrange(256)])
            case 2:
                del out[at : at + rng.choice([1, 4, 100, 10**6])]
            case 3:
                out[at:at] = out[at : at + rng.choice([1, 16, 500])]
            case 4:
                out[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 4, 64])))
            case 5:
                out[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"])
    return bytes(out)


def reading(path: Path, *readers):
    """Work that reads ``path`` in each way; every refusal must be a plain one that names the file."""

    def work():
        outcome = "accepted"
        for read in readers:
            try:
                read(path)
            except (ValueError, OSError) as error:
                outcome = "refused"
                if path.name not in str(error):
                    return "unnamed", f"{type(error).__name__}: {error}"[:500]
                if len(printable(error)) > 3000:
                    return "long message", str(error)[:500]
        return outcome, ""

    return work


def command(arguments: list[str]):
    """Work that runs the command line; its status must be 0 or 2."""

    def work():
        try:
            status = cli.main(arguments)
        except SystemExit as stopped:
            status = stopped.code
        outcome = {0: "accepted", 2: "refused"}.get(status, "status")
        return outcome, " ".join(arguments) if outcome == "status" else ""

    return work


def weights(corpus: Corpus, rng: random.Random, folder: Path):
    """A shipped weights file with damaged bytes, or with damaged entries in its metadata."""
    source, path = rng.choice(corpus.weights), folder / "w.safetensors"
    if rng.random() < 0.5:
        path.write_bytes(damaged(source.read_bytes(), rng, head=4096))
    else:
        size = int.from_bytes(source.open("rb").read(8), "little")
        header = json.loads(source.read_bytes()[8 : 8 + size])["__metadata__"]
        stored = json.loads(header[KEY])
        if "base" in stored["config"]:
            stored["config"]["base"] = "base"
        part = rng.choice([stored, stored["config"], stored["config"], stored["config"]])
        part[rng.choice([*part, "extra"])] = rng.choice(VALUES)
        save_file(load_file(source), path, metadata={KEY: json.dumps(stored)})
    return reading(path, LOADERS[source])


def media(corpus: Corpus, rng: random.Random, folder: Path):
    """A media file or image with damaged bytes, read in every way."""
    source = rng.choice(corpus.media)
    path = folder / rng.choice([source.name, f"x{rng.choice(['.mp4', '.wav', '.png', '.mkv'])}"])
    path.write_bytes(damaged(source.read_bytes(), rng, head=2048))
    readers = (
        lambda p: measure(read_signals(p)),
        read_mp4,
        read_sound,
        lambda p: read_conformed(p, SHAPE),
        lambda p: read_footage(p, "video", SHAPE),
        lambda p: read_footage(p, "audio", SHAPE),
        lambda p: read_footage(p, "first frame", SHAPE),
        lambda p: describe(read_provenance(p)),
    )
    return reading(path, *readers)


def replaced(value, rng: random.Random):
    """JSON data with one value somewhere replaced."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        return {**value, key: replaced(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        k = rng.randrange(len(value))
        return [*value[:k], replaced(value[k], rng), *value[k + 1 :]]
    return rng.choice(VALUES)


def plans(corpus: Corpus, rng: random.Random, folder: Path):
    """A saved plan or timeline with damaged values or bytes."""
    path, whole = (
        folder / "plan.json",
        rng.choice([corpus.plan, corpus.timeline, "0.5 bell left\n1.5 drum right silent\n"]),
    )
    text = whole if isinstance(whole, str) else json.dumps(replaced(whole, rng))
    path.write_bytes(damaged(text.encode("utf-8", "surrogatepass"), rng) if rng.random() < 0.5 else text.encode())
    return reading(path, read_timeline, read_plan)


def options(corpus: Corpus, rng: random.Random, folder: Path):
    """A command with hostile numbers; its files do not exist, so that nothing is generated."""
    names = numeric_options()
    name = rng.choice(list(names))
    chosen = [f"{rng.choice(names[name])}={rng.choice(OPTIONS)}" for _ in range(rng.choice([1, 1, 2, 3]))]
    return command([name, *ARGUMENTS[name], *chosen])


def pickles(corpus: Corpus, rng: random.Random, folder: Path):
    """A pickle of tensors with damaged bytes."""
    path = folder / "p.bin"
    path.write_bytes(damaged(corpus.pickle.read_bytes(), rng, head=512))
    return reading(path, read_checkpoint)


def embeddings(corpus: Corpus, rng: random.Random, folder: Path):
    """A file of embeddings with damaged bytes, also read as features."""
    path = folder / "e.safetensors"
    path.write_bytes(damaged(corpus.embeddings.read_bytes(), rng))
    return reading(path, EmbeddingFile.read, read_features)


def tables(corpus: Corpus, rng: random.Random, folder: Path):
    """A damaged table of prompts."""
    path = folder / "t.csv"
    path.write_bytes(damaged(b'text,event type\n"a ball, red",x\na bell,y\n' * 3, rng))
    return reading(path, lambda p: samples_of(p, p.parent))


def sweeps(corpus: Corpus, rng: random.Random, folder: Path):
    """A sweep whose stored takes are damaged; it must generate them again."""

    def made(seed):
        return takes.Take(seed, seed / 10, {"in_step": seed / 10}), {"video": torch.full((2,), float(seed))}

    takes.sweep(folder, range(3), made, keep=2)
    path = rng.choice(sorted(folder.glob("take-*")))
    path.write_bytes(damaged(path.read_bytes(), rng))

    def work():
        found = takes.sweep(folder, range(3), made, keep=2)
        return ("accepted", "") if len(found) == 2 else ("lost", str(found))

    return work


def table(corpus: Corpus, rng: random.Random, folder: Path):
    """A row of the table of hostile inputs."""
    shutil.rmtree(folder / "t", ignore_errors=True)
    (folder / "t").mkdir()
    _, arguments = cases.prepare(folder / "t", rng.choice([name for name in cases.TABLE if "--csv" not in name]))
    return command([str(folder / "t" / a) if a in ("out.mp4", "table.csv") else a for a in arguments])


KINDS = {f.__name__: f for f in (weights, media, plans, options, pickles, embeddings, tables, sweeps, table)}
