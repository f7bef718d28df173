"""The script of `cxrfeat shards script` runs every shard once, and then status and merge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cxrfeat
from cxrfeat.cli import app
from cxrfeat.errors import InputError

ARGUMENTS = ["my images", "--backbone", "vgg16", "--out", "a folder"]


@pytest.fixture
def scripted(tmp_path: Path):
    """Run a script with an sbatch that counts jobs and a cxrfeat that does nothing but be noted."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    (tmp_path / "bin").mkdir()
    for name, more in (("sbatch", 'wc -l < "$0.log"'), ("cxrfeat", 'exit "${RC:-0}"')):
        path = tmp_path / "bin" / name
        path.write_text(f'#!/bin/bash\nIFS="|"; echo "$*" >> "$0.log"\n{more}\n')
        path.chmod(0o755)

    def run(text: str, *arguments: str, **environment: str) -> list[list[str]]:
        script = tmp_path / "shards.sh"
        script.write_text(text)
        for log in (tmp_path / "bin").glob("*.log"):
            log.unlink()
        subprocess.run(
            ["bash", str(script), *arguments],
            env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", **environment},
            cwd=tmp_path, check=True, timeout=60, capture_output=True,
        )  # fmt: skip
        logs = sorted((tmp_path / "bin").glob("*.log"))
        return [line.split("|") for log in logs for line in log.read_text().splitlines()]

    return run


def test_slurm_gets_arrays_within_its_limit_and_then_status_and_merge(scripted, tmp_path) -> None:
    script = str(tmp_path / "shards.sh")
    text = cxrfeat.shards_script(ARGUMENTS, slurm=True, shards=2500, at_once=9)
    assert scripted(text) == [
        ["--parsable", "--array=0-999%9", script, "run", "0"],
        ["--parsable", "--dependency=afterany:1", "--array=0-999%9", script, "run", "1000"],
        ["--parsable", "--dependency=afterany:2", "--array=0-499%9", script, "run", "2000"],
        ["--dependency=afterany:3", "--output=cxrfeat-merge-%j.log", script, "merge"],
    ]
    assert scripted(text, "3,5-7")[0] == ["--parsable", "--array=3,5-7%9", script, "run", "0"]
    extract = ["extract", *ARGUMENTS, "--workers", "4", "--shard"]
    ran = scripted(text, "run", "2000", SLURM_ARRAY_TASK_ID="499")
    assert ran == [[*extract, "2499/2500"]]
    merged = scripted(text, "merge")
    assert merged == [["shards", "status", "a folder"], ["shards", "merge", "a folder"]]


def test_slurm_is_told_what_a_task_needs() -> None:
    text = cxrfeat.shards_script(["images"], slurm=True, workers=3, memory="12G")
    lines = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert {"#SBATCH --cpus-per-task=3", "#SBATCH --mem=12G"} <= set(lines)
    assert "--workers 3" in text
    assert "--workers 3" not in cxrfeat.shards_script(["images", "--workers", "2"], slurm=True)
    before = text.partition("\nset ")[0].splitlines()  # sbatch reads no further than a command
    assert all(line.startswith("#") for line in before)


def test_machines_that_share_a_folder_take_turns(scripted) -> None:
    text = cxrfeat.shards_script(["extract", "images"], shards=7)
    ran = [scripted(text, machine, "3", RC="1") for machine in "012"]
    assert [[words[-1] for words in of_machine] for of_machine in ran] == [
        ["0/7", "3/7", "6/7"],
        ["1/7", "4/7"],
        ["2/7", "5/7"],
    ]
    assert scripted(text, "merge")[-1] == ["shards", "merge", "embeddings"]
    with pytest.raises(subprocess.CalledProcessError):
        scripted(text, "0", "3", RC="2")


@pytest.mark.parametrize("slurm", [True, False])
@pytest.mark.parametrize("name", ["plain", 'it\'s $HOME `id` "q" \\'])
def test_what_was_asked_for_reaches_the_command_as_it_was(scripted, slurm, name) -> None:
    text = cxrfeat.shards_script([name, "--out=" + name], slurm=slurm)
    arguments = ("run", "0") if slurm else ("0", "64")
    (ran,) = scripted(text, *arguments, SLURM_ARRAY_TASK_ID="0")
    assert ran[1:3] == [name, "--out=" + name]
    assert scripted(text, "merge")[1] == ["shards", "merge", name]
    if shutil.which("shellcheck"):
        subprocess.run(
            ["shellcheck", "-s", "bash", "-S", "warning", "-"], input=text, text=True, check=True
        )


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        ([], {}, "nothing to extract"),
        (["images", "--shard", "0/8"], {}, "leave out --shard"),
        (["images"], {"shards": 0}, "0 shards"),
        (["images"], {"at_once": 0}, "0 at once"),
        (["images"], {"memory": "8 GB; rm"}, "memory"),
    ],
)
def test_what_no_script_can_have_is_refused(arguments, options, told) -> None:
    with pytest.raises(InputError, match=told):
        cxrfeat.shards_script(arguments, **options)


def test_the_command_prints_the_script_and_nothing_else() -> None:
    done = CliRunner().invoke(app, ["shards", "script", "--slurm", "--", *ARGUMENTS])
    assert done.stdout == cxrfeat.shards_script(ARGUMENTS, slurm=True)
    as_json = CliRunner().invoke(app, ["shards", "script", "--slurm", "--json", "--", *ARGUMENTS])
    assert json.loads(as_json.stdout) == done.stdout
