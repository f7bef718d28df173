"""Reading, networks and writing at once: bounded, in order, and nothing finished is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import cxrfeat
from cxrfeat import display, store
from cxrfeat.evaluation.validation.cross_validation import FoldDone
from cxrfeat.extraction import changed_images, declared_columns, drain, local_engine
from cxrfeat.extraction.known_images import KnownImages
from cxrfeat.extraction.reading_ahead import TOGETHER
from cxrfeat.extraction.sources import FileSource, sources_of
from cxrfeat.inputs import Dataset

OPTIONS = {"weights": ["random"], "image_size": 64, "device": "cpu"}
NETWORK = "squeezenet1_1"


def draw(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    return folder


def embeddings(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        assert (file["status"][:] == 1).all()
        return file["embeddings"][:]


def one_file(out: Path) -> Path:
    (path,) = out.glob("*.h5")
    return path


@pytest.mark.parametrize("runtime", ["torch", "ncnn"])
def test_rows_stand_with_their_images_whatever_was_read_first(
    tmp_path, monkeypatch, runtime: str
) -> None:
    folder = draw(tmp_path / "images", 40)
    cxrfeat.extract(folder, out=tmp_path / "a", backbone=[NETWORK], runtime=runtime, **OPTIONS)
    original = FileSource.read

    def late(source, limit):
        time.sleep(0.02 * (int(Path(source.path).stem) % 3))
        return original(source, limit)

    monkeypatch.setattr(FileSource, "read", late)
    cxrfeat.extract(
        *(folder,), out=tmp_path / "b", backbone=[NETWORK], runtime=runtime, workers=5,
        batch_size=7, **OPTIONS,
    )  # fmt: skip
    np.testing.assert_array_equal(
        embeddings(one_file(tmp_path / "a")), embeddings(one_file(tmp_path / "b"))
    )


def test_networks_of_both_kinds_share_one_reading(tmp_path, monkeypatch) -> None:
    """One runs side by side, the other, which the converter is said not to take, in batches."""
    from cxrfeat.features.runtimes import kept_conversion, select

    folder = draw(tmp_path / "images", 20)
    both = [NETWORK, "squeezenet1_0"]
    for name in both:
        cxrfeat.extract(folder, out=tmp_path / name, backbone=[name], runtime="torch", **OPTIONS)
    monkeypatch.setenv("CXRFEAT_CACHE", str(tmp_path / "cache"))
    original = select.converted

    def converted(name, module, *rest):
        place, made = original(name, module, *rest)
        if module.get_submodule("features.0").out_channels == 96:  # squeezenet1_0 has more
            made = kept_conversion.Conversion(0, [], {}, {}, "no converter")
        return place, made

    monkeypatch.setattr(select, "converted", converted)
    result = cxrfeat.extract(folder, out=tmp_path / "both", backbone=both, batch_size=6, **OPTIONS)
    assert result.read == 20
    assert any("no converter" in note for note in result.notes)
    assert set(result.steps) >= {"opening", "reading", "writing", *(f.name for f in result.files)}
    for name in both:
        alone = embeddings(one_file(tmp_path / name))
        together = embeddings(tmp_path / "both" / one_file(tmp_path / name).name)
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("runtime", ["torch", "ncnn"])
def test_reading_never_runs_far_ahead_of_writing(tmp_path, monkeypatch, runtime: str) -> None:
    folder = draw(tmp_path / "images", 120)
    lock, read, written, most = threading.Lock(), 0, 0, 0
    original_read, original_write = local_engine._read, drain._write

    def counting(*args):
        nonlocal read, most
        with lock:
            read += 1
            most = max(most, read - written)
        return original_read(*args)

    def slow(target, batch):
        nonlocal written
        time.sleep(0.05)
        original_write(target, batch)
        with lock:
            written += len(batch)

    monkeypatch.setattr(local_engine, "_read", counting)
    monkeypatch.setattr(drain, "_write", slow)
    cxrfeat.extract(
        *(folder,), out=tmp_path / "e", backbone=[NETWORK], runtime=runtime, batch_size=5,
        workers=2, **OPTIONS,
    )  # fmt: skip
    assert written == 120
    # Read ahead: a batch and a reader each; in the networks: three batches; one being written.
    assert most <= 5 + 2 + 2 + 3 * 5 + 5


@pytest.mark.parametrize("runtime", ["torch", "ncnn"])
def test_ctrl_c_keeps_what_is_finished_and_the_next_run_goes_on(tmp_path, runtime: str) -> None:
    folder, out = draw(tmp_path / "images", 1500), tmp_path / "e"
    # A shell's background job, which CI may be, ignores the signal unless told otherwise.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from cxrfeat.cli import main; main()"
    )
    command = [
        *(sys.executable, "-c", code, "extract", str(folder)),
        *("--out", str(out), "--backbone", NETWORK, "--weights", "random", "--image-size", "64"),
        *("--device", "cpu", "--runtime", runtime, "--batch-size", "8", "--json"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while done_rows(out) < 16:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "everything finished is kept" in errors
    assert "Traceback" not in errors
    kept = done_rows(out)
    assert kept >= 16
    result = cxrfeat.extract(folder, out=out, backbone=[NETWORK], runtime=runtime, **OPTIONS)
    assert result.files[0].reused == kept
    assert result.files[0].computed == 1500 - kept


@pytest.mark.parametrize("shown", ["extraction_progress", "fit_progress"])
def test_a_ctrl_c_that_python_lost_stops_with_the_next_piece_of_work(monkeypatch, shown) -> None:
    """Raised in the callback of a weak reference, an exception goes no further."""
    lost = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: lost.append(told.exc_type))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    events = {
        "extraction_progress": drain.Progress(1, 2, 0),
        "fit_progress": FoldDone("vgg16", "1", 1, 2),
    }
    try:
        with getattr(display, shown)() as show:
            show(events[shown])
            thing = type("Thing", (), {})()
            watched = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
            del thing
            assert watched() is None
            assert lost == []  # nothing is printed of it
            with pytest.raises(KeyboardInterrupt):
                show(events[shown])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def done_rows(out: Path) -> int:
    """Count rows while another process writes, without HDF5's lock."""
    paths = list(out.glob("*.h5"))
    if not paths:
        return 0
    try:
        with h5py.File(paths[0], "r", locking=False) as file:
            return int((file["status"][:] == 1).sum())
    except (OSError, KeyError):
        return 0


