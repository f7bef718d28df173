"""`cxrfeat report`: what it needs, what it leaves out, and what may leave the house."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cxrfeat
from cxrfeat.commands.fit import fit
from cxrfeat.commands.report import report
from cxrfeat.errors import FileFormatError, InputError, MissingExtraError
from cxrfeat.evaluation.outcome.saved_run import read_run
from cxrfeat.results import FitResult
from cxrfeat.tables import read_table
from tests.evaluation.made import blobs, write_file
from tests.pages.test_page import map_points, page_data


@pytest.fixture(autouse=True)
def no_png(run_with_pictures: FitResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are looked at in tests/pages; drawing them takes most of the time."""
    monkeypatch.setattr("cxrfeat.pages.png", lambda svg: b"")


@pytest.fixture
def home(run_with_pictures: FitResult, tmp_path: Path) -> Path:
    """Images, embeddings and a run, in a folder of their own."""
    shutil.copytree(run_with_pictures.run.parents[1], tmp_path / "home")
    return tmp_path / "home"


def test_fit_writes_the_page_and_report_writes_it_again(home: Path) -> None:
    run = home / "runs" / "ward-7"
    before = (run / "report.html").read_text(encoding="utf-8")
    made = report(run)
    assert made.page == run / "report.html"
    assert made.thumbnails == 60
    assert made.notes == []
    assert made.bytes == made.page.stat().st_size
    assert made.page.read_text(encoding="utf-8") == before


def test_fit_can_leave_the_page_out(home: Path) -> None:
    result = fit(home / "embeddings", head=["dummy"], out=home / "plain", report=False)
    assert not (result.run / "report.html").exists()
    assert not (result.run / "figures").exists()
    assert "report.html" not in result.files


