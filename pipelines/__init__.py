"""The library: load a model, generate clips, measure and save them, without ComfyUI.

Names are imported on first use, so that ``import duet_av.pipelines`` and the command line's help stay fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.sizes import ClipShape as ClipShape
    from .core.streams import Clip as Clip
    from .core.streams import Streams as Streams
    from .core.timeline import Event as Event
    from .core.timeline import Timeline as Timeline
    from .guidance.modifiers import APG as APG
    from .guidance.modifiers import CFGZero as CFGZero
    from .guidance.modifiers import Rescale as Rescale
    from .guidance.modifiers import Schedule as Schedule
    from .guidance.modifiers import Window as Window
    from .guidance.strategy import DEFAULT as DEFAULT
    from .guidance.strategy import UCG as UCG
    from .guidance.strategy import PerStreamCFG as PerStreamCFG
    from .guidance.strategy import Strategy as Strategy
    from .media.mp4 import read_mp4 as read_mp4
    from .media.mp4 import write_mp4 as write_mp4
    from .models.choose import load_model as load_model
    from .models.pocket.generate import Request as Request
    from .models.pocket.generate import generate as generate
    from .models.pocket.load import PocketModel as PocketModel
    from .sync.measure import measure as measure
    from .sync.measure import read_signals as read_signals
    from .sync.measure import signals_of as signals_of

_MODULES = {
    ".core.sizes": ("ClipShape",),
    ".core.streams": ("Clip", "Streams"),
    ".core.timeline": ("Event", "Timeline"),
    ".guidance.modifiers": ("APG", "CFGZero", "Rescale", "Schedule", "Window"),
    ".guidance.strategy": ("DEFAULT", "PerStreamCFG", "Strategy", "UCG"),
    ".media.mp4": ("read_mp4", "write_mp4"),
    ".models.choose": ("load_model",),
    ".models.pocket.generate": ("Request", "generate"),
    ".models.pocket.load": ("PocketModel",),
    ".sync.measure": ("measure", "read_signals", "signals_of"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