@pytest.fixture
def handed_over(monkeypatch) -> Callable[[], int]:
    """How much work is handed to threads before the first result is asked for.

    No work is done before that, so that the number does not depend on who is faster.
    """
    submitted, asked = [], threading.Event()
    submit, result = ThreadPoolExecutor.submit, Future.result

    def counting(pool, function, *arguments):
        if not asked.is_set():
            submitted.append(function)
        return submit(pool, lambda: (asked.wait(), function(*arguments))[1])

    def asking(future, timeout=None):
        asked.set()
        return result(future, timeout)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", counting)
    monkeypatch.setattr(Future, "result", asking)
    return lambda: len(submitted)


def test_headers_are_read_ahead_within_bounds(tmp_path, monkeypatch, handed_over) -> None:
    found = Dataset([str(n) for n in range(500)], [tmp_path / str(n) for n in range(500)])
    for id_, path in zip(found.ids, found.paths, strict=True):
        path.write_bytes(bytes(128) + b"DICM" + id_.encode())
    monkeypatch.setattr(
        declared_columns.images,
        "declared_columns",
        lambda file: {"view": file.read()[132:].decode()},
    )
    columns = declared_columns.with_declared_columns(found, workers=2).meta
    assert columns["view"].tolist() == found.ids
    assert 0 < handed_over() * TOGETHER < 100


def test_hashes_are_taken_ahead_within_bounds(tmp_path, monkeypatch, handed_over) -> None:
    found = Dataset([str(n) for n in range(500)], [tmp_path / str(n) for n in range(500)])
    for id_, path in zip(found.ids, found.paths, strict=True):
        path.write_text(id_)
    with store.open_writer(tmp_path / "e.h5", spec={}, dataset=found, dimension=1) as writer:
        rows = np.zeros((500, 1), dtype=np.float32)
        writer.write(found.ids, rows, ["0" * 64] * 500, [(1, 0)] * 500)
    known = KnownImages([tmp_path / "e.h5"], found, sources_of(found), workers=2)
    hashes, stats = changed_images.current_hashes(known, tmp_path / "e.h5.hashed", workers=2)
    assert list(hashes) == list(stats) == found.ids
    assert len(set(hashes.values())) == 500
    assert 0 < handed_over() * TOGETHER < 100
