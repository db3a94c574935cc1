"""Prints the number of graphs and breaks of each network under torch.compile, as JSON. A program of its own, because the type checks that
pytest adds to every function cannot be compiled."""

import json

import torch

from duet_av.pipelines.core.conditions import PriorTokens
from duet_av.pipelines.core.streams import Streams
from duet_av.pipelines.models.javisdit.v01 import JavisDiT01, V01Config
from duet_av.pipelines.models.javisdit.v10 import JavisDiT10, V10Config
from duet_av.pipelines.models.pocket.load import load_network

SMALL = {"depth": 1, "num_heads": 4, "caption_channels": 12, "st_prior_channel": 8}


def v01():
    network = JavisDiT01(V01Config(hidden_size=32, model_max_length=6, **SMALL))
    x, prior = Streams(torch.zeros(2, 4, 2, 4, 6), torch.zeros(2, 8, 8, 4)), torch.zeros(2, 32, 8)
    return lambda: network(
        x, torch.ones(2), torch.zeros(2, 6, 12), None, PriorTokens(prior, prior), size=(48.0, 64.0), fps=24.0
    )


def v10():
    network = JavisDiT10(V10Config(dim=48, ffn_dim=32, num_layers=1, num_heads=4, freq_dim=16, text_dim=12, text_len=5))
    x, mask = Streams(torch.zeros(2, 16, 2, 4, 6), torch.zeros(2, 8, 8, 4)), torch.ones(2, 5, dtype=torch.bool)
    return lambda: network(x, torch.ones(2), torch.zeros(2, 5, 12), mask)


def pocket():
    network, flags = load_network(), torch.ones(2, dtype=torch.bool)
    x, level = Streams(torch.zeros(2, 16, 4, 8, 8), torch.zeros(2, 24, 16)), torch.ones(2, 1)
    text = torch.zeros(2, 9, 128)
    return lambda: network(x, Streams(level, level), Streams(text, text), route=Streams(flags, flags))


def counts(build):
    with torch.no_grad():
        found = torch._dynamo.explain(build())()
    torch._dynamo.reset()
    return found.graph_count, found.graph_break_count


if __name__ == "__main__":
    print(json.dumps({build.__name__: counts(build) for build in (v01, v10, pocket)}))
