"""Attributes whose part in a score is known: the part ``confounders`` of ``benchmarks/audit.py``.

Embeddings of 64 numbers of 300 images of 200 patients in three classes. Each class has a centre of
its own, and each of three sites, too; the rest is noise, half of it the patient's. An image's site
is that of its class with a probability that is the *strength*, else drawn; how far the centres of
the sites are apart is the *mark*. Beside the site stands a column of dice, three levels as frequent
as the sites, dealt out to patients.

- **tied**: the mark as it is, the strength from 0 to 1. At 0 the site means nothing, though it can
  be read off the embeddings; at 1 site and class cannot be told apart.
- **marked**: the strength 0.5 as it is, the mark from 0 to 1 times as clear. At 0 the embeddings
  know nothing of the site, though it goes with the class.
- **sources**: sites of strength 0; each is left out in turn.

The head is linear discriminant analysis, the cheapest of the linear ones. Printed are the means
over the draws. What is to come out in order is the score left on labels shuffled within sites, as a
share of the score above chance. 30 draws take some five processor minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cxrfeat.evaluation.audit.attributes import attribute_checks
from cxrfeat.evaluation.audit.sources import source_checks
from cxrfeat.evaluation.audit.subgroups import subgroup_checks
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.study.design import Asked, make_folds
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.results.audit import Check, Verdict

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
CLASSES = ["normal", "opaque", "streaked"]
DIMENSION, SIGNAL, MARK = 64, 2.0, 3.0
TIED = 0.5
"""Strength where the mark is what changes."""


def made(
    strength: float,
    mark: float = 1.0,
    *,
    seed: int = 0,
    images: int = 300,
    patients: int = 200,
    head: str = "logreg",
) -> Subject:
    """Draw a study with a column ``site``, and one of ``dice``.

    Parameters
    ----------
    strength : float
        Probability that an image's site is that of its class.
    mark : float
        How far sites are apart in the embeddings; 0 not at all.
    """
    random = np.random.default_rng(seed)
    patient = np.concatenate([np.arange(patients), random.integers(0, patients, images - patients)])
    of_patient = random.integers(0, 3, patients)
    drawn = random.integers(0, 3, patients)
    site = np.where(random.random(patients) < strength, of_patient, drawn)[patient]
    y = of_patient[patient]
    centres = random.normal(size=(3, DIMENSION)) / np.sqrt(DIMENSION)
    sites = random.normal(size=(3, DIMENSION)) / np.sqrt(DIMENSION)
    X = SIGNAL * centres[y] + MARK * mark * sites[site]
    X += np.sqrt(0.5) * random.normal(size=(patients, DIMENSION))[patient]
    X += np.sqrt(0.5) * random.normal(size=X.shape)
    names = np.array(["north", "south", "west"])
    study = Study(
        ids=[f"{number:04d}" for number in range(images)],
        classes=CLASSES,
        kind="multiclass",
        labels=np.eye(3, dtype=np.float32)[y],
        sha256=[""] * images,
        meta={
            "group": np.array([f"p{number}" for number in patient]),
            "site": names[site],
            "dice": np.array(["one", "two", "three"])[random.permutation(drawn)[patient]],
        },
        extractors=[Extractor("made", X.astype(np.float32), False, {}, "made")],
        notes=[],
    )
    return Subject(study, make_folds(study, Asked(cv=5, seed=seed)), HEADS[head], METRICS["auroc"])


@dataclass(frozen=True)
class Drawn:
    """What was said of the site and of the dice in one draw."""

    site: Check
    dice: Check

    @property
    def left(self) -> float:
        """Share of the score above chance that is left on labels shuffled within sites."""
        left = value(self.site, "left on labels shuffled")
        true = value(self.site, "on the true labels")
        return (left - 0.5) / (true - 0.5)


def value(check: Check, part: str) -> float:
    """Give the figure whose name has a part."""
    return next(figure.value for figure in check.figures if part in figure.name)


def draw(subject: Subject) -> Drawn:
    """Ask about the site and the dice of a study."""
    columns = {name: subject.study.meta[name] for name in ("site", "dice")}
    site, dice = attribute_checks(subject, "made", columns, control=False)
    return Drawn(site, dice)


def confounders(draws: int) -> None:
    """Print what comes out at each strength and mark."""

    def each(strength: float, mark: float = 1.0) -> list[Drawn]:
        return [draw(made(strength, mark, seed=seed, head="lda")) for seed in range(draws)]

    tied = {step: each(step) for step in STEPS}
    _print("tied", tied)
    _print("marked", {step: tied[TIED] if step == 1 else each(TIED, step) for step in STEPS})
    found = {"leave one out": 0, "subgroups": 0, "underdiagnosis": 0}
    for seed in range(draws):
        subject = made(0.0, 0.0, seed=seed, head="lda")
        asked = [
            *source_checks(subject, "site"),
            *subgroup_checks(subject, "made", {"site": subject.study.meta["site"]}),
        ]
        for name, check in zip(found, asked, strict=True):
            found[name] += check.verdict is Verdict.FOUND
    said = ", ".join(f"{name} {count}" for name, count in found.items())
    print(f"sites that mean nothing, of {draws} draws found by: {said}")


def _print(what: str, steps: Mapping[float, list[Drawn]]) -> None:
    print(
        f"{what}: found, untested, dice found (of the draws) | means: left, alone, readable, fall"
    )
    for step, of_step in steps.items():
        counts = [
            sum(one.site.verdict is verdict for one in of_step)
            for verdict in (Verdict.FOUND, Verdict.UNTESTED)
        ]
        counts.append(sum(one.dice.verdict is Verdict.FOUND for one in of_step))
        means = [float(np.mean([one.left for one in of_step]))] + [
            float(np.mean([value(one.site, part) for one in of_step]))
            for part in ("site alone", "of site by made", "fall without site, given")
        ]
        said = " ".join(f"{mean:.3f}" for mean in means)
        print(f"  {step:.2f}: {counts} | {said}", flush=True)
    left = np.array([[one.left for one in of_step] for of_step in steps.values()])
    ordered = (np.diff(left, axis=0) > 0).all(axis=0)
    print(f"  left in order from step to step in {ordered.sum()} of {len(ordered)} draws")
