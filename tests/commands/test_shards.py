"""Shards: several processes that share a folder make what one process would have made."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cxrfeat
from cxrfeat import display
from cxrfeat.cli import app
from cxrfeat.errors import InputError, SpecMismatchError
from cxrfeat.extraction import shard_plan
from cxrfeat.extraction.drain import Progress
from cxrfeat.extraction.shard_files import as_array
from cxrfeat.extraction.shard_plan import ShardPlan, plan_file, read_plan, settled_plan, write_once
from cxrfeat.extraction.shards import Shard, shard_of
from cxrfeat.inputs import Dataset
from cxrfeat.store import FileLock
from tests.commands.test_inputs import write_dicom

QUICK = {
    "backbone": ["squeezenet1_1"],
    "weights": ["random"],
    "image_size": 64,
    "device": "cpu",
    "runtime": "torch",
}
STEM = "squeezenet1_1-random-64"
SIDE = 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of eight pictures: some of 16 bits, of which one alone needs 14; one broken."""
    rng = np.random.default_rng(0)
    for label in ("clear", "opaque"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(8):
            path = tmp_path / "images" / label / f"{number}.png"
            if number < 6:
                Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), np.uint8)).save(path)
            else:
                Image.fromarray(rng.integers(0, 4000, (SIDE, SIDE)).astype(np.uint16)).save(path)
    deep = np.full((SIDE, SIDE), 9000, np.uint16)
    Image.fromarray(deep).save(tmp_path / "images" / "clear" / "deep.png")
    (tmp_path / "images" / "opaque" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path / "images"


def run_shards(folder: Path, out: Path, count: int = 3, **options: object) -> list:
    return [
        cxrfeat.extract(folder, out=out, shard=f"{index}/{count}", **{**QUICK, **options})
        for index in range(count)
    ]


def contents(path: Path) -> dict[str, object]:
    """Everything in a file but when it was made."""
    found: dict[str, object] = {}

    def keep(name: str, thing: object) -> None:
        if isinstance(thing, h5py.Dataset):
            found[name] = (thing.dtype.str, thing.shape, thing[...].tobytes())
        for key, value in thing.attrs.items():
            found[f"{name}@{key}"] = np.asarray(value).tolist()

    with h5py.File(path) as file:
        file.visititems(keep)
        found |= {f"@{key}": value for key, value in file.attrs.items() if key != "created"}
    return found


def test_merged_shards_are_the_file_of_a_single_run_in_every_byte(folder, tmp_path) -> None:
    single = cxrfeat.extract(folder, out=tmp_path / "single", **QUICK)
    results = run_shards(folder, tmp_path / "e", batch_size=2)
    assert sum(result.images for result in results) == single.images == 18
    merged = cxrfeat.shards_merge(tmp_path / "e")
    assert (merged.files[0].done, merged.files[0].failed, merged.left_out) == (17, 1, {})
    whole = contents(single.files[0].path)
    assert json.loads(whole["@spec"])["image"]["bits"] == 14
    assert contents(merged.files[0].path) == whole
    csv = [(tmp_path / name / "failures.csv").read_text() for name in ("single", "e")]
    assert csv[0] == csv[1]


def test_a_single_run_goes_on_with_a_merged_file(folder, tmp_path) -> None:
    run_shards(folder, tmp_path / "e")
    cxrfeat.shards_merge(tmp_path / "e")
    path = tmp_path / "e" / f"{STEM}.h5"
    before = path.read_bytes()
    again = cxrfeat.extract(folder, out=tmp_path / "e", **QUICK)
    assert (again.read, again.files[0].reused) == (0, 17)
    assert path.read_bytes() == before
    Image.fromarray(np.full((SIDE, SIDE), 90, np.uint8)).save(folder / "clear" / "new.png")
    more = cxrfeat.extract(folder, out=tmp_path / "e", **QUICK)
    assert (more.read, more.files[0].computed, more.files[0].rows) == (1, 1, 19)


def test_a_second_merge_of_unchanged_shards_leaves_the_file(folder, tmp_path) -> None:
    run_shards(folder, tmp_path / "e")
    first = cxrfeat.shards_merge(tmp_path / "e")
    before = first.files[0].path.stat()
    second = cxrfeat.shards_merge(tmp_path / "e")
    assert (first.files[0].unchanged, second.files[0].unchanged) == (False, True)
    assert first.files[0].path.stat() == before
    assert second.failures == first.failures


def test_a_shard_that_was_mended_later_comes_in_by_another_merge(folder, tmp_path) -> None:
    run_shards(folder, tmp_path / "e")
    cxrfeat.shards_merge(tmp_path / "e")
    Image.fromarray(np.full((SIDE, SIDE), 90, np.uint8)).save(folder / "opaque" / "broken.png")
    run_shards(folder, tmp_path / "e")
    merged = cxrfeat.shards_merge(tmp_path / "e")
    assert (merged.files[0].done, merged.files[0].unchanged, merged.failures) == (18, False, [])
    assert not (tmp_path / "e" / "failures.csv").exists()


def test_a_file_with_more_than_the_shards_is_not_merged_over(folder, tmp_path) -> None:
    run_shards(folder, tmp_path / "e")
    path = cxrfeat.shards_merge(tmp_path / "e").files[0].path
    Image.fromarray(np.full((SIDE, SIDE), 90, np.uint8)).save(folder / "opaque" / "broken.png")
    run_shards(folder, tmp_path / "e")
    Image.fromarray(np.full((SIDE, SIDE), 90, np.uint8)).save(folder / "clear" / "new.png")
    (folder / "opaque" / "broken.png").unlink()
    cxrfeat.extract(folder, out=tmp_path / "e", **QUICK)
    before = path.read_bytes()
    with pytest.raises(InputError, match="would lose"):
        cxrfeat.shards_merge(tmp_path / "e")
    assert path.read_bytes() == before


def test_missing_shards_are_named_and_left_out_only_if_asked(folder, tmp_path) -> None:
    single = cxrfeat.extract(folder, out=tmp_path / "single", **QUICK)
    for index in (0, 3):
        cxrfeat.extract(folder, out=tmp_path / "e", shard=f"{index}/5", **QUICK)
    status = cxrfeat.shards_status(tmp_path / "e")
    assert (status.complete, status.array) == (False, "1-2,4")
    assert [state.status for state in status.extractors[0].shards] == [
        *("complete", "missing", "missing", "complete", "missing")
    ]
    with pytest.raises(InputError, match=r"1-2,4 are missing.*--array=1-2,4.*--partial"):
        cxrfeat.shards_merge(tmp_path / "e")
    assert not (tmp_path / "e" / f"{STEM}.h5").exists()
    some = cxrfeat.shards_merge(tmp_path / "e", partial=True)
    assert some.left_out == {STEM: "1-2,4"}
    for index in (1, 2, 4):
        cxrfeat.extract(folder, out=tmp_path / "e", shard=f"{index}/5", **QUICK)
    whole = cxrfeat.shards_merge(tmp_path / "e")
    assert some.files[0].rows < whole.files[0].rows == 18
    assert contents(whole.files[0].path) == contents(single.files[0].path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"shard": "1/4"}, "3 shards, not 4"),
        ({"bits": 16}, "--bits: 16 here, null there"),
        ({"modality": ["any"]}, "--modality"),
        ({"storage": "float16"}, "--storage: float16 here, float32 there"),
        ({"backbone": ["squeezenet1_0"]}, f"{STEM}, not squeezenet1_0-random-64"),
        ({"positive": "opaque"}, "other labels"),
    ],
)
def test_a_shard_of_something_else_is_refused(folder, tmp_path, options, told) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", shard="0/3", **QUICK)
    before = sorted((tmp_path / "e").rglob("*"))
    with pytest.raises(InputError, match=told):
        cxrfeat.extract(folder, out=tmp_path / "e", **{"shard": "1/3", **QUICK, **options})
    assert sorted((tmp_path / "e").rglob("*")) == before


