"""The version stands in `cxrfeat/version.py`; whatever else names it says the same."""

from __future__ import annotations

import re
import tomllib

import yaml

import cxrfeat
from tests.scripts import ROOT


def read(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def test_the_package_takes_its_version_from_one_file() -> None:
    project = tomllib.loads(read("pyproject.toml"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "cxrfeat/version.py"
    assert f'__version__ = "{cxrfeat.__version__}"' in read("cxrfeat/version.py")


def test_the_citation_names_this_version_and_its_day() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == cxrfeat.__version__
    assert f"## [{cxrfeat.__version__}] - {citation['date-released']}\n" in read("CHANGELOG.md")


def test_the_conda_recipe_names_this_version() -> None:
    recipe = yaml.safe_load(read("packaging/conda/recipe.yaml"))
    assert recipe["context"]["version"] == cxrfeat.__version__


def test_the_site_takes_its_version_from_the_package() -> None:
    assert "version = release = __version__" in read("docs/conf.py")


def test_the_image_names_no_version_of_the_package() -> None:
    """It is that of the wheel which the build of the image makes."""
    assert cxrfeat.__version__ not in re.sub(r"^#.*$", "", read("Dockerfile"), flags=re.MULTILINE)


def test_what_comes_next_has_a_place_above_the_last_release() -> None:
    headings = re.findall(r"^## \[(.+?)\]", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert headings[:2] == ["Unreleased", cxrfeat.__version__]
