"""`cxrfeat fit --engine ray` on three machines finds what one process finds, to the last bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cxrfeat
from cxrfeat.commands.fit import fit as fit_with_page
from cxrfeat.errors import ClusterError, InputError, MissingExtraError, UnknownNameError
from cxrfeat.evaluation.heads.registry import HEADS, find_heads
from cxrfeat.evaluation.validation import cross_validation
from cxrfeat.evaluation.validation.cross_validation import FoldDone, ToDo
from tests.evaluation.made import blobs, write_file
from tests.ray_cluster import ROOT, machines, require_ray

fit = partial(fit_with_page, report=False, cv=3)

N, WIDTH = 96, 24
PIECES = 2 * 3 * (len(find_heads(None)) + 1)
"""Of two extractors on three folds, the control included."""
TIMED = cross_validation._timed


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with machines(3) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cxrfeat.cluster.parcels.SHARED_BYTES", 1000)  # the embeddings go apart
    return tmp_path


def embeddings(folder: Path, *, findings: bool = False) -> Path:
    """Write two extractors over the same images, two of each patient."""
    patients = {"group": [f"p{i // 2}" for i in range(N)]}
    folder.mkdir(parents=True)
    for name, width, distance in (("first", WIDTH, 3.0), ("second", 12, 2.0)):
        X, y = blobs(N, width, distance=distance)
        order = np.argsort(y, kind="stable")
        X, y = X[order], y[order]
        if findings:
            any_number = np.stack([y == 0, y != 1, y == 2], axis=1).astype(np.float32)
            any_number[::7, 1] = np.nan
            kind: dict[str, Any] = {"kind": "multilabel"}
            write_file(folder / f"{name}.h5", X, any_number, meta=patients, **kind)
        else:
            write_file(folder / f"{name}.h5", X, y, meta=patients)
    return folder


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in this process, with all heads, beside its embeddings."""
    folder = tmp_path_factory.mktemp("here")
    embeddings(folder / "e")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fit("e", out="run", learning_curve=True)
    return folder


def outcome(run: Path) -> dict[str, Any]:
    """Everything that a run found, by the name of its file, but for how long it took."""
    names = [path.name for path in run.iterdir() if path.suffix in {".csv", ".json", ".tex"}]
    found: dict[str, Any] = {name: (run / name).read_bytes() for name in names}
    assert {"predictions.csv", "scores.csv", "splits.json"} <= found.keys()
    found["results.json"] = json.loads(found["results.json"])
    del found["results.json"]["seconds"]
    return found


def dies(folder: Path, times: int, common: Any, extractor: Any, number: int, heads: Any) -> Any:
    """Do a task; one of them ends its process the first times."""
    deaths = len(list(folder.glob("death*")))
    if (extractor.name, number) == ("second", 1) and "knn" in heads and deaths < times:
        (folder / f"death{deaths}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return TIMED(common, extractor, number, heads)


def test_three_machines_find_what_one_process_finds(
    cluster: Any, here: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    stored: list[Any] = []
    put = ray.put
    monkeypatch.setattr(ray, "put", lambda thing: stored.append(thing) or put(thing))
    shutil.copytree(here / "e", folder / "e")
    said: list[ToDo] = []
    told: list[FoldDone] = []
    fit(
        "e", out="run", learning_curve=True, engine="ray", address=cluster.address,
        planned=said.append, progress=told.append,
    )  # fmt: skip
    assert outcome(folder / "run") == outcome(here / "run")
    (work,) = said
    assert (work.at_once, work.pieces, work.kept) == (3, PIECES, {})
    assert {head for one in told for head in one.heads} > {*HEADS} - {"svm_rbf_nystroem"}
    assert told[-1].done == PIECES
    matrices = [thing for thing in stored if np.shape(thing) == (N, WIDTH)]
    assert len(matrices) == 2  # once for all folds, and once for the curves


def test_lost_workers_and_machines_cost_nothing_also_where_embeddings_are_mapped(
    cluster: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    embeddings(folder / "here/e", findings=True)
    shutil.copytree(folder / "here", folder / "there")
    monkeypatch.chdir("here")
    fit("e", out="run")
    monkeypatch.chdir("../there")
    doomed = [cluster.add_node(num_cpus=1, object_store_memory=80 << 20)]
    warned: list[str] = []

    def progress(done: FoldDone) -> None:
        if doomed:
            cluster.remove_node(doomed.pop(), allow_graceful=False)

    monkeypatch.setattr(cross_validation, "_timed", partial(dies, folder, 1))
    monkeypatch.setattr("cxrfeat.comparison.loaded_study.usable_memory", lambda: 1000)
    fit(
        "e", out="run", engine="ray", address=cluster.address, progress=progress,
        warn=warned.append,
    )  # fmt: skip
    assert outcome(folder / "there/run") == outcome(folder / "here/run")
    assert (folder / "death0").is_file()
    assert not doomed
    assert any("lost and replaced" in sentence for sentence in warned)
    assert capfd.readouterr().out == ""  # where the command prints its result


def test_a_task_that_kills_each_time_is_named_and_either_place_goes_on_from_the_other(
    cluster: Any, here: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrfeat.evaluation.validation.cost.LARGE", 10)  # a task for each head
    shutil.copytree(here / "e", folder / "e")
    told: list[ToDo] = []
    again = partial(fit, "e", learning_curve=True, planned=told.append)
    again(out="part", head=["dummy"])
    with monkeypatch.context() as patch:
        patch.setattr(cross_validation, "_timed", partial(dies, folder, 9))
        with pytest.raises(ClusterError) as caught:
            again(out="run", engine="ray", address=cluster.address)
    assert str(caught.value).startswith("knn on second, fold 2, ends its process every time")
    assert "\n" not in str(caught.value)
    assert len(list(folder.glob("death*"))) == 3
    kept = len(list((folder / ".run.partial/folds").iterdir()))
    there = told[0].pieces
    assert there < kept < PIECES
    again(out="run")
    assert [one.kept for one in told] == [{}, {"part": there}, {"run, not finished": kept}]
    assert outcome(folder / "run") == outcome(here / "run")


@pytest.mark.slow
def test_a_ray_of_this_machine_writes_the_same_run(here: Path, folder: Path) -> None:
    require_ray()
    shutil.copytree(here / "e", folder / "e")
    command = [sys.executable, "-m", "cxrfeat", "fit", "e", "--cv", "3", "--learning-curve"]
    command += ["--out", "run", "--no-report", "--engine", "ray", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "127.0.0.1:1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == "run"
    assert outcome(folder / "run") == outcome(here / "run")


def test_without_ray_the_extra_is_named_before_any_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cxrfeat\[ray\]'"):
        cxrfeat.fit("nothing", out="run", engine="ray")
    assert list(folder.iterdir()) == []


def test_an_address_without_ray_and_an_unknown_engine_are_refused() -> None:
    with pytest.raises(InputError, match="--address is for Ray: add --engine ray"):
        cxrfeat.fit("nothing", address="auto")
    with pytest.raises(UnknownNameError, match="local, ray"):
        cxrfeat.fit("nothing", engine="spark")