def test_without_the_extra_fit_keeps_its_scores_and_says_how_to_get_the_page(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrfeat.pages.vega.find_spec", lambda name: None)
    result = fit(home / "embeddings", head=["dummy"], out=home / "plain")
    assert (result.run / "results.json").exists()
    (note,) = [note for note in result.notes if "report.html" in note]
    assert "pip install 'cxrfeat[report]'" in note
    assert f"cxrfeat report {result.run}" in note
    with pytest.raises(MissingExtraError, match=r"cxrfeat\[report\]"):
        report(result.run)


IDENTIFYING = ("synthetic-", ".png", "St Elsewhere", "County General", "PATIENT-")


def everything_written(folder: Path) -> str:
    files = [folder / "out.html", *(folder / "figures").glob("*.svg")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_a_page_that_may_leave_the_house_names_nobody_and_no_place(home: Path) -> None:
    run = home / "runs" / "ward-7"
    # A run that says ids aloud, and whose name and options hold places.
    document = json.loads((run / "results.json").read_text())
    ids = read_run(run).ids
    document["findings"].append(
        {"code": "duplicates-across-folds", "message": f"e.g. {ids[3]} = {ids[40]}", "detail": {}}
    )
    document["options"] |= {"splits": f"{home}/splits.json", "leave_out": "source"}
    document["folds"] = "each source left out in turn (County General, St Elsewhere)"
    (run / "results.json").write_text(json.dumps(document))
    (run / "checklist.csv").unlink()
    plain = report(run, out=home / "plain" / "out.html")
    text = everything_written(plain.page.parent)
    for word in (*IDENTIFYING[:4], ids[3], str(home)):
        assert word in text, word

    made = report(run, out=home / "hashed" / "out.html", hash_ids=True)
    text = everything_written(made.page.parent)
    assert made.thumbnails == 0
    assert '"jpeg":""' in text
    own = text.replace(vega_library(), "")
    patients = read_table(home / "images" / "labels.csv")["patient"]
    for word in (*IDENTIFYING, *ids, *patients, str(home), home.parent.name, "ward-7", "runs/"):
        assert word not in own, word
    assert "Research use only" in text
    assert "cxrfeat fit EMBEDDINGS --head logreg" in text
    assert "--leave-out source" in text
    assert "--splits SPLITS" in text


def vega_library() -> str:
    from cxrfeat.pages.vega import library

    return library()


def test_what_stands_for_an_id_is_kept_in_the_house_and_differs_from_page_to_page(
    home: Path,
) -> None:
    run = home / "runs" / "ward-7"
    names = []
    for folder in ("one", "two"):
        made = report(run, out=home / folder / "out.html", hash_ids=True)
        table = read_table(made.page.with_name("out-ids.csv"))
        assert sorted(table["id"]) == sorted(read_run(run).ids)
        on_page = {picture["name"] for picture in page_data(made.page.read_text())["pictures"]}
        assert on_page == set(table["name"])
        assert len(on_page) == 60
        names.append(on_page)
    assert not names[0] & names[1]


def test_radiographs_go_along_only_when_they_are_asked_for(home: Path) -> None:
    run = home / "runs" / "ward-7"
    out = home / "out.html"
    assert report(run, out=out, no_images=True).thumbnails == 0
    assert "synthetic-" in out.read_text()
    assert report(run, out=out, hash_ids=True, images=home / "images").thumbnails == 60
    assert "synthetic-" not in out.read_text()


def test_radiographs_that_are_gone_leave_a_page_that_says_so(home: Path) -> None:
    shutil.rmtree(home / "images")
    made = report(home / "runs" / "ward-7", out=home / "out.html")
    assert made.thumbnails == 0
    (note,) = made.notes
    assert "--images FOLDER" in note
    assert note in made.page.read_text()
    with pytest.raises(InputError, match="no such folder"):
        report(home / "runs" / "ward-7", images=home / "images")


def test_another_radiograph_under_the_same_name_is_not_shown(home: Path) -> None:
    first, second = read_run(home / "runs" / "ward-7").ids[:2]
    shutil.copy(home / "images" / first, home / "images" / second)
    made = report(home / "runs" / "ward-7", out=home / "out.html")
    assert made.thumbnails == 59
    assert made.notes == ["1 images without thumbnail: no longer what was extracted"]


def test_thumbnails_are_as_many_as_the_page_has_room_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = home / "runs" / "ward-7", home / "out.html"
    whole = report(run, out=out)
    bare = report(run, out=out, no_images=True)
    monkeypatch.setattr("cxrfeat.reporting.run_page.LARGEST", (whole.bytes + bare.bytes) // 2)
    made = report(run, out=out)
    assert 20 < made.thumbnails < 40
    assert bare.bytes < made.bytes < whole.bytes
    (note,) = made.notes
    assert note == (
        f"thumbnails of {made.thumbnails} of 60 images, drawn at random: more would make the page"
        " too large"
    )
    # Images of the galleries come first, the others from anywhere.
    text = made.page.read_text()
    data = page_data(text)
    in_galleries = {int(number) for number in re.findall(r'data-picture="(\d+)"', text)}
    shown = [number for number, picture in enumerate(data["pictures"]) if picture["jpeg"]]
    assert in_galleries <= set(shown)
    assert max(shown) > 45
    monkeypatch.setattr("cxrfeat.reporting.run_page.LARGEST", bare.bytes - 1000)
    none = report(run, out=out)
    assert none.thumbnails == 0
    assert none.bytes < bare.bytes + 200


def test_the_directions_of_a_large_map_are_those_of_a_sample(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = home / "runs" / "ward-7"
    before = map_points(page_data((run / "report.html").read_text()))
    monkeypatch.setattr("cxrfeat.evaluation.outcome.principal_plane.NUMBERS", 40 * 144)
    made = report(run, no_images=True)
    (note,) = [note for note in made.notes if "directions" in note]
    assert note == "the directions of maps are those of images drawn at random: 40 for pixels"
    text = made.page.read_text()
    assert note in text
    assert "directions from 40 images, drawn at random" in text
    after = map_points(page_data(text))
    for axis in ("x", "y"):
        pair = [[point[axis] for point in points] for points in (before, after)]
        assert abs(np.corrcoef(pair)[0, 1]) > 0.9


def test_embeddings_that_are_gone_cost_the_map_and_nothing_else(home: Path) -> None:
    (home / "embeddings" / "blind.h5").unlink()
    made = report(home / "runs" / "ward-7", out=home / "out.html", images=home / "images")
    data = page_data(made.page.read_text())
    assert [plane["name"].split()[0] for plane in data["planes"]] == ["pixels"]
    assert any("embedding file of blind is gone" in note for note in made.notes)
    X, y = blobs(60, 4, distance=3)
    write_file(home / "embeddings" / "pixels.h5", X, y, weights="others")
    made = report(home / "runs" / "ward-7", out=home / "out.html")
    data = page_data(made.page.read_text())
    assert data["planes"] == []
    assert "map-class" not in data["charts"]
    assert {"roc", "precision-recall", "confusion"} <= set(data["charts"])
    assert any("made anew in another way" in note for note in made.notes)


def test_the_folder_can_be_carried_elsewhere(home: Path, tmp_path: Path) -> None:
    home.rename(tmp_path / "elsewhere")
    made = report(tmp_path / "elsewhere" / "runs" / "ward-7")
    assert made.thumbnails == 60
    assert made.notes == []


def test_several_labels_per_image_with_unknown_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    X, y = blobs(120, 10, distance=3)
    labels = np.stack([y == 0, y != 2], axis=1).astype(np.float32)
    labels[::7, 1] = np.nan
    write_file(Path("good.h5"), X, labels, classes=["Mass", "Effusion"], kind="multilabel")
    result = fit("good.h5", head=["logreg"], out="run")
    saved = read_run(result.run)
    np.testing.assert_array_equal(saved.truth, labels)
    data = page_data((result.run / "report.html").read_text())
    assert "confusion" not in data["charts"]
    roc = data["charts"]["roc"]["spec"]["data"]["values"]
    assert {row["class"] for row in roc} == {"Mass", "Effusion"}
    assert {"none", "Mass|Effusion"} <= {picture["label"] for picture in data["pictures"]}


def test_an_outside_test_set_has_its_radiographs_and_its_points(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "outside").mkdir()
    shutil.copytree(home / "images", home / "outside" / "pictures")
    shutil.copy(home / "embeddings" / "pixels.h5", home / "outside" / "pixels.h5")
    result = fit(
        home / "embeddings" / "pixels.h5", test=home / "outside" / "pixels.h5", head=["lda"],
        groups="none", out=home / "run", images=[home / "images", home / "outside" / "pictures"],
    )  # fmt: skip
    data = page_data((result.run / "report.html").read_text())
    assert len(map_points(data)) == 120
    assert sum(bool(picture["jpeg"]) for picture in data["pictures"]) == 120
    tested = [data["texts"][word] != "" for word in data["planes"][0]["predicted"]]
    names = [picture["name"] for picture in data["pictures"]]
    assert tested == [name.startswith("test:") for name in names]
    text = (result.run / "report.html").read_text()
    assert "--test" in text
    assert "<b>120</b> images found" in text


def test_extractors_side_by_side_have_a_map_too(home: Path) -> None:
    result = fit(home / "embeddings", head=["lda"], combine=["pixels+blind"], out=home / "run")
    data = page_data((result.run / "report.html").read_text())
    names = {plane["name"].split()[0] for plane in data["planes"]}
    assert names == {"pixels", "blind", "pixels+blind"}


def test_the_data_flow_counts_what_failed(home: Path) -> None:
    X, y = blobs(90, 10, distance=4)
    path = write_file(home / "part.h5", X, y, pending=[f"{i:04d}.png" for i in range(5)])
    result = fit(path, head=["lda"], out=home / "run")
    text = (result.run / "report.html").read_text()
    for step in (
        "<b>90</b> images found", "<b>5</b> not come to", "<b>85</b> images used",
        "<b>?</b> patients: no patient column",
    ):  # fmt: skip
        assert step in text
    (entry,) = json.loads((result.run / "results.json").read_text())["embeddings"]
    assert (entry["rows"], entry["done"], entry["pending"]) == (90, 85, 5)
    assert (result.run / entry["path"]).resolve() == path.resolve()


def test_the_map_of_a_large_run_has_the_true_shares_of_classes_and_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrfeat.reporting.page_content.MAP_IMAGES", 60)
    X, y = blobs(300, 6, distance=1.2, n_classes=2)
    file = write_file(tmp_path / "hard.h5", X, y, classes=["a", "b"])
    result = fit(file, head=["lda"], out=tmp_path / "run")
    table = read_table(result.run / "predictions.csv")
    wrong = np.mean(np.array(table["label"]) != np.array(table["predicted"]))
    assert 0.2 < wrong < 0.4  # more errors than points
    text = (result.run / "report.html").read_text()
    points = map_points(page_data(text))
    assert 60 <= len(points) <= 64
    assert sum(point["error"] == "wrong" for point in points) == pytest.approx(60 * wrong, abs=4)
    assert sum(point["label"] == "a" for point in points) == pytest.approx(30, abs=4)
    again = report(result.run, out=tmp_path / "again.html")
    assert map_points(page_data(again.page.read_text())) == points
    (note,) = [note for note in again.notes if "the map shows" in note]
    assert note.startswith(f"the map shows {len(points)} of 300 images, drawn at random")
    assert f"{len(points)} of 300 images are points, drawn at random" in text


def test_images_stand_in_one_gallery_where_there_is_one_extractor(home: Path) -> None:
    X, y = blobs(120, 6, distance=1.2)
    one = write_file(home / "one.h5", X, y)
    other = write_file(home / "other.h5", X + np.random.default_rng(0).normal(size=X.shape), y)
    blind = write_file(home / "blind.h5", X[::-1], y, weights="random-seed-0")
    for number, (files, titles) in enumerate([
        ([one, blind], ["Hardest images"]),
        ([one, other], ["Hardest images", "Most confidently wrong"]),
    ]):  # fmt: skip
        result = fit(files, head=["lda"], out=home / f"run{number}")
        text = (result.run / "report.html").read_text()
        assert re.findall(r'<h3>([^<]*)</h3>\n<p>[^<]*</p>\n<ul class="gallery">', text) == titles


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda run: shutil.rmtree(run), InputError, "give a folder that cxrfeat fit wrote"),
        (lambda run: (run / "results.json").unlink(), InputError, "results.json cannot be read"),
        (lambda run: (run / "results.json").write_text("{"), FileFormatError, "damaged"),
        (lambda run: (run / "results.json").write_text("[]"), FileFormatError, "not a JSON object"),
        (lambda run: (run / "results.json").write_text("{}"), FileFormatError, "not of format"),
        (lambda run: (run / "predictions.csv").unlink(), InputError, "predictions.csv"),
        (
            lambda run: (run / "predictions.csv").write_text("id,fold\nx,fold 1\n"),
            FileFormatError,
            "do not belong together or are damaged",
        ),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(home: Path, spoil, error, message) -> None:  # type: ignore[no-untyped-def]
    run = home / "runs" / "ward-7"
    spoil(run)
    with pytest.raises(error, match=message) as caught:
        report(run)
    assert "\n" not in str(caught.value)


def test_the_command_prints_where_the_page_is(home: Path) -> None:
    command = [sys.executable, "-c", "from cxrfeat.cli import main; main()", "report"]
    done = subprocess.run(
        [*command, "runs/ward-7", "--no-images"], cwd=home, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "runs/ward-7/report.html" in done.stdout
    assert "For research only" in done.stdout
    wrong = subprocess.run([*command, "nowhere"], cwd=home, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    assert cxrfeat.report is report
