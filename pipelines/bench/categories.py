"""JavisBench's taxonomy (Liu et al., JavisDiT, arXiv 2503.23377): five aspects of a prompt, with 19 categories.

Column 'cat0_ind' of its CSV file holds the category of the first aspect as an index, or several as '0,2'; 'cat4_ind' is the
last. The order is that of the benchmark's category.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ASPECTS: Mapping[str, tuple[str, ...]] = {
    "Event Scenario": (
        "Natural Scenario",
        "Urban Scenario",
        "Living Scenario",
        "Industrial Scenario",
        "Virtual Scenario",
    ),
    "Visual Style": ("Camera Shooting", "2D-Animate", "3D-Animate"),
    "Sound Type": ("Ambient sounds", "Biological sounds", "Mechanical sounds", "Musical sounds", "Speech sounds"),
    "Temporal Composition": ("Single event", "Sequential events", "Simultaneous events"),
    "Spatial Composition": ("Single subject", "Multiple subjects", "Off-screen sound"),
}


def categories_of(row: Mapping[str, str | None], *, where: str) -> tuple[tuple[int, ...], ...]:
    """Indices of the categories of a row of the CSV file, for each aspect; empty for an aspect without a value.

    Raises:
        ValueError: a value is not an index of a category; ``where`` names the row.
    """
    return tuple(
        _indices(row.get(f"cat{k}_ind") or "", titles, f"{where}: column cat{k}_ind ({aspect})")
        for k, (aspect, titles) in enumerate(ASPECTS.items())
    )


def _indices(value: str, titles: Sequence[str], where: str) -> tuple[int, ...]:
    parts = [part.strip() for part in value.split(",") if part.strip()]
    valid = {str(i): i for i in range(len(titles))} | {f"{i}.0": i for i in range(len(titles))}
    unknown = [part for part in parts if part not in valid]
    if unknown:
        raise ValueError(
            f"{where} is {value!r}; it must hold indices from 0 to {len(titles) - 1}, separated by commas."
        )
    return tuple(valid[part] for part in parts)


def members_of(samples: Sequence[Sequence[Sequence[int]]]) -> dict[str, dict[str, list[int]]]:
    """Aspect -> category -> indices of its samples, from the categories of each sample. Categories without samples are left out."""
    found: dict[str, dict[str, list[int]]] = {}
    for k, (aspect, titles) in enumerate(ASPECTS.items()):
        for category, title in enumerate(titles):
            members = [i for i, own in enumerate(samples) if k < len(own) and category in own[k]]
            if members:
                found.setdefault(aspect, {})[title] = members
    return found
