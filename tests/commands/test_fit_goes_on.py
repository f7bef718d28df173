"""A comparison that was killed goes on, and one that is enlarged computes what is new alone."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cxrfeat.commands.fit import fit as fit_with_page
from cxrfeat.evaluation.outcome.findings import NEAR_DUPLICATES_ACROSS
from cxrfeat.evaluation.outcome.near_copies import Candidates, candidates
from cxrfeat.evaluation.study.study import Extractor
from cxrfeat.evaluation.validation.cross_validation import ToDo, cross_validate
from tests.evaluation.made import blobs, write_file

fit = partial(fit_with_page, report=False)

N, CV = 96, 3
HEADS = ["logreg", "knn", "dummy"]
PIECES = CV * (len(HEADS) + 1)
"""Of one extractor, the control included."""


def embeddings(folder: Path, *names: str) -> list[Path]:
    """Write files of several extractors over the same images, two of each patient."""
    folder.mkdir(parents=True, exist_ok=True)
    patients = {"group": [f"p{i // 2}" for i in range(N)]}
    paths = []
    for number, name in enumerate(["first", "second", "third"]):
        if name in names:
            X, y = blobs(N, 12, distance=3 - number, seed=number)
            order = np.argsort(y, kind="stable")
            paths.append(write_file(folder / f"{name}.h5", X[order], y[order], meta=patients))
    return paths


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(*arguments: Any, **options: Any) -> tuple[ToDo, int]:
    """Compare; return what was said before, and how many pieces were computed."""
    said: list[ToDo] = []
    computed: list[str] = []
    fit(
        *arguments,
        **({"head": HEADS, "cv": CV} | options),
        planned=said.append,
        progress=lambda event: computed.extend(event.heads),
    )
    return said[0], len(computed)


def outcome(run: Path) -> list[Any]:
    """Everything that a run found, but for how long it took."""
    results = json.loads((run / "results.json").read_text())
    del results["seconds"]
    texts = [(run / name).read_bytes() for name in ("predictions.csv", "scores.csv", "splits.json")]
    return [results, *texts]


SCRIPT = """
import os, signal, sys
import cxrfeat.evaluation.validation.cost as cost
from cxrfeat.commands.fit import fit
cost.LARGE = 10  # a task for each head
left = int(sys.argv[1])
def progress(event):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
fit("e", head={heads}, cv={cv}, report=False, progress=progress)
"""


def start(tasks: int = 0, heads: Sequence[str] = HEADS) -> subprocess.Popen[bytes]:
    """Compare in a process that is killed when so many tasks have ended; never for 0."""
    code = SCRIPT.format(heads=list(heads), cv=CV)
    return subprocess.Popen([sys.executable, "-c", code, str(tasks)])


def test_a_killed_run_goes_on_and_finds_the_same_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings(tmp_path / "killed" / "e", "first", "second")
    shutil.copytree(tmp_path / "killed", tmp_path / "whole")
    monkeypatch.chdir("killed")
    assert start(7).wait(timeout=300) == -signal.SIGKILL
    assert {path.suffix for path in Path("runs").iterdir()} == {".partial", ".lock"}
    said, computed = told("e")
    assert said.kept == {"runs/fit-001, not finished": 7}
    assert computed == said.pieces - 7 == 2 * PIECES - 7
    assert [path.name for path in Path("runs").iterdir()] == ["fit-001"]
    monkeypatch.chdir("../whole")
    said, computed = told("e")
    assert (said.kept, computed) == ({}, 2 * PIECES)
    killed, whole = (outcome(tmp_path / place / "runs/fit-001") for place in ("killed", "whole"))
    assert killed == whole


@pytest.mark.slow
def test_a_run_that_is_killed_five_times_at_any_moment_computes_no_piece_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings(tmp_path / "killed" / "e", "first", "second", "third")
    shutil.copytree(tmp_path / "killed", tmp_path / "whole")
    monkeypatch.chdir("killed")
    heads = [*HEADS, "lda", "linear_svm", "xgboost"]
    written: dict[str, int] = {}
    partial_folder = Path("runs/.fit-001.partial/folds")

    def there() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in partial_folder.glob("*.piece")}

    for kill in range(1, 6):
        process = start(heads=heads)
        while len(there()) < 9 * kill:
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(random.Random(kill).uniform(0, 0.1))
        process.kill()
        process.wait()
        now = there()
        assert {name: now[name] for name in written} == written
        written = now
    said, computed = told("e", head=heads)
    assert said.kept == {"runs/fit-001, not finished": len(written)}
    assert computed == said.pieces - len(written)
    monkeypatch.chdir("../whole")
    told("e", head=heads)
    killed, whole = (outcome(tmp_path / place / "runs/fit-001") for place in ("killed", "whole"))
    assert killed == whole


def test_an_error_loses_nothing_that_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings(Path("e"), "first")

    def full(*_: object) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("cxrfeat.commands.fit.save_winner", full)
        with pytest.raises(OSError, match="no room"):
            told("e", out="run")
    said, computed = told("e", out="run")
    assert (said.kept, computed) == ({"run, not finished": PIECES}, 0)


def test_another_extractor_or_head_is_all_that_is_computed() -> None:
    embeddings(Path("e"), "first", "second")
    assert told("e", head=HEADS[1:])[1] == 2 * (PIECES - CV)
    embeddings(Path("e"), "third")
    said, computed = told("e", head=HEADS[1:])
    assert said.kept == {"runs/fit-001": 2 * (PIECES - CV)}
    assert computed == PIECES - CV
    said, computed = told("e", head=HEADS)
    assert said.kept == {"runs/fit-001": 2 * (PIECES - CV), "runs/fit-002": PIECES - CV}
    assert computed == 3 * CV
    taken = outcome(Path("runs/fit-003"))
    said, computed = told("e", out="anew/fit-003")
    assert (said.kept, computed) == ({}, 3 * PIECES)
    # The paths to the embeddings are relative to the run, and so those of the files.
    of_both = [json.dumps(found[0]["ranking"]) for found in (taken, outcome(Path("anew/fit-003")))]
    assert of_both[0] == of_both[1]
    assert taken[1:] == outcome(Path("anew/fit-003"))[1:]


def test_the_finished_run_elsewhere_takes_everything_and_is_complete_by_itself() -> None:
    embeddings(Path("e"), "first")
    told("e")
    assert told("e", out="runs/again")[1] == 0
    shutil.rmtree("runs/fit-001")
    said, computed = told("e", out="runs/third")
    assert (said.kept, computed) == ({"runs/again": PIECES}, 0)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many channels the embeddings have in which near copies were looked for, each time."""
    asked: list[int] = []

    def look(X: np.ndarray, *arguments: Any, **options: Any) -> Candidates:
        asked.append(X.shape[1])
        return candidates(X, *arguments, **options)

    monkeypatch.setattr("cxrfeat.evaluation.outcome.copies.candidates", look)
    return asked


