"""`cxrfeat audit`: what it opens, what it writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError
from typer.testing import CliRunner

import cxrfeat
from cxrfeat.auditing import audit as auditing
from cxrfeat.auditing.opening import Audited
from cxrfeat.auditing.questions import NOT_SEEN, Questions
from cxrfeat.auditing.steps import Step
from cxrfeat.cli import app
from cxrfeat.commands.audit import audit
from cxrfeat.commands.extract import extract
from cxrfeat.commands.fit import fit
from cxrfeat.commands.report import report
from cxrfeat.errors import FileFormatError, InputError, UnknownNameError
from cxrfeat.evaluation.audit.subject import score
from cxrfeat.images.drawing import phantom
from cxrfeat.reporting.checklist_files import checklist
from cxrfeat.results import FitResult
from cxrfeat.results.audit import Section, Verdict
from cxrfeat.tables import read_table
from tests.auditing.made import HEADLINE, made_up_steps
from tests.evaluation.made import blobs, write_file
from tests.pages.made import hashes, pixels_as_embeddings
from tests.results.tracing import untraceable

SCHEMA = Path(__file__).parents[2] / "docs/audit.schema.json"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Audited]:
    """Audits with made-up answers; what they were asked about."""
    seen: list[Audited] = []

    def noted(questions: Questions) -> list[Step]:
        seen.append(questions.audited)
        return made_up_steps(questions)

    monkeypatch.setattr(auditing, "steps_of", noted)
    monkeypatch.setattr("cxrfeat.pages.png", lambda svg: b"")
    return seen


@pytest.fixture
def home(run_with_pictures: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images, embeddings and the run ``runs/ward-7``, in a folder of their own."""
    shutil.copytree(run_with_pictures.run.parents[1], tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


RUN = Path("runs/ward-7")


def test_an_audit_lies_in_its_run_and_takes_its_folds_head_metric_and_winner(
    home: Path, opened: list[Audited]
) -> None:
    found = audit(run=RUN)
    (asked,) = opened
    assert found.headline == HEADLINE
    results = json.loads((RUN / "results.json").read_text())
    splits = json.loads((RUN / "splits.json").read_text())
    winner = results["winner"]
    assert (found.head, asked.extractor) == (winner["head"], winner["extractor"])
    assert (found.metric, found.folds) == (results["metric"], results["folds"])
    assert found.patients == results["patients"] == 30
    design = asked.subject.design
    assert [fold.test.tolist() for fold in design.folds] == [f["test"] for f in splits["folds"]]
    assert asked.subject.study.ids == splits["ids"]
    assert {Path(path).parent for path in found.files.values()} == {RUN / "audit"}
    assert all(Path(path).is_file() for path in found.files.values())
    assert json.loads((RUN / "audit/audit.json").read_text()) == found_again(found.as_json())


def found_again(document: dict) -> dict:
    return json.loads(json.dumps(document))


def test_what_is_scored_is_scored_as_the_run_was(home: Path, opened: list[Audited]) -> None:
    audit(run=RUN, seed=3)
    subject = opened[0].subject
    first = subject.study.extractors[0]
    again = score(subject, {first.name: first.X}).extractors[0]
    results = json.loads((RUN / "results.json").read_text())
    ranked = {(row["extractor"], row["head"]): row for row in results["ranking"]}
    assert again.mean == pytest.approx(
        ranked[first.name, subject.head.name]["mean"][results["metric"]], abs=1e-9
    )


def test_labels_are_those_of_the_run(home: Path, opened: list[Audited]) -> None:
    run = fit("embeddings", head=["lda"], positive="clear", out="runs/other", report=False).run
    found = audit(run=run, images="images")
    assert found.classes == json.loads((run / "results.json").read_text())["classes"]
    assert len(found.classes) == 2


def test_labels_of_a_run_are_those_of_its_table_as_it_was(
    home: Path, opened: list[Audited]
) -> None:
    ids = cxrfeat.load("embeddings/pixels.h5").ids
    rows = [f"{id_},{'ab'[place % 2]}" for place, id_ in enumerate(ids)]
    Path("again.csv").write_text("\n".join(["path,label", *rows]))
    run = fit("embeddings", head=["lda"], labels="again.csv", out="runs/other", report=False).run
    assert audit(run=run, images="images").classes == ["a", "b"]
    Path("again.csv").write_text("\n".join(["path,label", *rows[::-1]]))
    with pytest.raises(InputError, match=r"again.csv has changed since runs/other took its labels"):
        audit(run=run, images="images", out="elsewhere")


def test_without_a_run_folds_are_drawn_and_the_first_that_learned_is_extracted(
    home: Path, opened: list[Audited]
) -> None:
    found = audit("embeddings", images="images", head="lda", metric="accuracy")
    assert (found.head, found.metric, found.run) == ("lda", "accuracy", "")
    assert found.extractors == ["pixels", "blind"]  # random weights last
    assert opened[0].source == "source"
    assert opened[0].attributes == ["source"]  # neither patients nor the split
    assert Path("audit/audit.html").is_file()


def test_the_files_follow_the_published_schema(home: Path, opened: list[Audited]) -> None:
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    for options in ({"run": RUN}, {"embeddings": "embeddings", "out": "alone"}):
        document = json.loads(Path(audit(**options).files["audit.json"]).read_text())
        assert [error.message for error in validator.iter_errors(document)] == []
        with pytest.raises(ValidationError):
            validator.validate(document | {"headline": 7})
        with pytest.raises(ValidationError):
            validator.validate(document | {"unknown": 1})


def test_page_checklist_and_model_card_of_the_run_mention_its_audit(
    home: Path, opened: list[Audited]
) -> None:
    before = (RUN / "checklist.csv").read_text()
    found = audit(run=RUN)
    assert found.notes == opened[0].notes
    page = (RUN / "report.html").read_text(encoding="utf-8")
    assert found.headline in page
    assert 'href="audit/audit.html"' in page
    assert 'href="../report.html"' in Path(found.files["audit.html"]).read_text(encoding="utf-8")
    assert found.headline in (RUN / "model_card.md").read_text(encoding="utf-8")
    items = {(item.guideline, item.item): item for item in checklist(RUN)}
    assert (RUN / "checklist.csv").read_text() != before
    for key in (("CLAIM 2024", "30"), ("CLAIM 2024", "40"), ("REFORMS", "6c")):
        assert found.headline in items[key].value
        assert "audit/audit.json: headline" in items[key].source
    copies = next(check.answer for check in found.checks if check.code == "identical-bytes")
    for key in (("CLAIM 2024", "20"), ("REFORMS", "6b")):
        assert copies in items[key].value
    assert untraceable(list(items.values()), RUN, home) == []


def test_a_checklist_that_somebody_filled_in_stays_as_it_is(
    home: Path, opened: list[Audited]
) -> None:
    edited = (RUN / "checklist.csv").read_text().replace("partly", "done", 1)
    (RUN / "checklist.csv").write_text(edited)
    found = audit(run=RUN)
    assert (RUN / "checklist.csv").read_text() == edited
    assert any("checklist.csv was changed since fit wrote it" in note for note in found.notes)
    assert found.headline in (RUN / "model_card.md").read_text()


def test_a_page_without_ids_stays_without_them(home: Path, opened: list[Audited]) -> None:
    report(RUN, hash_ids=True)
    hashed = (RUN / "report.html").read_text(encoding="utf-8")
    found = audit(run=RUN)
    assert (RUN / "report.html").read_text(encoding="utf-8") == hashed
    assert any("made without ids" in note for note in found.notes)
    page = report(RUN, hash_ids=True, out="sent/out.html").page.read_text(encoding="utf-8")
    assert found.headline in page
    assert "synthetic-" not in page
    assert "audit.html" not in page


def test_what_is_there_is_not_written_over(home: Path, opened: list[Audited]) -> None:
    audit(run=RUN)
    with pytest.raises(InputError, match="exists already: give another --out, or delete it"):
        audit(run=RUN)
    assert not (RUN / ".audit.partial").exists()
    assert len(opened) == 1  # refused before the work
    elsewhere = audit(run=RUN, out="second")
    assert any("mention an audit in runs/ward-7/audit alone" in note for note in elsewhere.notes)


def test_an_audit_that_fails_leaves_nothing_behind(
    home: Path, opened: list[Audited], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(questions: Questions) -> list[Step]:
        raise ZeroDivisionError

    monkeypatch.setattr(auditing, "steps_of", broken)
    before = sorted(Path().rglob("*"))
    with pytest.raises(ZeroDivisionError):
        audit("embeddings", images="images")
    assert sorted(Path().rglob("*")) == before


def test_without_the_extra_everything_but_the_page_is_written(
    home: Path, opened: list[Audited], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrfeat.pages.vega.find_spec", lambda name: None)
    found = audit("embeddings", images="images")
    assert "audit.html" not in found.files
    assert any("pip install 'cxrfeat[report]'" in note for note in found.notes)
    assert json.loads(Path("audit/audit.json").read_text())["notes"] == found.notes


def test_wrong_input_is_one_line_with_the_mend(home: Path, opened: list[Audited]) -> None:
    X, y = blobs(30, 4, distance=4)
    for name in ("empty", "other", "same", "few"):
        Path(name).mkdir()
    shutil.copyfile(next(Path("images").rglob("*.png")), "few/another.png")
    write_file(Path("unlabelled.h5"), X, None)
    write_file(Path("other/pixels.h5"), X, y, weights="other")
    write_file(Path("same/pixels.h5"), X, y)
    write_file(Path("third.h5"), X, y)
    for options, kind, words in [
        (
            {"embeddings": "unlabelled.h5"},
            InputError,
            "has no labels: .*extract with class folders",
        ),
        ({"embeddings": "third.h5"}, InputError, "were not found.*--images FOLDER"),
        ({"images": "empty"}, InputError, "no images in 'empty'"),
        ({"images": "nowhere"}, InputError, "nowhere"),
        ({"images": "embeddings"}, InputError, "no images in 'embeddings'"),
        ({"images": "few"}, InputError, "none of the 60 images is there.*--images"),
        ({"run": RUN, "embeddings": "other"}, InputError, "'pixels' is made in another way"),
        ({"run": RUN, "embeddings": "same"}, InputError, "was of other images"),
        ({"run": RUN, "embeddings": "third.h5"}, InputError, "'third' is not among those"),
        ({"run": "embeddings"}, InputError, "give a folder that cxrfeat fit wrote"),
        ({"run": "nowhere"}, InputError, "no run in nowhere"),
        ({"source": "hospital"}, UnknownNameError, "unknown column 'hospital'"),
        ({"attribute": ["sex"]}, UnknownNameError, "unknown column 'sex'"),
        ({"head": "logrek"}, UnknownNameError, "logreg"),
        ({"metric": "auc"}, UnknownNameError, "auc"),
        ({"jobs": 0}, InputError, "--jobs 0"),
    ]:
        with pytest.raises(kind, match=words) as raised:
            audit(**options)  # type: ignore[arg-type]
        assert "\n" not in str(raised.value)
        assert not Path("audit").exists()
    assert opened == []


def test_a_run_with_an_outside_set_is_refused(home: Path, opened: list[Audited]) -> None:
    X, y = blobs(60, 6, distance=4)
    for name in ("in", "out"):
        Path(name).mkdir()
        write_file(Path(name) / "pixels.h5", X, y)
    run = fit("in", test="out", head=["lda"], out="outside", report=False).run
    with pytest.raises(InputError, match="leave --run out"):
        audit(run=run)


def test_a_damaged_audit_is_said_and_not_passed_over(home: Path, opened: list[Audited]) -> None:
    found = audit(run=RUN)
    Path(found.files["audit.json"]).write_text('{"format": "other"}')
    with pytest.raises(FileFormatError, match="delete it and audit again"):
        report(RUN)


def test_the_command_line_ends_with_0_whatever_is_found(home: Path, opened: list[Audited]) -> None:
    done = CliRunner().invoke(app, ["audit", "--run", str(RUN), "--images", "images"])
    assert done.exit_code == 0, done.output
    for words in (
        "the outer frame reaches 84 %", "found", "not found", "could not be tested",
        "identical-bytes", "To read: runs/ward-7/audit/audit.html", "not for diagnosis",
        "1 of 1: everything",
    ):  # fmt: skip
        assert words in done.output
    assert "copies encoded again" not in done.output
    full = CliRunner().invoke(app, ["audit", "embeddings", "--out", "full", "--full"])
    assert "planted: 16 copies encoded again" in full.output
    assert "could have seen: every pair of equal files" in full.output
    wrong = CliRunner().invoke(app, ["audit", "embeddings", "--images", "nowhere"])
    assert wrong.exit_code == 2
    assert wrong.output.startswith("error: ")
    assert "nowhere" in wrong.output


def test_json_is_what_the_file_holds(home: Path, opened: list[Audited]) -> None:
    done = CliRunner().invoke(app, ["audit", "embeddings", "--json"])
    document = json.loads(done.stdout)
    assert document == json.loads(Path("audit/audit.json").read_text())
    assert np.isclose(document["checks"][0]["figures"][0]["value"], 0.84)


@pytest.fixture
def with_a_copy(home: Path) -> Path:
    """The synthetic radiographs and one of them again, in an embedding file of their own."""
    images = home / "images"
    of_all = read_table(images / "labels.csv")
    ids, names = [*of_all["path"], "copy.png"], list(phantom.CLASSES)
    shutil.copyfile(images / ids[0], images / "copy.png")
    y = np.array([names.index(label) for label in [*of_all["label"], of_all["label"][0]]])
    source = ["A" if k % 3 else "B" for k in range(len(ids))]
    Path("one").mkdir()
    write_file(
        Path("one/pixels.h5"), pixels_as_embeddings(images, ids), y, ids=ids, classes=names,
        meta={"source": source}, sha=hashes(images, ids),
    )  # fmt: skip
    return Path("one")


def test_every_part_is_asked_and_without_its_network_nothing_is_extracted(
    with_a_copy: Path,
) -> None:
    """Nothing is made up here. No network makes these embeddings: they are the pixels."""
    found = audit(with_a_copy, images="images", head="lda")
    codes = {check.code: check for check in found.checks}
    assert {check.section for check in found.checks} == set(Section)
    assert codes["controls-through-network"].verdict is Verdict.UNTESTED
    assert "nothing was extracted anew" in codes["controls-through-network"].answer
    assert codes["attribute:source"].verdict is not Verdict.UNTESTED
    assert found.headline.startswith("Without seeing the lungs, ")
    pairs = [c.ids for c in codes["identical-bytes"].candidates]
    assert [set(pair) for pair in pairs] == [{"copy.png", first_id(with_a_copy)}]
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    document = json.loads(Path("audit/audit.json").read_text())
    assert [error.message for error in validator.iter_errors(document)] == []


@pytest.mark.parametrize("left", [0, 1, 3])
def test_pictures_that_are_no_longer_those_of_the_embeddings_cost_what_is_asked_of_pictures(
    with_a_copy: Path, left: int
) -> None:
    """As where --images names the collection in another size: what embeddings say is still said."""
    for path in sorted(Path("images").rglob("*.png"))[left:]:
        path.write_bytes(path.read_bytes() + b"\n")
    found = audit(with_a_copy, images="images", head="lda")
    codes = {check.code: check for check in found.checks}
    controls = codes["controls-no-lungs:pixels"]
    assert controls.verdict is Verdict.UNTESTED
    assert f"{left} of " in controls.answer
    assert "too few" in controls.answer
    assert codes["attribute:source"].verdict is not Verdict.UNTESTED
    assert codes["near-copies"].verdict is not Verdict.UNTESTED
    assert found.headline == NOT_SEEN
    assert any("are no longer what was extracted" in note for note in found.notes)


def first_id(folder: Path) -> str:
    with cxrfeat.load(folder / "pixels.h5") as file:
        return str(file.ids[0])


def test_real_dicom_of_every_kind_are_audited_with_a_network(
    real_dicom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = sorted(path.name for path in real_dicom.iterdir())
    table = "path,label\n" + "".join(f"{name},{'ab'[k % 2]}\n" for k, name in enumerate(names))
    Path("labels.csv").write_text(table)
    extract(
        real_dicom, labels="labels.csv", backbone=["squeezenet1_1"], weights=["random"],
        image_size=64, modality=["any"], frame=0,
    )  # fmt: skip
    found = audit(images=real_dicom, head="lda")
    assert found.images >= 10
    ladder = next(c for c in found.checks if c.code.startswith("controls-no-lungs")).tables[0]
    rungs = [str(row[0]) for row in ladder.rows]
    assert "outer frame through squeezenet1_1-random-64" in rungs
    assert "file metadata" in rungs
    assert Path("audit/audit.html").is_file()
