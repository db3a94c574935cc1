"""Generates the clips of a prompt list in JavisBench's layout: sample_0000.mp4 with its audio in sample_0000.wav, and so on.

Existing clips are kept, so that an interrupted run resumes. Clip k has seed ``seed + k`` in every run and with any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ..cluster.executor import Executor, Processes
from ..core.files import write_bytes
from ..core.weights import KEY
from ..media.mp4 import write_mp4
from ..media.provenance import read_provenance
from ..media.sound import write_wav
from ..models.choose import POCKET, load_model
from ..models.pocket.generate import DEFAULT_SAMPLER, DEFAULT_STEPS, Request, generate
from ..models.pocket.load import PocketModel
from ..models.pocket.provenance import pocket_provenance
from .javisbench import Sample

SETTINGS = {"steps": DEFAULT_STEPS, "sampler": DEFAULT_SAMPLER}  # in the provenance of the clips

Numbered = tuple[int, Sample]  # index of the row in the CSV file, which determines the seed


def make_clips(
    samples: Sequence[Sample],
    *,
    seed: int,
    model: str = POCKET,
    executor: Executor = Processes(),  # noqa: B008 - it is frozen
    on_clips: Callable[[int], object] = lambda _: None,
) -> int:
    """Generate the missing clips of ``samples`` with a model of ``MODELS``; the number generated.

    Raises:
        ValueError: the model cannot read a prompt, or an existing clip was generated from another prompt or seed, or by another model.
    """
    missing = [(k, sample) for k, sample in enumerate(samples) if not sample.path.is_file()]
    _check_existing(samples, seed, model)
    _check_prompts([sample for _, sample in missing], model)
    for folder in {sample.path.parent for _, sample in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    on_clips(len(samples) - len(missing))
    found = executor.map(partial(_make, seed, model), missing)
    for (_, sample), (sound, video) in zip(missing, found, strict=True):
        write_bytes(sample.path.with_suffix(".wav"), sound)
        write_bytes(sample.path, video)  # last, so that a clip that has one is complete
        on_clips(1)
    return len(missing)


@cache
def _model(name: str) -> PocketModel:
    return load_model(name)


def _make(seed: int, name: str, row: Numbered) -> tuple[bytes, bytes]:
    """The WAV and the mp4 file of a row. Each is a request of its own: the seeds of missing rows need not be consecutive."""
    model, (k, sample) = _model(name), row
    (clip,) = generate(model, Request([sample.text], seed=seed + k))
    about = pocket_provenance(model, prompts=[sample.text], seed=seed + k, **SETTINGS)
    with TemporaryDirectory() as folder:
        sound, video = Path(folder) / "clip.wav", Path(folder) / "clip.mp4"
        write_wav(sound, clip.waveform, clip.sample_rate)
        write_mp4(video, clip, metadata={KEY: about})
        return sound.read_bytes(), video.read_bytes()


def _check_existing(samples: Sequence[Sample], seed: int, model: str) -> None:
    """Check that the existing clips that Duet generated are those of this list, seed and model, with these steps and this sampler.

    Raises:
        ValueError: a clip is of another prompt, seed or model, or was sampled otherwise.
    """
    name = _model(model).name.removeprefix("the ")
    for k, sample in enumerate(samples):
        about = read_provenance(sample.path).get(KEY) if sample.path.is_file() else None
        wanted = {"model": name, "prompts": [sample.text], "seed": seed + k, "settings": SETTINGS}
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
