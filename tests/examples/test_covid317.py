"""The study says what its files hold, and its command gives these files again."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import cxrfeat

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "examples" / "covid317"
TOLERANCE = 0.005
"""Of scores: another processor or number of threads moves an embedding by 1e-5, which now and
then moves an image across a threshold, or a setting that two tune alike."""


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, STUDY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str, folder: Path = STUDY) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_the_text_is_its_template_with_the_numbers_of_the_files() -> None:
    written = (STUDY / "README.md").read_text(encoding="utf-8")
    assert written == _load("text").render(STUDY)


def test_no_result_is_written_into_the_template_by_hand() -> None:
    template = (STUDY / "template.md").read_text(encoding="utf-8")
    by_hand = re.sub(r"\{[^{}]*\}", "", template)
    assert re.findall(r"\d+\.\d+|\d+ ?%", by_hand) == ["95 %"] * by_hand.count("95 %")
    assert len(re.findall(r"\{[^{}]*\}", template)) > 20


@pytest.mark.parametrize("name", ["results", "audit"])
def test_the_files_keep_to_their_schemas(name: str) -> None:
    schema = json.loads((ROOT / f"docs/{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(read(f"{name}.json"))


def test_nothing_but_numbers_and_one_chart_is_kept() -> None:
    for path in STUDY.iterdir():
        if path.is_dir():
            continue
        text = path.read_text(encoding="utf-8")  # no file holds pixels
        assert path.suffix in {".md", ".py", ".json", ".csv", ".svg"}
        assert path.stat().st_size < 500_000
        assert "base64" not in text
        assert not re.search(r"(^|[\s\"'(])/(home|root|tmp|work|Users)/", text), path.name


def test_the_audit_is_of_this_run() -> None:
    results, audit = read("results.json"), read("audit.json")
    assert audit["images"] == results["images"] == 317
    assert audit["folds"] == results["folds"]
    assert ladder_of(audit)[results["winner"]["extractor"]] > 0.9


def test_every_check_of_the_audit_has_a_page_of_help() -> None:
    codes = [check["code"] for check in read("audit.json")["checks"]]
    assert len(codes) > 20
    for code in codes:
        assert len(cxrfeat.help_(code)) == 1


def test_the_readme_shows_the_table_of_the_study() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert _load("text").table_of_extractors(read("results.json")) in readme
    quoted = " ".join(line.removeprefix("> ") for line in re.findall(r"^> .*$", readme, re.M))
    assert read("audit.json")["headline"].startswith(quoted)
    assert len(quoted) > 100


@pytest.mark.slow
def test_the_command_gives_the_study_again(
    radiographs: Path, vgg16_weights: Path, tmp_path: Path
) -> None:
    """Verdicts are the same, and scores within what another machine moves."""
    command = [
        *(sys.executable, str(STUDY / "run.py"), "--images", str(radiographs)),
        *("--weights", str(vgg16_weights), "--out", str(tmp_path / "study")),
    ]
    command += ["--quick"] if read("audit.json")["options"]["quick"] else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    compare(tmp_path / "study" / "kept")


def weights_of(results: Any) -> dict[str, str]:
    return {one["name"]: one["spec"]["weights"]["sha256"] for one in results["embeddings"]}


def ladder_of(audit: Any) -> dict[str, float]:
    """The macro AUROC of each rung by its name; the last is the whole image."""
    (check,) = (one for one in audit["checks"] if one["code"].startswith("controls-no-lungs"))
    (table,) = check["tables"]
    return {row[0]: row[2] for row in table["rows"]}


def compare(made: Path) -> None:
    results, audit = read("results.json"), read("audit.json")
    again, audited = read("results.json", made), read("audit.json", made)
    scores = {one["extractor"]: one["mean"] for one in results["extractors"]}
    assert {one["extractor"]: one["mean"] for one in again["extractors"]} == pytest.approx(
        scores, abs=TOLERANCE
    )
    assert again["folds"] == results["folds"]
    assert weights_of(again) == weights_of(results)
    verdicts = {one["code"]: one["verdict"] for one in audit["checks"]}
    assert {one["code"]: one["verdict"] for one in audited["checks"]} == verdicts
    assert ladder_of(audited) == pytest.approx(ladder_of(audit), abs=TOLERANCE)
    assert (made / "README.md").read_text(encoding="utf-8").startswith("# ")
