"""An attribute is found where the score comes from it, and not where it means nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxrfeat.errors import UnknownNameError
from cxrfeat.evaluation.audit import attribute_control, attributes, planting
from cxrfeat.evaluation.audit.attributes import attribute_checks
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.study.design import Asked, plan_comparison
from cxrfeat.results.audit import Check, Section, Verdict
from tests.benchmark import benchmark

simulated = benchmark("audit_confounders")
made, value = simulated.made, simulated.value


def asked(subject: Subject, *names: str, **columns: np.ndarray) -> list[Check]:
    given = {name: subject.study.meta[name] for name in names}
    return attribute_checks(subject, "made", {**given, **columns}, control=False)


def test_a_stronger_tie_leaves_more_score_and_is_found() -> None:
    drawn = [simulated.draw(made(strength, seed=2, head="lda")) for strength in (0, 0.4, 0.8, 1.0)]
    lefts = [one.left for one in drawn]
    assert lefts == sorted(lefts)
    assert abs(lefts[0]) < 0.25
    assert lefts[3] == pytest.approx(1.0)
    assert [one.site.verdict for one in drawn] == [
        Verdict.NOT_FOUND, Verdict.FOUND, Verdict.FOUND, Verdict.UNTESTED,
    ]  # fmt: skip
    assert all(one.dice.verdict is Verdict.NOT_FOUND for one in drawn)
    assert "cannot be identified" in drawn[3].site.answer.lower()


def test_what_the_embeddings_do_not_show_is_not_found_though_it_goes_with_the_class() -> None:
    (check,) = asked(made(0.6, 0.0, seed=1, head="lda"), "site")
    assert check.verdict is Verdict.NOT_FOUND
    assert value(check, "p that labels") == 1 / 2000
    assert value(check, "p that predictions") > 0.01
    assert value(check, "the label by site alone") > 0.75
    assert "no proof" in check.answer


def test_the_figures_are_those_of_the_study() -> None:
    subject = made(0.6, seed=1, head="lda")
    (check,) = asked(subject, "site")
    assert check.section is Section.ATTRIBUTES
    assert check.figures[0].name.startswith("share of the predictions' spread within a class")
    low, high = check.figures[0].interval
    assert 0 <= low < check.figures[0].value < high
    assert 0 < check.detectable < check.figures[0].value
    assert value(check, "of site by guessing") == 0.5
    assert value(check, "of site by made") > 0.95
    y, site = subject.study.y, subject.study.meta["site"]
    table = check.tables[0]
    assert table.columns[1:-1] == sorted(set(site), key=lambda s: (-len(patients(subject, s)), s))
    for k, row in enumerate(table.rows):
        assert row[1:-1] == [int(np.sum((y == k) & (site == one))) for one in table.columns[1:-1]]


def patients(subject: Subject, site: str) -> set[str]:
    return set(subject.study.meta["group"][subject.study.meta["site"] == site])


def test_unknown_values_and_numbers_are_asked_about_where_they_are_known() -> None:
    subject = made(0.0, seed=4, head="lda")
    site = subject.study.meta["site"].copy()
    site[::5] = ""
    age = np.where(subject.study.y == 0, 20.0, 60.0) + np.arange(300) % 30
    age[::7] = np.nan
    for_site, for_age = asked(subject, site=site, age=age)
    assert "60 images without a value are left out" in for_site.answer
    assert "cut into 4 parts" in for_age.answer
    assert value(for_age, "the label by age alone") > 0.6


@pytest.mark.parametrize(
    "column", [["one"] * 300, [""] * 300, [f"{number}" for number in range(300)]]
)
def test_a_column_without_two_levels_of_enough_patients_could_not_be_tested(
    column: list[str],
) -> None:
    (check,) = asked(made(0.0, head="lda"), column=np.array(column))
    assert check.verdict is Verdict.UNTESTED
    assert "two with 10" in check.answer


def test_an_attribute_that_is_known_of_one_class_only_could_not_be_tested() -> None:
    subject = made(0.0, head="lda")
    site = np.where(subject.study.y == 1, subject.study.meta["site"], "")
    (check,) = asked(subject, site=site)
    assert check.verdict is Verdict.UNTESTED


def test_labels_that_do_not_exclude_each_other() -> None:
    subject = made(0.0, seed=5, head="lda")
    random = np.random.default_rng(0)
    labels = (random.random((300, 2)) < 0.4).astype(np.float32)
    labels[random.random((300, 2)) < 0.1] = np.nan
    tied = np.where(
        random.random(300) < 0.7, np.nan_to_num(labels[:, 0]), random.integers(0, 2, 300)
    )
    X = random.normal(size=(300, 20)).astype(np.float32)
    X[:, :2] += np.nan_to_num(labels)
    X[:, 5] += 3 * tied
    study = replace(
        subject.study, labels=labels, kind="multilabel", classes=["a", "b"],
        extractors=[replace(subject.study.extractors[0], X=X)],
    )  # fmt: skip
    study, design = plan_comparison(study, Asked(cv=4))
    subject = replace(subject, study=study, design=design)
    mark = np.where(tied == 1, "marked", "plain")
    found, dice = asked(subject, "dice", mark=mark)[::-1]
    assert found.verdict is Verdict.FOUND
    assert found.remedy
    assert dice.verdict is Verdict.NOT_FOUND
    assert value(found, "left on labels shuffled") > value(dice, "left on labels shuffled") + 0.05


def test_what_means_nothing_is_not_found_and_what_is_planted_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planting, "STRENGTHS", (0.0, 0.8))
    monkeypatch.setattr(attribute_control, "STRENGTHS", (0.0, 0.8))
    monkeypatch.setattr(attribute_control, "RANDOM", 20)
    subject = made(0.0, seed=1, head="lda", images=200, patients=150)
    *_, control = attribute_checks(subject, "made", {"site": subject.study.meta["site"]})
    assert control.code == "random-attribute"
    assert control.verdict is Verdict.NOT_FOUND
    assert control.figures[0].value <= 0.05
    of_strength = {proof.rate: proof.recall for proof in control.proofs[1:]}
    assert of_strength == {0.0: 0.0, 0.8: 1.0}
    assert "0.8 or more" in control.seen


def test_of_many_images_some_patients_are_asked_about_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attributes, "SAMPLE", 150)
    subject = made(0.6, seed=1, head="lda")
    (check,) = asked(subject, "site")
    assert "of 300 images" in check.answer
    counted = sum(sum(row[1:-1]) for row in check.tables[0].rows)
    assert 140 <= counted <= 150


def test_an_extractor_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean made"):
        attribute_checks(made(0.0), "mad", {})
