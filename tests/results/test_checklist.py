from __future__ import annotations

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrfeat.commands.extract import extract
from cxrfeat.commands.fit import fit
from cxrfeat.errors import FileFormatError, InputError
from cxrfeat.reporting.checklist_files import checklist, run_facts
from cxrfeat.results import ChecklistItem, RunFacts, counts, fill_checklist
from cxrfeat.results.checklist import GUIDELINES, read_checklist
from cxrfeat.results.checklist_rules import AUTHOR, answer, look_up, partly
from tests.evaluation.made import blobs, write_file
from tests.results.tracing import untraceable

N = 90


def of(items: list[ChecklistItem], guideline: str, number: str) -> ChecklistItem:
    return next(item for item in items if (item.guideline, item.item) == (guideline, number))


@pytest.fixture
def embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two extractors over the same images of 45 patients, in the current folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "embeddings"
    folder.mkdir()
    X, y = blobs(N, 12, distance=4)
    meta = {
        "group": [f"patient {i // 2}" for i in range(N)],
        "view": ["PA", "AP"] * (N // 2),
        "source": [f"hospital {i // 30}" for i in range(N)],
    }
    write_file(folder / "good.h5", X, y, meta=meta)
    noise = np.random.default_rng(1).normal(size=(N, 8)).astype(np.float32)
    write_file(folder / "blind.h5", noise, y, weights="random", meta=meta)
    return folder


@pytest.fixture(scope="session")
def radiographs_run(
    tmp_path_factory: pytest.TempPathFactory, radiographs: Path, vgg16_weights: Path
) -> Path:
    """A run on 45 real radiographs and a broken one: real VGG16 weights, and a control."""
    base = tmp_path_factory.mktemp("radiographs")
    for folder in sorted((radiographs / "train").iterdir()):
        for image in sorted(folder.iterdir())[:15]:
            target = base / "images" / folder.name / image.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image, target)
    (target.parent / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        extract("images", backbone=["vgg16"], weights=[str(vgg16_weights)], image_size=64)
        extract("images", backbone=["squeezenet1_1"], weights=["random"], image_size=64)
        return base / fit(head=["logreg", "lda", "dummy"], cv=3).run


@pytest.mark.parametrize(
    ("guideline", "numbers", "main"),
    [("CLAIM 2024", 44, 44), ("TRIPOD+AI", 52, 27), ("METRICS", 30, 30)],
)
def test_every_item_of_a_guideline_stands_once_in_its_order(guideline, numbers, main) -> None:
    items = [rule.item for rule in GUIDELINES[guideline]]
    assert len(items) == len(set(items)) == numbers
    plain = [int(re.match(r"\d+", item)[0]) for item in items]  # type: ignore[index]
    assert list(dict.fromkeys(plain)) == list(range(1, main + 1))
    assert items == sorted(items, key=lambda item: (len(re.sub(r"\D", "", item)), item))


def test_of_reforms_stand_the_three_items_on_leakage() -> None:
    assert [rule.item for rule in GUIDELINES["REFORMS"]] == ["6a", "6b", "6c"]


def test_every_value_of_a_run_on_real_radiographs_is_where_its_source_says(
    radiographs_run: Path,
) -> None:
    items = checklist(radiographs_run)
    assert untraceable(items, radiographs_run, radiographs_run.parents[1]) == []
    assert sum(len(item.source.split("; ")) for item in items if item.source) > 200
    assert "failed (codes: truncated 1)" in of(items, "CLAIM 2024", "35").value
    assert "VGG16" not in of(items, "CLAIM 2024", "22").value  # the file's own words
    assert "frozen vgg16, layer features.30" in of(items, "CLAIM 2024", "22").value


def test_a_value_that_is_not_in_its_source_is_noticed(radiographs_run: Path) -> None:
    items = checklist(radiographs_run)
    place = next(i for i, item in enumerate(items) if "45 images" in item.value)
    changed = replace(items[place], value=items[place].value.replace("45 images", "46 images"))
    lost = replace(items[place], source="results.json: options.sed")
    for wrong in (changed, lost):
        assert len(untraceable([wrong], radiographs_run, radiographs_run.parents[1])) == 1


@pytest.mark.slow
def test_every_value_of_a_run_on_the_whole_public_set_is_where_its_source_says(
    tmp_path, monkeypatch, radiographs: Path, vgg16_weights: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    extract(radiographs, backbone=["vgg16"], weights=[str(vgg16_weights)])
    run = fit().run
    items = checklist(run)
    assert untraceable(items, run, tmp_path) == []
    print(counts(items))


@pytest.mark.parametrize(
    "options",
    [
        {"head": ["logreg", "dummy"]},
        {"head": ["logreg"], "combine": ["good+blind"], "calibrate": "sigmoid"},
        {"head": ["xgboost"], "leave_out": "source", "groups": "none"},
        {"head": ["lda"], "cv": 3, "repeats": 2, "learning_curve": True, "prevalence": 0.1},
    ],
    ids=["plain", "combined", "sources", "repeated"],
)
def test_values_are_traceable_whatever_was_asked_for(embeddings: Path, options) -> None:
    run = fit(**options).run
    items = checklist(run)
    assert untraceable(items, run, embeddings.parent) == []


def test_values_of_a_multilabel_run_are_traceable(embeddings: Path) -> None:
    X, y = blobs(N, 12, distance=4)
    labels = np.eye(3, dtype=np.float32)[y]
    labels[:5, 0] = np.nan
    write_file(embeddings / "good.h5", X, labels, kind="multilabel")
    (embeddings / "blind.h5").unlink()
    run = fit(head=["logreg"], cv=3).run
    assert untraceable(checklist(run), run, embeddings.parent) == []


def test_what_only_the_author_knows_is_never_answered(embeddings: Path) -> None:
    items = checklist(fit(head=["logreg"]).run)
    for item in items:
        assert (item.value == "") == (item.source == "") == (item.status == AUTHOR)
    for guideline, numbers in {
        "CLAIM 2024": ["3", "4", "5", "6", "15", "16", "17", "18", "31", "34", "41", "44"],
        "TRIPOD+AI": ["3a", "3b", "3c", "4", "5b", "6c", "8b", "8c", "14", "17", "18a", "18b",
                      "18c", "18d", "18e", "19", "25", "27b", "27c"],
        "METRICS": ["2", "3", "5", "7", "24", "28"],
    }.items():  # fmt: skip
        for number in numbers:
            assert of(items, guideline, number).status == AUTHOR


def test_patients_decide_whether_partitions_are_known_to_be_disjoint(embeddings: Path) -> None:
    known = of(checklist(fit(head=["logreg"]).run), "CLAIM 2024", "20")
    assert known.status == "automatic"
    assert "patients kept together" in known.value
    assert "patients: 45" in known.value
    X, y = blobs(N, 12, distance=4)
    for name in ("good", "blind"):
        write_file(embeddings / f"{name}.h5", X, y)
    unknown = of(checklist(fit(head=["logreg"]).run), "CLAIM 2024", "20")
    assert unknown.status == "partly"
    assert "patients: not known" in unknown.value


def test_an_outside_test_set_is_no_internal_evaluation(embeddings: Path) -> None:
    X, y = blobs(N, 12, distance=4, seed=5)
    outside = embeddings.parent / "outside"
    outside.mkdir()
    write_file(outside / "good.h5", X, y)
    (embeddings / "blind.h5").unlink()
    run = fit(head=["logreg"], test=outside).run
    items = checklist(run)
    assert of(items, "CLAIM 2024", "32").status == AUTHOR
    tested = of(items, "CLAIM 2024", "33")
    assert tested.status == "partly"  # whether it is truly outside only the author knows
    assert "fitted on 90 images, scored on 90" in tested.value
    assert "good (outside test set)" in of(items, "CLAIM 2024", "7").value
    assert untraceable(items, run, embeddings.parent) == []


def test_columns_answer_only_where_they_came_with_the_images(embeddings: Path) -> None:
    items = checklist(fit(head=["logreg"]).run)
    assert of(items, "METRICS", "4").value == "blind, good: distinct sources 3"
    assert of(items, "CLAIM 2024", "13").value == "blind, good: distinct views 2"
    X, y = blobs(N, 12, distance=4)
    for name in ("good", "blind"):
        write_file(embeddings / f"{name}.h5", X, y)
    items = checklist(fit(head=["logreg"]).run)
    assert of(items, "METRICS", "4").status == AUTHOR
    assert of(items, "CLAIM 2024", "13").status == AUTHOR


def test_an_existing_run_says_the_same_with_and_without_its_checklist(embeddings: Path) -> None:
    run = fit(head=["logreg"]).run
    written = checklist(run)
    (run / "checklist.csv").unlink()
    assert checklist(run) == written


def test_without_embedding_files_less_is_answered_and_nothing_is_made_up(embeddings: Path) -> None:
    run = fit(head=["logreg"]).run
    before = counts(checklist(run))
    (run / "checklist.csv").unlink()
    shutil.rmtree(embeddings)
    items = checklist(run)
    assert not any(".h5" in item.source for item in items)
    assert counts(items)["CLAIM 2024"]["author"] > before["CLAIM 2024"]["author"]
    assert untraceable(items, run, embeddings.parent) == []


def test_checklist_csv_has_a_row_per_item_and_reads_back(embeddings: Path) -> None:
    run = fit(head=["logreg"]).run
    with (run / "checklist.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["guideline", "item", "topic", "status", "value", "source"]
    assert len(rows) == 44 + 52 + 30 + 3
    assert read_checklist((run / "checklist.csv").read_text())[0].guideline == "CLAIM 2024"
    with pytest.raises(FileFormatError, match="columns"):
        read_checklist("a,b\n1,2\n")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fit wrote"):
        checklist(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(FileFormatError, match="damaged"):
        checklist(tmp_path)


def test_a_key_that_is_not_there_leaves_its_part_out() -> None:
    facts = RunFacts({"images": 3, "winner": {}})
    rule = partly("1", "topic", "{results: images} images", "{results: patients} patients")
    assert answer(rule, facts) == ("partly", "3 images", ["results.json: images"])
    with pytest.raises(LookupError):
        look_up({"findings": [{"code": "a"}]}, "findings[code=b].message")


def test_a_key_can_ask_for_each_entry_that_says_so() -> None:
    checks = [{"section": s, "answer": a} for s, a in ("xp", "yq", "xr")]
    audit = {"checks": checks}
    assert look_up(audit, "checks[*section=x].answer") == ["p", "r"]
    with pytest.raises(LookupError):
        look_up(audit, "checks[*section=z].answer")
    facts = RunFacts({"winner": {}}, audit=audit)
    rule = partly("1", "topic", "{audit: checks[*section=x].answer}")
    assert answer(rule, facts) == (
        "partly", "p, r", ["audit/audit.json: checks[*section=x].answer"],
    )  # fmt: skip
    assert answer(rule, RunFacts({"winner": {}}))[0] == AUTHOR


def test_the_documented_counts_are_those_of_the_tables() -> None:
    page = (Path(__file__).parents[2] / "docs/checklist.md").read_text(encoding="utf-8")
    for guideline, rules in GUIDELINES.items():
        at_most = [sum(r.status == s for r in rules) for s in ("automatic", "partly", "author")]
        row = " | ".join(str(number) for number in (len(rules), *at_most))
        assert f"| {guideline} | {row} |" in page


def test_facts_of_a_damaged_embedding_file_are_left_out(embeddings: Path) -> None:
    run = fit(head=["logreg"]).run
    (embeddings / "blind.h5").write_bytes(b"nothing")
    import json

    facts = run_facts(run, json.loads((run / "results.json").read_text()))
    assert [file.name for file in facts.embeddings] == ["good"]
    assert fill_checklist(facts)
