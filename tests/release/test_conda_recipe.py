"""The conda recipe asks for what the package asks for."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from tests.scripts import ROOT

NAMES = {"torch": "pytorch", "xgboost": "py-xgboost"}  # what conda-forge calls them


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    text = (ROOT / "packaging/conda/recipe.yaml").read_text(encoding="utf-8")
    values = dict(yaml.safe_load(text)["context"])
    filled: dict[str, Any] = yaml.safe_load(
        re.sub(r"\$\{\{ (\w+) \}\}", lambda found: values.get(found[1], found[0]), text)
    )
    return filled


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return settings


def as_in_conda(requirement: str) -> str:
    name, bounds = re.fullmatch(r"([\w.-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
    return f"{NAMES.get(name, name)} {bounds}".strip()


def test_it_runs_with_what_the_package_needs(recipe, project) -> None:
    python = f"python {project['project']['requires-python']}"
    needed = [python, *map(as_in_conda, project["project"]["dependencies"])]
    assert sorted(recipe["requirements"]["run"]) == sorted(needed)


def test_it_is_built_with_what_the_package_is_built_with(recipe, project) -> None:
    host = recipe["requirements"]["host"]
    assert {as_in_conda(name) for name in project["build-system"]["requires"]} <= set(host)
    assert f"python {recipe['context']['python_min']}.*" in host


def test_it_has_the_command_and_is_one_package_for_all_systems(recipe, project) -> None:
    (command,) = project["project"]["scripts"].items()
    assert recipe["build"]["python"]["entry_points"] == [" = ".join(command)]
    assert recipe["build"]["noarch"] == "python"
    assert recipe["about"]["license"] == project["project"]["license"]
    assert (ROOT / recipe["about"]["license_file"]).is_file()