def test_a_shard_of_other_weights_is_refused_with_the_difference(folder, tmp_path) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", shard="0/3", name="mine", **QUICK)
    other = {**QUICK, "weights": ["random:1"], "name": "mine", "shard": "1/3"}
    with pytest.raises(SpecMismatchError, match="plan for another mine") as caught:
        cxrfeat.extract(folder, out=tmp_path / "e", **other)
    assert any(line.startswith("weights.") for line in caught.value.difference)


def test_a_shard_of_other_images_is_refused(folder, tmp_path) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", shard="0/3", **QUICK)
    (folder / "clear" / "0.png").rename(folder / "clear" / "renamed.png")
    with pytest.raises(InputError, match="18 now, as many, but others"):
        cxrfeat.extract(folder, out=tmp_path / "e", shard="1/3", **QUICK)
    (folder / "clear" / "renamed.png").unlink()
    with pytest.raises(InputError, match="17 now, not 18"):
        cxrfeat.extract(folder, out=tmp_path / "e", shard="1/3", **QUICK)


def test_a_file_that_is_not_of_the_plan_is_named_and_not_merged(folder, tmp_path) -> None:
    run_shards(folder, tmp_path / "e", name="mine")
    run_shards(folder, tmp_path / "other", name="mine", pool="max")
    path = Shard(1, 3).folder(tmp_path / "e") / "mine.h5"
    path.write_bytes((Shard(1, 3).folder(tmp_path / "other") / "mine.h5").read_bytes())
    assert cxrfeat.shards_status(tmp_path / "e").array == "1"
    with pytest.raises(InputError, match=r"shard 1 of 3: .* in another way"):
        cxrfeat.shards_merge(tmp_path / "e", partial=True)
    path.write_bytes((Shard(2, 3).folder(tmp_path / "e") / "mine.h5").read_bytes())
    with pytest.raises(InputError, match=r"shard 1 of 3: .* has other images"):
        cxrfeat.shards_merge(tmp_path / "e")
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match=r"shard 1 of 3: .* is damaged"):
        cxrfeat.shards_merge(tmp_path / "e")


