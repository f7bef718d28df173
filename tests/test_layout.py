"""The map, the walks and the table of CONTRIBUTING.md, and what folders say of themselves, hold."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

import cxrfeat

PACKAGE = Path(cxrfeat.__file__).parent
ROOT = PACKAGE.parent
if not (ROOT / "CONTRIBUTING.md").is_file():
    pytest.skip("the documents are not part of the package", allow_module_level=True)

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def places_of_changes() -> list[tuple[str, str]]:
    """Each place that the table names, with what is to be added there."""
    table = CONTRIBUTING.partition("| to add | change |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return [(what, place) for what, where in rows for place in re.findall(r"`([^`]+)`", where)]


def names_in(module: Path) -> set[str]:
    """What a module defines or imports at its top, without running it."""
    found: set[str] = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Assign():
                for target in node.targets:
                    found |= {name.id for name in ast.walk(target) if isinstance(name, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.ImportFrom() | ast.Import():
                found |= {alias.asname or alias.name for alias in node.names}
    return found


@pytest.mark.parametrize(("what", "place"), places_of_changes())
def test_a_change_goes_where_the_table_says(what: str, place: str) -> None:
    file, _, name = place.partition(": ")
    assert (PACKAGE / file).exists(), f"{what}: there is no {file}"
    assert file.endswith("/") == (PACKAGE / file).is_dir(), place
    if name:
        assert name in names_in(PACKAGE / file), f"{what}: {file} has no {name}"


def test_the_table_has_a_place_for_everything_that_is_a_registry() -> None:
    registries = {place.partition(": ")[2] for _, place in places_of_changes()}
    assert {"POOLINGS", "HEADS", "METRICS", "READERS", "DRAWINGS", "FORMATS"} <= registries


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_source_file_that_a_document_names_exists(document: Path) -> None:
    for file in re.findall(r"[\w./-]+/\w+\.py\b", document.read_text(encoding="utf-8")):
        assert (ROOT / file).is_file() or (PACKAGE / file).is_file(), f"there is no {file}"


def test_the_map_shows_the_whole_package() -> None:
    shown = re.findall(r"^cxrfeat/(\w+(?:/|\.py))  ?\S*", CONTRIBUTING, flags=re.MULTILINE)
    there = {f"{path.name}/" for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    there |= {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    assert sorted(shown) == sorted(there)


def test_the_layers_are_those_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers, *_ = settings["tool"]["importlinter"]["contracts"]
    said = re.findall(r"^\d+\. (`\w+`(?:, `\w+`)*)$", CONTRIBUTING, flags=re.MULTILINE)
    found = [set(re.findall(r"\w+", line)) for line in said]
    assert found == [set(layer.split(" | ")) for layer in layers["layers"]]


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in PACKAGE.rglob("__init__.py")), ids=lambda p: p.name
)
def test_a_folder_names_only_what_there_is(folder: Path) -> None:
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    said = ast.get_docstring(tree) or ""
    assert said, f"{folder} does not say what it holds"
    for name in re.findall(r"(?<!`)`(\w+(?:\.\w+)*)`(?!`)", said):
        assert name in cxrfeat.__all__ or is_there(name, folder), f"{folder.name}: no {name}"


def is_there(name: str, folder: Path) -> bool:
    """Whether a module, a folder or what a module defines has that name, from the folder up."""
    *above, last = name.removeprefix("cxrfeat.").split(".")
    for place in (folder, *folder.parents):
        parent = place.joinpath(*above)
        if (parent / last).is_dir() or (parent / f"{last}.py").is_file():
            return True
        if above and parent.with_suffix(".py").is_file():
            return last in names_in(parent.with_suffix(".py"))
        if place == PACKAGE.parent:
            break
    return False
