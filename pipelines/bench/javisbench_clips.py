"""Generates the clips of a prompt list in JavisBench's layout: sample_0000.mp4 with its audio in sample_0000.wav, and so on.

Existing clips are kept, so that an interrupted run resumes. Clip k has seed ``seed + k`` in every run and with any number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

import torch

from ..core.weights import KEY
from ..media.mp4 import write_mp4
from ..media.provenance import read_provenance
from ..media.sound import write_wav
from ..models.choose import POCKET, load_model
from ..models.pocket.generate import DEFAULT_STEPS, Request, generate
from ..models.pocket.load import PocketModel
from ..models.pocket.provenance import pocket_provenance
from .javisbench import Sample

CHUNK = 8  # clips of one task of a process
Numbered = tuple[int, Sample]  # index of the row in the CSV file, which determines the seed


def make_clips(
    samples: Sequence[Sample],
    *,
    seed: int,
    model: str = POCKET,
    jobs: int = 1,
    on_clips: Callable[[int], object] = lambda _: None,
) -> int:
    """Generate the missing clips of ``samples`` with a model of ``MODELS`` in ``jobs`` processes of one thread each; the number generated.

    Raises:
        ValueError: the model cannot read a prompt, or an existing clip was generated from another prompt or seed, or by another model.
    """
    missing = [(k, sample) for k, sample in enumerate(samples) if not sample.path.is_file()]
    _check_existing(samples, seed, model)
    _check_prompts([sample for _, sample in missing], model)
    for folder in {sample.path.parent for _, sample in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    on_clips(len(samples) - len(missing))
    tasks = [(missing[start : start + CHUNK], seed, model) for start in range(0, len(missing), CHUNK)]
    if jobs == 1:
        for task in tasks:
            on_clips(_make(task))
        return len(missing)
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        for count in pool.map(_make, tasks):
            on_clips(count)
    return len(missing)


@cache
def _model(name: str) -> PocketModel:
    return load_model(name)


def _make(task: tuple[Sequence[Numbered], int, str]) -> int:
    """Generate and write the clips of some rows. The mp4 file is written last, so that a clip that has one is complete."""
    rows, seed, name = task
    model = _model(name)
    for k, sample in rows:
        # one request each: the seeds of the missing rows need not be consecutive
        (clip,) = generate(model, Request([sample.text], seed=seed + k))
        about = pocket_provenance(model, prompts=[sample.text], seed=seed + k, steps=DEFAULT_STEPS)
        write_wav(sample.path.with_suffix(".wav"), clip.waveform, clip.sample_rate)
        write_mp4(sample.path, clip, metadata={KEY: about})
    return len(rows)


def _check_existing(samples: Sequence[Sample], seed: int, model: str) -> None:
    """Check that the existing clips that Duet generated are those of this list, seed and model.

    Raises:
        ValueError: a clip is of another prompt, seed or model.
    """
    name = _model(model).name.removeprefix("the ")
    for k, sample in enumerate(samples):
        about = read_provenance(sample.path).get(KEY) if sample.path.is_file() else None
        wanted = {"model": name, "prompts": [sample.text], "seed": seed + k}
        other = {key: about.get(key) for key, value in wanted.items() if about.get(key) != value} if about else {}
        if other:
            raise ValueError(
                f"{sample.path} was generated with {_named(other)}, not with {_named({key: wanted[key] for key in other})}. "
                "Use another folder for --clips, or the settings of the first run."
            )


def _named(settings: dict[str, object]) -> str:
    return ", ".join(f"{key} {value!r}" for key, value in settings.items())


def _check_prompts(samples: Sequence[Sample], model: str) -> None:
    """Check that the model can read every prompt, before the first clip is generated.

    Raises:
        ValueError: it cannot read a prompt.
    """
    for sample in samples:
        try:
            _model(model).text.tokenizer.encode(sample.text)
        except ValueError as error:
            raise ValueError(f"{sample.name}: {error}") from error