def test_all_images_are_not_computed_beside_shards_that_wait_for_a_merge(folder, tmp_path) -> None:
    cxrfeat.extract(folder, out=tmp_path / "e", shard="0/3", **QUICK)
    with pytest.raises(InputError, match="cxrfeat shards merge"):
        cxrfeat.extract(folder, out=tmp_path / "e", **QUICK)


def test_more_shards_than_images_are_right_too(folder, tmp_path) -> None:
    for path in list(folder.rglob("*.png"))[3:]:
        path.unlink()
    single = cxrfeat.extract(folder, out=tmp_path / "single", **QUICK)
    run_shards(folder, tmp_path / "e", count=6)
    merged = cxrfeat.shards_merge(tmp_path / "e")
    assert merged.files[0].rows == 3
    assert contents(merged.files[0].path) == contents(single.files[0].path)


@pytest.mark.parametrize("text", ["3/3", "-1/3", "1", "a/b", "1/0", "0/1000000", ""])
def test_what_is_no_shard_is_refused_in_words(folder, tmp_path, text) -> None:
    with pytest.raises(InputError, match=r"shard|I/N"):
        cxrfeat.extract(folder, out=tmp_path / "e", shard=text, **QUICK)
    assert not (tmp_path / "e").exists()


def test_patients_of_another_key_are_refused_before_anything_is_computed(
    tmp_path, monkeypatch
) -> None:
    (tmp_path / "images").mkdir()
    for number in range(12):
        write_dicom(tmp_path / "images" / f"{number}.dcm", PatientID=f"p{number % 4}")
    monkeypatch.setenv("CXRFEAT_PATIENT_KEY", "one")
    single = cxrfeat.extract(tmp_path / "images", out=tmp_path / "single", **QUICK)
    cxrfeat.extract(tmp_path / "images", out=tmp_path / "e", shard="0/2", **QUICK)
    monkeypatch.setenv("CXRFEAT_PATIENT_KEY", "two")
    with pytest.raises(InputError, match="another key"):
        cxrfeat.extract(tmp_path / "images", out=tmp_path / "e", shard="1/2", **QUICK)
    monkeypatch.setenv("CXRFEAT_PATIENT_KEY", "one")
    cxrfeat.extract(tmp_path / "images", out=tmp_path / "e", shard="1/2", **QUICK)
    merged = cxrfeat.shards_merge(tmp_path / "e")
    assert contents(merged.files[0].path) == contents(single.files[0].path)


