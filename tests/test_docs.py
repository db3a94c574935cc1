"""The documentation: result pages match the tables, the README stays short, links and help pages are complete."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import yaml


def docs_module(name):
    """A program of the folder docs as a module."""
    path = Path(__file__).parents[1] / "docs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_results():
    return docs_module("make_results")


def test_result_pages_match_the_tables(root, make_results):
    pages, tables = root / "docs" / "results", sorted((root / "weights" / "bench").glob("*.json"))
    for path in tables:
        written = (pages / f"{path.stem}.md").read_text()
        assert written == make_results.page(path), f"{path.stem}: run python docs/make_results.py"
        assert (pages / f"{path.stem}.png").is_file()
    assert (pages / "index.md").read_text() == make_results.index()
    assert {page.stem for page in pages.glob("*.md")} == {"index", "gallery", *(path.stem for path in tables)}


def test_the_page_of_methods_matches_the_tables(root):
    assert (root / "docs" / "methods.md").read_text() == docs_module("make_methods").methods_page()
    assert (root / "docs" / "methods.png").is_file()


def test_the_readme_is_at_most_eight_thousand_bytes(root):
    assert (root / "README.md").stat().st_size <= 8000


def test_relative_links_and_images_exist(root):
    for page in (root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").rglob("*.md")):
        for target in re.findall(r'\]\(([^)#\s]+)|src="([^"]+)"', page.read_text()):
            path = next(filter(None, target))
            assert "://" in path or (page.parent / path).exists(), f"{page.name} links to {path}"


def test_every_page_is_in_the_navigation(root):
    listed = re.findall(r"[\w/-]+\.md", (root / "mkdocs.yml").read_text())
    assert set(listed) == {str(path.relative_to(root / "docs")) for path in (root / "docs").rglob("*.md")}


def test_every_help_page_has_the_same_sections(root):
    sections = ["## Inputs", "## Outputs", "## Example", "## Limits"]
    for page in (root / "web" / "docs").glob("*.md"):
        lines = page.read_text().splitlines()
        assert lines[0].startswith("# Duet "), page.name
        assert [line for line in lines if line in sections] == sections, page.name


def test_every_example_graph_is_listed_and_the_readme_counts_them(root):
    names = {path.stem for path in (root / "workflows").glob("*.json")}
    listed = (
        (root / "docs" / "index.md").read_text().partition("## Which graph for which task")[2].partition("\n## ")[0]
    )
    assert names <= set(re.findall(r"\*(\w+)\*", listed))
    readme = (root / "README.md").read_text()
    assert f"lists all {len(names)}" in readme
    assert set(re.findall(r"workflows/(\w+)\.jpg", readme)) <= names


def test_the_templates_that_the_tutorial_names_exist(root):
    named = re.findall(r"template \*(?:duet / )?(\w+)\*", (root / "docs" / "tutorial.md").read_text())
    assert len(named) >= 5
    assert [name for name in named if not (root / "workflows" / f"{name}.json").is_file()] == []


@pytest.mark.parametrize("name", [".pre-commit-config.yaml", "CITATION.cff"])
def test_configuration_files_are_valid_yaml(root, name):
    assert yaml.safe_load((root / name).read_text())


def test_the_version_is_written_in_one_place(root):
    version = re.search(r'^version = "(.+)"', (root / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert f"## [{version}]" in (root / "CHANGELOG.md").read_text()
    for path in (*(root / "pipelines").rglob("*.py"), *(root / "nodes").rglob("*.py")):
        assert f'"{version}"' not in path.read_text(), path
