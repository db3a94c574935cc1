"""``duet bench``: run a benchmark suite, or measure your own clips."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.files import check_output_path
from ..models.choose import MODELS, POCKET
from .options import add_workers
from .workers import workers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from ..bench.javisbench import Sample
    from ..bench.tables import Table
    from ..cluster.executor import Executor

SUITES = (
    "core",
    "codecs",
    "guidance",
    "modality",
    "few-steps",
    "plan",
    "prior",
    "adapter",
    "adapter-identifiability",
    "meter",
    "meter-validation",
    "people",
    "timed",
)
JAVISBENCH = "javisbench"
OWN_OPTIONS = (
    "csv",
    "clips",
    "embeddings",
    "features",
    "clap",
    "clip",
    "synchformer",
)  # options that only javisbench has


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``duet bench``."""
    parser.add_argument(
        "suite",
        choices=(*SUITES, JAVISBENCH),
        help="the suite to run (docs/results has the tables of record), or javisbench to measure your own clips, or those of --model",
    )
    parser.add_argument("--prompts", type=int, default=1000, metavar="N", help="number of prompts (default 1000)")
    parser.add_argument(
        "--seed", type=int, default=1000, help="seed of the prompt list and the noise (default 1000, the test list)"
    )
    add_workers(parser)
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="DIR",
        help="folder that keeps the scores of finished prompts; run the same command again to resume (javisbench resumes without it)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the table as JSON, and a page and a plot beside it"
    )
    parser.add_argument(
        "--model",
        choices=MODELS,
        help="the model to measure (default pocket; not every suite has the others). javisbench: generate the missing clips "
        "with this model first (default: measure the clips that exist); existing clips are kept, so an interrupted run resumes",
    )
    _add_javisbench(parser.add_argument_group("javisbench"))
    parser.set_defaults(command=run)


def _add_javisbench(own: argparse._ArgumentGroup) -> None:
    own.add_argument("--csv", type=Path, metavar="FILE", help="CSV file of prompts: a column 'text', one row per clip")
    own.add_argument(
        "--clips",
        type=Path,
        metavar="DIR",
        help="folder of clips: sample_0000.mp4, ... (audio may be in a .wav of the same name)",
    )
    own.add_argument(
        "--embeddings",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="embeddings computed with your ImageBind, CAVP or other encoder; the file states which",
    )
    own.add_argument(
        "--features",
        type=Path,
        metavar="FILE",
        help="features of your clips and of real clips, for FVD, KVD, FAD, FD, KL and IS",
    )
    own.add_argument("--clap", type=Path, metavar="DIR", help="folder of a CLAP model in the format of transformers")
    own.add_argument("--clip", type=Path, metavar="DIR", help="folder of a CLIP model in the format of transformers")
    own.add_argument(
        "--synchformer",
        type=Path,
        metavar="FILE",
        help="weights of Synchformer, for DeSync: synchformer_state_dict.pth or safetensors",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the suite, or measure the user's clips, and print the table."""
    others = [name for name in OWN_OPTIONS if getattr(arguments, name) is not None]
    if others and arguments.suite != JAVISBENCH:
        raise ValueError(f"--{others[0]} only applies to {JAVISBENCH}. Leave it out.")
    if arguments.json:
        for suffix in (".json", ".md", ".png"):
            check_output_path(
                arguments.json if suffix == ".json" else arguments.json.with_suffix(suffix),
                suffix=suffix,
                inputs=[arguments.csv, arguments.features, arguments.synchformer, *(arguments.embeddings or ())],
            )
    from ..bench.tables import markdown, plot, write

    if arguments.suite == JAVISBENCH:
        table = _javisbench(arguments)
        figure = plot(table, "in_step")
    else:
        table, figure = _suite(arguments)
    print(markdown(table))
    if arguments.json:
        print("\n".join(map(str, write(table, arguments.json, figure=figure))))


def _suite(arguments: argparse.Namespace) -> tuple[Table, Figure]:
    """The table and the plot of a suite."""
    from tqdm import tqdm

    from ..bench.runner import Run
    from ..bench.suites import SUITES

    model = arguments.model or POCKET
    suite = SUITES[arguments.suite].require(arguments.suite, model)
    if arguments.cluster or arguments.resume:
        suite.require_pieces(arguments.suite)
    with workers_of(arguments) as executor, tqdm(desc=arguments.suite, unit="prompt") as bar:
        run = Run(arguments.prompts, arguments.seed, model, executor, arguments.resume, bar.update)
        table = suite.measure(run)
    return table, suite.draw(table)


def _javisbench(arguments: argparse.Namespace) -> Table:
    """Measures of the user's clips, with the user's encoders and features."""
    if arguments.csv is None or arguments.clips is None:
        raise ValueError("javisbench requires --csv FILE with prompts and --clips DIR with one clip for each.")
    from tqdm import tqdm

    from ..bench.javisbench import check_clips, measure_list, read_features, samples_of
    from ..sync.encoders import ClapEncoder, ClipEncoder, EmbeddingFile, Encoder
    from .measure import desync_meter

    samples = samples_of(arguments.csv, arguments.clips)
    if arguments.model is None:
        check_clips(samples)
    encoders: list[Encoder] = [EmbeddingFile.read(path) for path in arguments.embeddings or ()]
    encoders += [make(path) for make, path in ((ClapEncoder, arguments.clap), (ClipEncoder, arguments.clip)) if path]
    features = {} if arguments.features is None else read_features(arguments.features)
    desync = None if arguments.synchformer is None else desync_meter(arguments.synchformer)
    with workers_of(arguments) as executor:
        notes = _generate(arguments, samples, executor) if arguments.model else {}
        with tqdm(total=len(samples), desc=JAVISBENCH, unit="clip") as bar:
            table = measure_list(
                samples, encoders, features=features, desync=desync, executor=executor, on_clip=bar.update
            )
    return replace(table, seed=arguments.seed if arguments.model else table.seed, notes={**notes, **table.notes})


def _generate(arguments: argparse.Namespace, samples: Sequence[Sample], executor: Executor) -> dict[str, str]:
    """Generate the missing clips; a note that states the model and the seed."""
    from tqdm import tqdm

    from ..bench.javisbench_clips import make_clips

    with tqdm(total=len(samples), desc="generate", unit="clip") as bar:
        made = make_clips(samples, seed=arguments.seed, model=arguments.model, executor=executor, on_clips=bar.update)
    kept = len(samples) - made
    return {"model": f"{arguments.model}, seed {arguments.seed} plus the row number; {made} generated, {kept} kept"}