def test_near_copies_are_looked_for_once_in_the_embeddings_of_each_extractor(
    searched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = [files_with_copies(Path("e"), name) for name in ("first", "second", "third")]
    once = {"head": ["dummy"]}
    for paths, out, looked in [
        (copied[:2], "runs/two", 2),
        (copied, "runs/three", 1),
        (copied, "runs/again", 0),
        (copied, "anew/three", 3),
    ]:
        searched.clear()
        told(paths, out=out, **once)
        assert len(searched) == looked
    three, anew = (outcome(Path(run))[0]["findings"] for run in ("runs/three", "anew/three"))
    assert any(one["code"] == NEAR_DUPLICATES_ACROSS for one in three)
    assert three == anew

    # Where the shares of an extractor decide what is looked at, another share is another search.
    monkeypatch.setattr("cxrfeat.evaluation.outcome.near_copies.EVERY", 1.0)
    for paths, out, looked in [(copied[:2], "few/two", 2), (copied, "few/three", 3)]:
        searched.clear()
        told(paths, out=out, **once)
        assert len(searched) == looked


@pytest.mark.parametrize("change", [{"seed": 1}, {"fresh": True}, None, "damaged"], ids=str)
def test_a_search_for_near_copies_is_taken_over_for_the_same_alone(
    searched: list[int], change: dict[str, Any] | str | None
) -> None:
    path = files_with_copies(Path("e"), "first")
    told(path, out="runs/before", head=["dummy"])
    if change is None:
        other_number(path)
    if change == "damaged":
        (kept,) = Path("runs/before/folds").glob("*.search")
        kept.write_bytes(kept.read_bytes()[:-1])
    searched.clear()
    told(path, out="runs/after", head=["dummy"], **(change if isinstance(change, dict) else {}))
    assert len(searched) == 1


def files_with_copies(folder: Path, name: str) -> Path:
    """Write embeddings of which each stands there twice, almost, under two patients."""
    (path,) = embeddings(folder, name)
    with h5py.File(path, "r+") as file:
        X = file["embeddings"][:]
        X[1::2] = X[::2] + np.float32(1e-3)
        file["embeddings"][:] = X
        file["meta/group"][:] = [f"p{i}" for i in range(N)]
    return path


def other_label(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["labels"][0] = np.roll(file["labels"][0], 1)
        file["labels"][1] = np.roll(file["labels"][1], 1)


def other_number(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["embeddings"][5, 3] = np.nextafter(file["embeddings"][5, 3], np.float32(np.inf))


@pytest.mark.parametrize("change", [other_label, other_number, None])
def test_nothing_is_taken_of_what_was_found_on_anything_else(
    change: Callable[[Path], None] | None,
) -> None:
    (path,) = embeddings(Path("e"), "first")
    told("e")
    if change is not None:
        change(path)
    said, computed = told("e", seed=0 if change else 1)
    assert (said.kept, computed) == ({}, PIECES)


@pytest.mark.parametrize(
    "options",
    [
        {"metric": "accuracy"}, {"calibrate": "sigmoid"}, {"class_weight": "balanced"},
        {"specificity": 0.8}, {"groups": "none"}, {"cv": 4}, {"fresh": True},
    ],
    ids=str,
)  # fmt: skip
def test_what_an_option_decides_is_computed_anew(options: dict[str, Any]) -> None:
    embeddings(Path("e"), "first")
    told("e", head=["logreg"])
    said, computed = told("e", head=["logreg"], **options)
    # The control on shuffled labels knows neither heads nor metrics.
    folds = options.get("cv", CV)
    alone = not {"groups", "cv", "fresh"} & set(options)
    assert computed == folds * (1 if alone else 2)
    assert sum(said.kept.values()) == (folds if alone else 0)


def test_a_damaged_piece_is_computed_anew(folder: Path) -> None:
    embeddings(Path("e"), "first")
    told("e")
    before = outcome(Path("runs/fit-001"))
    damaged = sorted(Path("runs/fit-001/folds").glob("*.piece"))[::3]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-1])
    said, computed = told("e", out="runs/again")
    assert computed == len(damaged)
    assert said.kept == {"runs/fit-001": PIECES - len(damaged)}
    assert outcome(Path("runs/again"))[1:] == before[1:]


def test_later_repeats_take_the_first(folder: Path) -> None:
    embeddings(Path("e"), "first")
    told("e")
    said, computed = told("e", repeats=2)
    assert (said.kept, computed) == ({"runs/fit-001": PIECES}, PIECES)


def test_mapped_embeddings_give_the_same_and_are_gone_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embeddings(Path("e"), "first", "second")
    embeddings(Path("outside"), "first", "second")
    options: dict[str, Any] = {
        "test": "outside", "combine": ["first+second"], "groups": "none", "head": ["lda"],
    }  # fmt: skip
    _, computed = told("e", **options)
    kinds = set()

    def watched(extractors: Sequence[Extractor], *arguments: Any, **named: Any) -> Any:
        kinds.update(type(one.X) for one in extractors)
        return cross_validate(extractors, *arguments, **named)

    monkeypatch.setattr("cxrfeat.commands.fit.cross_validate", watched)
    monkeypatch.setattr("cxrfeat.comparison.loaded_study.usable_memory", lambda: 1000)
    said, again = told("e", **options)
    assert kinds == {np.memmap}
    # What is mapped has the same digest, and what is computed on it the same bits.
    assert (sum(said.kept.values()), again) == (computed, 0)
    told("e", **options, fresh=True)
    assert [path.name for path in sorted(Path("runs").iterdir())] == [
        "fit-001", "fit-002", "fit-003",
    ]  # fmt: skip
    first, _, third = (outcome(path) for path in sorted(Path("runs").iterdir()))
    assert first[1:] == third[1:]
