"""Imports go down only: nodes -> pipelines -> kernels, and inside pipelines in the order of PACKAGES; only nodes/ knows the host, and
only nodes/host/ its inside."""

import ast
import subprocess
import sys

import pytest

HOST = {"comfy", "comfy_api", "comfy_extras", "folder_paths", "latent_preview", "nodes", "server", "execution"}
PUBLIC_HOST = {"comfy_api", "folder_paths"}  # the node API and the folders of model files
NEVER = {"torchvision", "torchaudio"}
LAYERS = ("kernels", "pipelines", "nodes")
PACKAGES = (
    "core",
    "cluster",
    "guidance",
    "media",
    "servers",
    "sync",
    "world",
    "models",
    "bench",
    "training",
    "figures",
    "cli",
)  # lowest first


def imports(path, root):
    """Top-level names a file imports; a relative import as the layer it reaches."""
    found = {f"layer {reached[0]}" for reached in relative_imports(path, root)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def relative_imports(path, root):
    """What each relative import of a file reaches, as parts below the root: a module, or a package and a name in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = (*path.relative_to(root).parts[: -node.level], *filter(None, (node.module or "").split(".")))
            yield from ((*base, alias.name) for alias in node.names)


def files(root, layer):
    return sorted((root / layer).rglob("*.py"))


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_down_only(root, layer):
    below = {f"layer {name}" for name in LAYERS[: LAYERS.index(layer) + 1]}
    for path in files(root, layer):
        reached = {name for name in imports(path, root) if name.startswith("layer ")}
        assert reached <= below, f"{path} reaches {reached - below}"


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_inside_pipelines_follow_the_order(root, package):
    below = PACKAGES[: PACKAGES.index(package) + 1]
    for path in files(root, f"pipelines/{package}"):
        for reached in relative_imports(path, root):
            assert reached[0] != "pipelines" or reached[1] in below, f"{path} reaches {'.'.join(reached)}"


def test_pipelines_holds_nothing_but_the_packages_in_that_order(root):
    found = {path.name for path in (root / "pipelines").iterdir() if path.name != "__pycache__"}
    assert found == {"__init__.py", *PACKAGES}


@pytest.mark.parametrize("layer", ["kernels", "pipelines"])
def test_only_nodes_knows_the_host(root, layer):
    for path in files(root, layer):
        assert not imports(path, root) & (HOST | NEVER), path


def test_only_the_host_package_goes_beyond_the_public_node_api(root):
    for path in files(root, "nodes"):
        allowed = HOST if "host" in path.relative_to(root / "nodes").parts else PUBLIC_HOST
        assert imports(path, root) & (HOST | NEVER) <= allowed, path


def test_no_absolute_import_of_the_pack_itself(root):
    for layer in LAYERS:
        for path in files(root, layer):
            assert not imports(path, root) & {"duet_av", *LAYERS}, path


def test_the_root_imports_nothing_heavy(root):
    code = "import duet_av, sys; print([m for m in ('torch', 'numpy', 'transformers', 'comfy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root.parent)
    assert out.stdout.strip() == "[]"


def test_requirements_leave_torch_to_the_host(root):
    names = {line.split(">")[0].split("=")[0].strip() for line in (root / "requirements.txt").read_text().splitlines()}
    assert not names & {"torch", *NEVER, "accelerate"}


def test_every_package_is_listed_for_installation(root):
    listed = (root / "pyproject.toml").read_text()
    for init in (path for layer in LAYERS for path in (root / layer).rglob("__init__.py")):
        assert f'"duet_av.{".".join(init.parent.relative_to(root).parts)}"' in listed, init
