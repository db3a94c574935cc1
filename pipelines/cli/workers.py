"""The executor that ``--jobs`` and ``--cluster`` describe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..cluster.executor import Executor


@contextmanager
def workers_of(arguments: argparse.Namespace) -> Iterator[Executor]:
    """Processes of this computer, or a connection to Ray that ends after the block.

    Raises:
        ValueError: Ray is not installed or does not answer.
    """
    if arguments.cluster is None:
        from ..cluster.executor import Processes

        yield Processes(arguments.jobs or 1)
        return
    from ..cluster.on_ray import connected

    with connected(arguments.cluster, arguments.jobs) as cluster:
        print(f"duet: Ray: {cluster}", file=sys.stderr)
        yield cluster
