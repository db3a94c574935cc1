"""Each network is one graph under torch.compile: a break in every block would undo what compiling gains."""

import json
import subprocess
import sys
from pathlib import Path


def test_each_network_is_one_graph():
    program = Path(__file__).with_name("graph_counts.py")
    out = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(out.stdout) == {"v01": [1, 0], "v10": [1, 0], "pocket": [1, 0]}