def test_a_killed_shard_goes_on_where_it_was(folder, tmp_path) -> None:
    code = (
        "import os, signal, sys, cxrfeat\n"
        "kill = lambda progress: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"cxrfeat.extract({str(folder)!r}, out={str(tmp_path / 'e')!r}, shard='0/2',"
        f" batch_size=2, progress=kill, **{QUICK!r})"
    )
    killed = subprocess.run([sys.executable, "-c", code], timeout=300)
    assert killed.returncode == -signal.SIGKILL
    status = cxrfeat.shards_status(tmp_path / "e")
    assert [state.status for state in status.extractors[0].shards] == ["incomplete", "missing"]
    with pytest.raises(InputError, match="1 is missing and 0 is incomplete"):
        cxrfeat.shards_merge(tmp_path / "e")
    first, _ = run_shards(folder, tmp_path / "e", count=2)
    assert first.files[0].reused + first.files[0].failed >= 2
    assert cxrfeat.shards_merge(tmp_path / "e").files[0].pending == 0


def test_of_many_that_come_at_once_one_plans_and_all_get_its_plan(tmp_path) -> None:
    found = Dataset(ids=["a", "b", "c"], paths=[Path("a"), Path("b"), Path("c")])
    drafts, plans = [], []
    together = threading.Barrier(16)

    def come(bits: int) -> None:
        def draft() -> ShardPlan:
            drafts.append(bits)
            return ShardPlan.of(found, 2, {}, bits, {"net": {"backbone": "net"}})

        together.wait()
        plans.append(settled_plan(tmp_path / "e", draft))

    threads = [threading.Thread(target=come, args=(bits,)) for bits in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drafts) == 1
    assert plans == [read_plan(tmp_path / "e")] * 16
    assert plans[0].bits == drafts[0]
    assert [path.name for path in (tmp_path / "e" / "shards").iterdir()] == ["plan.json"]


def test_who_waits_for_the_plan_of_another_process_says_so(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(shard_plan, "_SAY_AFTER", 0)
    monkeypatch.setattr(shard_plan, "_LOOK_AGAIN", 0)
    found = Dataset(ids=["a"], paths=[Path("a")])
    lock = FileLock(plan_file(tmp_path))
    told: list[str] = []

    def say(waiting: str) -> None:
        told.append(waiting)
        with display.extraction_progress() as progress:
            progress(Progress(0, 0, 0, waiting))
        lock.release()

    plan = settled_plan(tmp_path, lambda: ShardPlan.of(found, 1, {}, None, {}), say)
    assert plan.images == (1,)
    assert len(told) == 1
    assert "waiting for the plan of the shards" in told[0]
    assert capsys.readouterr().err == f"{told[0]}\n"


def test_a_file_that_is_written_once_is_whole_and_stays(tmp_path) -> None:
    assert write_once(tmp_path / "a" / "x", "first") == "first"
    assert write_once(tmp_path / "a" / "x", "second") == "first"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "cxrfeat-shards", "version": 99}', '{"format": "x"}']
)
def test_a_damaged_plan_is_one_line(folder, tmp_path, text) -> None:
    plan_file(tmp_path / "e").parent.mkdir(parents=True)
    plan_file(tmp_path / "e").write_text(text)
    for command in (["shards", "status"], ["shards", "merge"]):
        done = CliRunner().invoke(app, [*command, str(tmp_path / "e")])
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_an_image_falls_to_the_shard_that_the_documents_say() -> None:
    # printf a/b.png | sha256sum
    digest = 0x88F7EC7982E1B5DB2318B08DD31A30C648C69E6C7DC9DB662FF75D38FFADD4E6
    assert [shard_of("a/b.png", count) for count in (1, 8, 1000)] == [
        *(0, digest % 8, digest % 1000)
    ]
    ids = [f"{number}.png" for number in range(8000)]
    counts = np.bincount([shard_of(id_, 8) for id_ in ids], minlength=8)
    assert counts.min() > 850


@pytest.mark.parametrize(
    ("indices", "text"),
    [([], ""), ([3], "3"), ([7, 3, 5, 6], "3,5-7"), (range(5), "0-4"), ([0, 2, 2], "0,2")],
)
def test_indices_are_written_as_array_takes_them(indices, text) -> None:
    assert as_array(indices) == text


def test_the_command_line_says_what_is_missing_by_exit_code_and_array(folder, tmp_path) -> None:
    out = str(tmp_path / "e")
    small = [
        *("--backbone", "squeezenet1_1", "--weights", "random", "--image-size", "64"),
        *("--runtime", "torch", "--device", "cpu"),
    ]
    first = CliRunner().invoke(
        app, ["extract", str(folder), "--out", out, "--shard", "0/2", *small]
    )
    assert "shard 0 of 2" in first.stdout
    status = CliRunner().invoke(app, ["shards", "status", out])
    assert status.exit_code == 1
    assert "--array=1" in status.stdout
    refused = CliRunner().invoke(app, ["shards", "merge", out])
    assert refused.exit_code == 2
    assert "1 is missing" in refused.stderr
    CliRunner().invoke(app, ["extract", str(folder), "--out", out, "--shard", "1/2", *small])
    status = CliRunner().invoke(app, ["shards", "status", out, "--json"])
    assert status.exit_code == 0
    assert json.loads(status.stdout)["array"] == ""
    merged = CliRunner().invoke(app, ["shards", "merge", out])
    assert merged.exit_code == 1  # one image is broken
    assert "opaque/broken.png" in merged.stdout
    assert "left as it is" in CliRunner().invoke(app, ["shards", "merge", out]).stdout
    none = CliRunner().invoke(app, ["shards", "status", str(tmp_path / "none")])
    assert none.exit_code == 2
    assert "no shards" in none.stderr
