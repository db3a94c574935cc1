"""The public Python API: complete, light to import, and the example in docs/library.md runs."""

import ast
import re
import runpy
import subprocess
import sys

import pytest

from duet_av import pipelines


def test_every_public_name_can_be_imported():
    for name in pipelines.__all__:
        assert getattr(pipelines, name) is not None
    assert set(pipelines.__all__) <= set(dir(pipelines))


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = pipelines.no_such_name


def test_type_checkers_see_the_same_names(root):
    tree = ast.parse((root / "pipelines" / "__init__.py").read_text())
    typed = next(node for node in tree.body if isinstance(node, ast.If))
    names = {alias.asname for node in typed.body for alias in node.names}
    assert names == set(pipelines.__all__)


def test_importing_the_library_imports_nothing_heavy(root):
    code = (
        "import duet_av.pipelines, duet_av.pipelines.cli.main, sys; "
        "print([m for m in ('torch', 'numpy', 'av', 'transformers', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root.parent)
    assert out.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_example_in_the_documentation_runs(root, tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", (root / "docs" / "library.md").read_text(), re.DOTALL)[1]
    assert len(code.splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(code)
    runpy.run_path("example.py")
    assert (tmp_path / "ball.mp4").stat().st_size > 0
    assert "torch.Size([32, 64, 64, 3])" in capsys.readouterr().out
