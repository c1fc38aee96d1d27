"""The conda recipe, the Dockerfile and CITATION.cff agree with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RECIPE = (ROOT / "packaging" / "conda" / "meta.yaml").read_text(encoding="utf-8")
# Names on conda-forge that differ from those on the Python package index.
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base", "python-gdcm": "gdcm"}
CONDA["lazy-loader"] = "lazy_loader"


def requirement(text: str) -> tuple[str, str]:
    """Name in lower case and version of "name >=1.2" or "name>=1.2"."""
    found = re.fullmatch(r"([\w.-]+)\s*>=\s*([\d.]+)", text)
    assert found is not None, text
    return found[1].lower(), found[2]


def test_the_conda_recipe_requires_what_the_wheel_requires():
    run = RECIPE[RECIPE.index("  run:") : RECIPE.index("\ntest:")]
    listed = dict(requirement(line) for line in re.findall(r"^    - ([^#\n]*[^#\s])", run, re.MULTILINE))
    assert listed.pop("python") == PROJECT["requires-python"].removeprefix(">=")
    wheel = dict(map(requirement, PROJECT["dependencies"]))
    assert listed == {CONDA.get(name, name): version for name, version in wheel.items()}


def test_the_recipe_is_yaml_without_its_templates():
    yaml = pytest.importorskip("yaml")
    plain = re.sub(r"\{%.*?%\}", "", RECIPE)
    recipe = yaml.safe_load(re.sub(r"\{\{(.*?)\}\}", r"\1", plain))
    assert recipe["package"]["name"] == PROJECT["name"]
    assert recipe["build"]["entry_points"] == [f"isoclinic = {PROJECT['scripts']['isoclinic']}"]


def test_the_citation_names_the_project():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    # Required by the format: https://github.com/citation-file-format/citation-file-format
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in PROJECT["authors"]
    ]


def test_the_image_runs_the_command_of_the_wheel():
    dockerfile = (ROOT / "packaging" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    assert 'ENTRYPOINT ["isoclinic"]' in dockerfile and "isoclinic" in PROJECT["scripts"]
    assert re.search(r"^USER (?!root)", dockerfile, re.MULTILINE), "it must not run as root"
    (python,) = re.findall(r"^FROM python:3\.(\d+)", dockerfile, re.MULTILINE)
    assert int(python) >= int(PROJECT["requires-python"].rpartition(".")[2])


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_issue_forms_are_complete(form):
    """Keys that GitHub requires of a form; of the chooser's configuration, that it is a mapping."""
    yaml = pytest.importorskip("yaml")
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    if form.stem == "config":
        assert all({"name", "url", "about"} <= set(link) for link in content["contact_links"])
        return
    assert {"name", "description", "body"} <= set(content)
    for element in content["body"]:
        assert element["type"] == "markdown" or element["attributes"]["label"]
