"""The image runs as nobody in particular, asks no network, and is built of what it is given."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.scripts import ROOT

Instruction = tuple[str, str]


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, with their words; those before the first stage come first."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    found: list[list[Instruction]] = [[]]
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, _, words = line.strip().partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append((name, " ".join(words.split())))
    return found


def words_of(stage: list[Instruction], name: str) -> list[str]:
    return [words for instruction, words in stage if instruction == name]


def test_the_base_is_one_exact_version_of_a_python_that_is_tested() -> None:
    before, *later = stages()
    (base,) = words_of(before, "ARG")
    found = re.fullmatch(r"PYTHON_IMAGE=python:(3\.\d+)\.\d+-slim-[a-z]+", base)
    assert found
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"Programming Language :: Python :: {found[1]}" in project["classifiers"]
    assert all(words_of(stage, "FROM")[0].startswith("${PYTHON_IMAGE}") for stage in later)


def test_the_last_stage_is_not_root_and_its_command_is_cxrfeat() -> None:
    last = stages()[-1]
    assert words_of(last, "USER") == ["1000:1000"]
    assert words_of(last, "ENTRYPOINT") == ['["cxrfeat"]']
    order = [name for name, _ in last]
    assert order.index("USER") > max(i for i, name in enumerate(order) if name in {"RUN", "COPY"})


def test_the_last_stage_fetches_nothing_and_takes_only_what_was_built() -> None:
    last = stages()[-1]
    for words in words_of(last, "RUN"):
        assert not re.search(r"\b(apt|apt-get|pip|uv|curl|wget|git)\b", words), words
    assert words_of(last, "COPY") == ["--from=build /opt/cxrfeat /opt/cxrfeat"]
    assert not words_of(last, "ADD")
    environment = " ".join(words_of(last, "ENV"))
    assert "CXRFEAT_WEIGHTS=/weights" in environment
    assert "HF_HUB_OFFLINE=1" in environment


def test_dependencies_are_a_layer_below_the_package() -> None:
    build = stages()[1]
    order = [words for name, words in build if name in {"COPY", "RUN"}]
    (dependencies,) = (i for i, words in enumerate(order) if "-r pyproject.toml" in words)
    (package,) = (i for i, words in enumerate(order) if words == ". ./")
    assert dependencies < package
    assert "-c constraints.txt" in order[dependencies]
    extras = set(re.findall(r"--extra (\S+)", order[dependencies]))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert extras <= set(project["optional-dependencies"])


def context() -> list[str]:
    """What `.dockerignore` lets through: nothing but the lines that begin with `!`."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    return [line.removeprefix("!") for line in rules if line.startswith("!")]


def test_data_and_environments_do_not_go_to_the_builder() -> None:
    assert not {"docs", "tests", "shared", ".git", ".venv", "runs"} & set(context())


def test_what_goes_to_the_builder_is_enough_for_the_wheel(tmp_path: Path) -> None:
    for name in context():
        place = tmp_path / "source" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, place)
    (command,) = (
        re.search(r"python (-m hatchling build .+?) -d", words)
        for words in words_of(stages()[1], "RUN")
        if "hatchling build" in words
    )
    assert command
    subprocess.run(
        [sys.executable, *command[1].split(), "-d", str(tmp_path)],
        cwd=tmp_path / "source", check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert len(list(tmp_path.glob("*.whl"))) == 1


@pytest.mark.parametrize("file", ["constraints.txt", "packaging/tools.txt", "pyproject.toml"])
def test_what_a_layer_copies_is_in_the_context(file: str) -> None:
    assert file in context()
    assert any(file in words for words in words_of(stages()[1], "COPY"))
