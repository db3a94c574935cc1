"""Options of the commands that generate clips."""

from __future__ import annotations

import argparse
from pathlib import Path

GUIDANCE_FORMS = ("cfg", "U1", "U2", "U2'", "U3", "U5")
LABEL = "AI generated"
EXAMPLE = "a small red ball bounces slowly on the left at night"


def add_words(parser: argparse.ArgumentParser) -> None:
    add_sampling(parser)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="takes of each prompt (default 1)")
    parser.add_argument(
        "--prompts", type=Path, metavar="FILE", help="a text file with one prompt a line, instead of PROMPT"
    )


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """What one prompt is made with."""
    parser.add_argument("prompt", nargs="?", default="", help=f"what is seen and heard, e.g. '{EXAMPLE}'")
    parser.add_argument("--audio-prompt", help="words for the sound alone (default: the prompt)")
    parser.add_argument("--negative", default="", help="what to steer away from (default: nothing)")
    parser.add_argument("--seed", type=int, default=0, help="take k of a run uses seed + k (default 0)")
    parser.add_argument("--steps", type=int, default=25, help="sampling steps (default 25)")
    parser.add_argument(
        "--form",
        choices=GUIDANCE_FORMS,
        default="U2'",
        help="how words and the other stream guide together: plain cfg, or a form of UCG (default U2'; see docs/guidance.md)",
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


def add_conditions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prior-seed",
        type=int,
        metavar="N",
        help="lay the clip out by a draw of the prior (default: no prior); take k uses N + k",
    )
    parser.add_argument(
        "--prior-temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="how freely the prior is drawn; 0 is its mean (default 1)",
    )
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help="a timeline to keep to, as 'duet plan' writes it (default: no plan)"
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--video", type=Path, metavar="FILE", help="make the sound for this picture")
    kept.add_argument(
        "--audio", type=Path, metavar="FILE", help="make the picture for this sound, which is kept as it is"
    )
    kept.add_argument("--image", type=Path, metavar="FILE", help="begin with this picture")
    parser.add_argument(
        "--adapter",
        action="store_true",
        help="with --video or --audio: what both share passes through SAVA's masked adapter, the rest does not, in place of the "
        "model's own route",
    )
    parser.add_argument(
        "--start",
        type=float,
        default=0.0,
        metavar="S",
        help="where in --video or --audio to begin, in seconds (default 0)",
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="skip the domain check; quality is not guaranteed",
    )


def add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watermark",
        nargs="?",
        const=LABEL,
        default="",
        metavar="TEXT",
        help=f"show TEXT in the corner of the picture (without TEXT: '{LABEL}'; default: no label)",
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
