"""Workflows use exactly the actions that were looked at, with no more rights than they need."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.scripts import ROOT

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def read(path: Path) -> dict[Any, Any]:
    content: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{path.stem}.{name}", job) for path in WORKFLOWS
            for name, job in read(path)["jobs"].items()]  # fmt: skip


def steps() -> list[tuple[str, dict[str, Any]]]:
    return [(name, step) for name, job in jobs() for step in job.get("steps", [])]


@each_workflow
def test_every_action_is_pinned_by_commit_and_says_its_version(path: Path) -> None:
    used = re.findall(r"^ *-? *uses: (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert used
    for action in used:
        if not action.startswith("$/"):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_an_action_has_one_pin_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for _, step in steps():
        action, _, commit = step.get("uses", "").partition("@")
        pins.setdefault(action, set()).add(commit)
    assert all(len(commits) == 1 for commits in pins.values()), pins


@each_workflow
def test_nothing_is_allowed_but_what_a_job_asks_for(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]
    rights = [job["permissions"] for job in workflow["jobs"].values()]
    allowed = ({"contents": "read"}, {"id-token": "write"})
    assert all(right in allowed for right in rights), rights


def test_only_publishing_gets_an_identity_after_everything_else_and_with_attestations() -> None:
    ((name, job),) = [(name, job) for name, job in jobs() if "id-token" in job["permissions"]]
    assert name == "release.publish"
    assert set(job["needs"]) == {"test", "build", "demo"}
    assert job["environment"] == "pypi"
    fetched, published = job["steps"]
    assert fetched["uses"].startswith("actions/download-artifact@")
    assert published["with"]["attestations"] is True
    assert "secrets." not in (FOLDER / "release.yml").read_text(encoding="utf-8")


def test_every_job_ends_some_time() -> None:
    for name, job in jobs():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 60, name


def test_no_checkout_leaves_a_token_behind() -> None:
    checkouts = [step for _, step in steps() if "actions/checkout@" in step.get("uses", "")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_nothing_that_others_write_goes_into_a_script() -> None:
    for name, step in steps():
        assert "${{" not in step.get("run", ""), name


def test_tests_run_on_every_python_that_is_promised_on_linux_and_macos() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    matrix = read(FOLDER / "test.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == promised
    assert sorted(re.sub(r"-.*", "", system) for system in matrix["system"]) == ["macos", "ubuntu"]


def test_what_jobs_make_is_there() -> None:
    """A renamed target of the Makefile would be found out by a tag only."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {
        word for _, step in steps() for word in re.findall(r"make (\S+)", step.get("run", ""))
    }
    assert {"test", "docs", "dist", "lint-release"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_whoever_writes_an_issue_is_asked_for_no_patient() -> None:
    forms = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")
             if path.stem != "config"]  # fmt: skip
    assert {path.stem for path in forms} == {"bug", "question", "feature"}
    for path in forms:
        *_, last = read(path)["body"]
        assert last["attributes"]["options"][0]["required"] is True
        assert "patient" in last["attributes"]["options"][0]["label"]
    assert read(ROOT / ".github/ISSUE_TEMPLATE/config.yml")["blank_issues_enabled"] is False
