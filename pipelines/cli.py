"""The ``duet`` command. Heavy imports wait until a subcommand needs them, so that mistakes are told at once."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .files import check_place, replaced

if TYPE_CHECKING:
    from .generate import Request
    from .metrics.reading import Probes
    from .models.pocket.load import PocketModel
    from .models.pocket.text import WordTokenizer
    from .plan import Timeline
    from .streams import Clip

GUIDANCE_FORMS = ("cfg", "U1", "U2", "U2'", "U3", "U5")
EXAMPLE = "a small red ball bounces slowly on the left at night"
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``duet``; mistakes end in one line on stderr and status 2, Ctrl-C in status 130, neither in half a file."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except (ValueError, OSError) as error:
        print(f"duet: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nduet: interrupted; nothing unfinished was left behind.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="duet",
        description="Joint audio-video generation: one prompt in, one clip out whose sound and picture belong together.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_generate(commands.add_parser("generate", help="render a prompt to an mp4 with sound"))
    _add_plan(commands.add_parser("plan", help="write what happens when in a clip, or check what you wrote"))
    _add_world(commands.add_parser("world", help="render clips of the procedural world with their exact truth"))
    _add_train(commands.add_parser("train", help="train a part of the pocket model"))
    _add_data(commands.add_parser("data", help="encode a folder of captioned clips to train on"))
    _add_bench(commands.add_parser("bench", help="measure synchrony on held-out prompts"))
    return parser


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", default="", help=f"what is seen and heard, e.g. '{EXAMPLE}'")
    parser.add_argument("--audio-prompt", help="words for the sound alone (default: the prompt)")
    parser.add_argument("--negative", default="", help="what to steer away from (default: nothing)")
    parser.add_argument("--seed", type=int, default=0, help="take k of a run uses seed + k (default 0)")
    parser.add_argument("--steps", type=int, default=25, help="sampling steps (default 25)")
    parser.add_argument(
        "--form",
        choices=GUIDANCE_FORMS,
        default="U2'",
        help="how words and the other stream guide together: plain cfg, or a form of UCG (default U2'; see README)",
    )
    parser.add_argument("--cfg", type=float, default=2.0, metavar="S", help="scale of the words; 1 is off (default 2)")
    parser.add_argument(
        "--context",
        type=float,
        default=5.0,
        metavar="S",
        help="scale of the other stream in U2, U2', U3, U5 (default 5)",
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="length of the clip; the pocket model was trained on 2 s (default 2)"
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="takes of each prompt (default 1)")
    parser.add_argument(
        "--prompts", type=Path, metavar="FILE", help="a text file with one prompt a line, instead of PROMPT"
    )
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help="a timeline to keep to, as 'duet plan' writes it (default: no plan)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="the mp4; several clips are numbered, out-0.mp4, out-1.mp4, ...",
    )
    parser.add_argument(
        "--timeline", type=Path, metavar="PNG", help="also draw frames, spectrogram and detected events on one axis"
    )
    parser.set_defaults(command=_generate)


def _prompts(arguments: argparse.Namespace) -> list[str]:
    if arguments.prompts is None:
        return [arguments.prompt] * arguments.batch
    if arguments.prompt:
        raise ValueError("Both a prompt and --prompts were given; use one of them.")
    try:
        lines = [line.strip() for line in arguments.prompts.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{arguments.prompts} is not a text file in UTF-8: {error}.") from error
    prompts = [line for line in lines if line]
    if not prompts:
        raise ValueError(f"{arguments.prompts} holds no prompt; write one on each line.")
    return [prompt for prompt in prompts for _ in range(arguments.batch)]


def _numbered(path: Path, count: int) -> list[Path]:
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{k}") for k in range(count)]


def _generate(arguments: argparse.Namespace) -> None:
    if not 1 <= arguments.batch <= 256:
        raise ValueError(f"--batch is {arguments.batch}; it must be from 1 to 256.")
    prompts = _prompts(arguments)
    outputs = [check_place(path, suffix=".mp4") for path in _numbered(arguments.output, len(prompts))]
    timelines = (
        [check_place(path, suffix=".png") for path in _numbered(arguments.timeline, len(prompts))]
        if arguments.timeline
        else []
    )

    from tqdm import tqdm

    from .generate import Request, generate
    from .guidance import UCG, PerStreamCFG
    from .metrics.reading import Probes
    from .models.pocket.load import PocketModel
    from .planning import read_timeline
    from .shapes import ClipShape

    timeline = None if arguments.plan is None else read_timeline(arguments.plan)
    audio = None if arguments.audio_prompt is None else [arguments.audio_prompt] * len(prompts)
    text, context = arguments.cfg, arguments.context
    plain = arguments.form == "cfg"
    strategy = PerStreamCFG(text, text) if plain else UCG(arguments.form, text, text, context, context)
    request = Request(
        prompts,
        audio=audio,
        negative=arguments.negative,
        seed=arguments.seed,
        steps=arguments.steps,
        strategy=strategy,
        shape=ClipShape(seconds=arguments.seconds),
    )
    model, probes = PocketModel.load(), Probes.load()
    _report_unknown(model.text.tokenizer, [*prompts, *(audio or ()), arguments.negative])
    if timeline is not None:
        request = _planned(model, request, timeline)
    batch = 16
    with tqdm(total=arguments.steps * -(-len(prompts) // batch), desc="sample", unit="step") as bar:
        clips = generate(model, request, batch=batch, on_step=bar.update)
    for k, (clip, output) in enumerate(zip(tqdm(clips, desc="write", unit="clip"), outputs, strict=True)):
        _deliver(clip, output, timelines[k] if timelines else None, request, k, probes)


def _planned(model: PocketModel, request: Request, timeline: Timeline) -> Request:
    """``request`` with a plan for each prompt, and the layers that read it in ``model``."""
    from .models.planner.load import load_planner, with_plan_layers
    from .planning import plan_request

    planner = load_planner()
    if request.shape.seconds != planner.config.seconds:
        raise ValueError(
            f"--seconds is {request.shape.seconds:g}; the planner knows clips of {planner.config.seconds:g} s alone."
        )
    with_plan_layers(model.network)
    return replace(request, plan=plan_request(planner, request.prompts, request.audio, timeline))


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", help=f"what is seen and heard, e.g. '{EXAMPLE}'")
    parser.add_argument("--audio-prompt", default="", help="words for the sound alone (default: the prompt)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")
    parser.add_argument("--temperature", type=float, default=1.0, help="how freely it is drawn; 0 is the likeliest")
    parser.add_argument("--edit", type=Path, metavar="FILE", help="check this timeline instead of drawing one")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="also draw it")
    parser.add_argument("-o", "--output", type=Path, help="a text file for the timeline (default: print it)")
    parser.set_defaults(command=_plan)


def _plan(arguments: argparse.Namespace) -> None:
    outputs = [(arguments.output, ".txt"), (arguments.picture, ".png")]
    for path, suffix in outputs:
        if path is not None:
            check_place(path, suffix=suffix)
    if not 0 <= arguments.temperature <= 10:
        raise ValueError(f"--temperature is {arguments.temperature}; it must be from 0 to 10.")
    from .models.planner.load import load_planner
    from .planning import read_timeline

    edited = None if arguments.edit is None else read_timeline(arguments.edit)
    planner = load_planner()
    _report_unknown(planner.language.words, [arguments.prompt, arguments.audio_prompt])
    if edited is None:
        edited = planner.write(
            arguments.prompt, arguments.audio_prompt, seed=arguments.seed, temperature=arguments.temperature
        )
    planner.language.write(edited)  # refuses what cannot be planned
    if arguments.output is None:
        print(edited)
    else:
        with replaced(arguments.output) as temporary:
            temporary.write_text(f"{edited}\n", encoding="utf-8")
    if arguments.picture is not None:
        from .pictures import draw_plan
        from .timeline import write_png

        write_png(arguments.picture, draw_plan(edited, seconds=planner.config.seconds, title=arguments.prompt))


def _report_unknown(tokenizer: WordTokenizer, texts: Sequence[str]) -> None:
    """Refuse texts that cannot be encoded, then name the words that are not known."""
    for text in texts:
        tokenizer.encode(text)
    words = dict.fromkeys(str(word) for text in texts for word in tokenizer.unknown(text))
    if words:
        print(f"duet: unknown words, read as 'something': {'; '.join(words)}", file=sys.stderr)


def _deliver(clip: Clip, output: Path, timeline: Path | None, request: Request, k: int, probes: Probes) -> None:
    """Write clip ``k`` of ``request`` and its timeline, and say what was measured."""
    from .media import write_mp4
    from .metrics.events import f1
    from .metrics.reading import read
    from .metrics.sync import offset

    (reading,) = read(probes, [clip])
    late = offset(reading.heard, reading.seen.events)
    score = f"synchrony F1 {f1(reading.heard, reading.seen.events):.2f}" + (
        f", sound {abs(late) * 1000:.0f} ms {'late' if late >= 0 else 'early'}" if late is not None else ""
    )
    write_mp4(output, clip)
    if timeline:
        from .timeline import draw_timeline, write_png

        write_png(
            timeline,
            draw_timeline(
                clip,
                reading.heard,
                reading.seen.events,
                title=f"{request.prompts[k]}  (seed {request.seed + k})",
                score=score,
            ),
        )
    print(f"{output}: {score}" + (f"; {timeline}" if timeline else ""))


def _add_world(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=4, help="how many clips (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="which list of scenes (default 0)")
    parser.add_argument(
        "--stratum", default="", help="single, sequential, simultaneous, muted, offscreen or reasoning (default: a mix)"
    )
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder for scene-0.mp4, scene-0.json, ...")
    parser.set_defaults(command=_world)


def _world(arguments: argparse.Namespace) -> None:
    if not 1 <= arguments.count <= 10_000:
        raise ValueError(f"--count is {arguments.count}; it must be from 1 to 10000.")
    from tqdm import tqdm

    from .media import write_mp4
    from .shapes import ClipShape
    from .streams import Clip
    from .world import caption, make_scene, render_picture, render_sound

    shape = ClipShape(seconds=arguments.seconds)
    scenes = [
        make_scene(arguments.seed, k, stratum=arguments.stratum, split="any", seconds=arguments.seconds)
        for k in range(arguments.count)
    ]
    arguments.output.mkdir(parents=True, exist_ok=True)
    for k, scene in enumerate(tqdm(scenes, desc="world", unit="clip")):
        frames = render_picture([scene], shape)[0].permute(0, 2, 3, 1)
        waveform = render_sound([scene], samples=shape.samples, sample_rate=shape.sample_rate)[0]
        write_mp4(arguments.output / f"scene-{k}.mp4", Clip(frames, float(shape.fps), waveform, shape.sample_rate))
        truth = {"caption": caption(scene), **scene.to_json()}
        with replaced(arguments.output / f"scene-{k}.json") as temporary:
            temporary.write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "stage",
        choices=(
            *("codecs", "video-decoder", "audio-probe", "video-probe", "video", "audio", "joint"),
            *("planner", "plan", "plan-adapted", "ablation"),
        ),
        help="what to train; each stage needs the ones before it",
    )
    parser.add_argument(
        "--run",
        type=Path,
        default=Path("runs"),
        help="folder of checkpoints and caches; an interrupted run resumes from it (default runs)",
    )
    parser.add_argument("--steps", type=int, help="optimizer steps (default: the stage's own)")
    parser.add_argument("--batch", type=int, help="samples a step and process (default: the stage's own)")
    parser.add_argument("--lr", type=float, help="peak learning rate (default: the stage's own)")
    parser.add_argument("--clips", type=int, default=8192, help="rendered clips to learn the flow from (default 8192)")
    parser.add_argument("--data", type=Path, metavar="FILE", help="learn from clips encoded by 'duet data' instead")
    parser.add_argument(
        "--mix",
        nargs="+",
        default=[],
        metavar="TASK=SHARE",
        help="shares of the tasks t2av, ti2av, t2v+t2a, i2v+t2a, a2v and v2a (default: CCL's, normalised)",
    )
    parser.add_argument(
        "--stop-gradient", action="store_true", help="read the clean stream of A2V and V2A without a gradient"
    )
    parser.add_argument(
        "--audio-from-video",
        action="store_true",
        help="start the audio stream from the video stream where shapes agree",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each arm of the ablation (default 3)")
    parser.add_argument(
        "--compile", action="store_true", help="train through torch.compile (a CPU needs a C++ compiler for it)"
    )
    parser.add_argument("--from-scratch", action="store_true", help="do not start from the weights in weights/")
    parser.add_argument("--weights", type=Path, help="where to write the result (default: the pack's weights/)")
    parser.set_defaults(command=_train)


def _train(arguments: argparse.Namespace) -> None:
    for name in ("steps", "batch", "clips"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise ValueError(f"--{name} is {getattr(arguments, name)}; it must be at least 1.")
    if arguments.stage == "ablation":
        _ablate(arguments)
        return
    mix = _shares(arguments.mix)
    from dataclasses import replace

    from .training.flow import RECIPES
    from .training.stages import Job, run_stage
    from .weights import WEIGHTS

    recipe = RECIPES.get(arguments.stage)
    if recipe:
        recipe = replace(recipe, mix=mix or recipe.mix, stop_gradient=arguments.stop_gradient)
    job = Job(
        arguments.stage,
        arguments.run,
        folder=arguments.weights or WEIGHTS,
        steps=arguments.steps,
        batch=arguments.batch,
        lr=arguments.lr,
        clips=arguments.clips,
        seed=arguments.seed,
        from_scratch=arguments.from_scratch,
        compiled=arguments.compile,
        recipe=recipe,
        audio_from_video=arguments.audio_from_video,
        data=arguments.data,
    )
    record = run_stage(job)
    if record:
        print(json.dumps(record, indent=1))


def _ablate(arguments: argparse.Namespace) -> None:
    from .metrics.tables import TABLES
    from .training.ablation import page, run_ablation

    folder = arguments.weights or TABLES
    folder.mkdir(parents=True, exist_ok=True)
    run = arguments.run / "ablation"
    table = run_ablation(
        run, folder / "ablation.json", seeds=arguments.seeds, clips=arguments.clips, compiled=arguments.compile
    )
    print(page(table))


def _shares(entries: Sequence[str]) -> dict[str, float]:
    shares = {}
    for entry in entries:
        task, _, share = entry.partition("=")
        try:
            shares[task] = float(share)
        except ValueError as error:
            raise ValueError(f"--mix {entry!r} is no TASK=SHARE; write e.g. t2av=0.6.") from error
    return shares


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=Path,
        help="media files of any container and rate, each with its caption in NAME.txt or NAME.json",
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="length of the segments (default 2)")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="the encoded clips (.safetensors); the report goes beside it"
    )
    parser.set_defaults(command=_data)


def _data(arguments: argparse.Namespace) -> None:
    target = check_place(arguments.output, suffix=".safetensors")
    if not arguments.folder.is_dir():
        raise ValueError(f"{arguments.folder} is no folder; name one with media files and their captions.")
    from tqdm import tqdm

    from .models.pocket.load import load_audio_codec, load_text_encoder, load_video_codec
    from .shapes import ClipShape
    from .training.clips import encode_folder, media_files

    shape, codecs = ClipShape(seconds=arguments.seconds), (load_video_codec(), load_audio_codec())
    tokenizer = load_text_encoder().tokenizer
    with tqdm(desc="encode", unit="file", total=len(media_files(arguments.folder))) as bar:
        report = encode_folder(
            arguments.folder, target, shape=shape, codecs=codecs, tokenizer=tokenizer, on_file=bar.update
        )
    with replaced(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    print(report)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "suite",
        choices=("core", "codecs", "guidance", "plan"),
        help="what to measure; see weights/bench/ for the tables of record",
    )
    parser.add_argument("--prompts", type=int, default=1000, metavar="N", help="how many prompts (default 1000)")
    parser.add_argument("--seed", type=int, default=1000, help="list of scenes and noise (default 1000, the test list)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes of one thread each (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table; a page and a plot go beside it")
    parser.set_defaults(command=_bench)


def _bench(arguments: argparse.Namespace) -> None:
    for name, least in (("prompts", 20), ("jobs", 1)):
        if getattr(arguments, name) < least:
            raise ValueError(f"--{name} is {getattr(arguments, name)}; it must be at least {least}.")
    if arguments.json:
        for suffix in (".json", ".md", ".png"):
            check_place(arguments.json if suffix == ".json" else arguments.json.with_suffix(suffix), suffix=suffix)
    from tqdm import tqdm

    from .metrics.bench import Run
    from .metrics.suites import SUITES
    from .metrics.tables import markdown, write

    suite = SUITES[arguments.suite]
    with tqdm(desc=arguments.suite, unit="prompt") as bar:
        run = Run(arguments.prompts, arguments.seed, arguments.jobs, on_chunk=bar.update)
        table = suite.measure(run)
    print(markdown(table))
    if arguments.json:
        print("\n".join(map(str, write(table, arguments.json, figure=suite.draw(table)))))


if __name__ == "__main__":
    sys.exit(main())
