"""What a reader of the scores has to know: each finding has a stable code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from cxrfeat.arrays import Groups, Matrix
from cxrfeat.evaluation.heads.registry import FLOOR
from cxrfeat.evaluation.outcome.copies import Copies
from cxrfeat.evaluation.outcome.out_of_fold import OutOfFold
from cxrfeat.evaluation.statistics.metrics import Metric
from cxrfeat.evaluation.statistics.paired_tests import corrected_t, size_ratio
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.scorable_labels import NOT_LEARNED, learnable, scorable
from cxrfeat.evaluation.study.study import Study
from cxrfeat.evaluation.validation.label_shuffling import can_be_shuffled
from cxrfeat.results import Comparison, ExtractorScore, Finding, Score

PATIENTS_ACROSS = "patients-across-folds"
DUPLICATES_ACROSS = "duplicates-across-folds"
DUPLICATES_SPLIT = "duplicates-across-split"
NEAR_DUPLICATES_ACROSS = "near-duplicates-across-folds"
SMALL_CLASS = "class-smaller-than-folds"
NOT_BETTER = "no-better-than-dummy"
PERMUTED = "shuffled-labels-predicted"
FLATTERED = "winner-chosen-on-its-scores"
CONTROL_WINS = "control-not-beaten"
USELESS = "winner-useless"

LEVEL = 0.05
"""Of the one-sided tests: against guessing and against random weights."""

CHANCE_MARGIN = 0.03
"""How far above 0.5 the AUROC on shuffled labels may lie."""

CHANCE = 0.5
"""The AUROC of guessing."""

NOTHING = 0.0005
"""An F1 below this is 0.000 in every table."""

LISTED = 1000
"""Images and their copies that a finding names; it counts all of them."""


def patients_across_folds(folds: Sequence[Fold], patients: Groups) -> list[Finding]:
    """Find patients with images on both sides of a fold."""
    if patients is None:
        return []
    names, number = np.unique(patients, return_inverse=True)
    apart = np.zeros(len(names), dtype=bool)
    for fold in folds:
        learned, tested = np.zeros((2, len(names)), dtype=bool)
        learned[number[fold.train]] = tested[number[fold.test]] = True
        apart |= learned & tested
    crossing = names[apart].tolist()  # sorted
    if not crossing:
        return []
    return [
        Finding(
            PATIENTS_ACROSS,
            f"{len(crossing)} patients have images on both sides of a fold: every score is"
            " flattered; keep them together (--groups auto)",
            {"patients": len(crossing), "examples": crossing[:10]},
        )
    ]


def duplicates_across_folds(study: Study, folds: Sequence[Fold]) -> list[Finding]:
    """Find byte-identical images on both sides of a fold, or of the data's own split."""
    same: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(study.sha256):
        if digest:
            same[digest].append(row)
    copies = [rows for rows in same.values() if len(rows) > 1]
    if not copies:
        return []
    found = []
    side = np.zeros(len(study), dtype=np.int8)
    crossing: set[int] = set()
    for fold in folds:
        side[:] = 0
        side[fold.train], side[fold.test] = 1, 2
        for number, rows in enumerate(copies):
            if {1, 2} <= set(side[rows].tolist()):
                crossing.add(number)
    if crossing:
        found.append(
            _duplicates(
                DUPLICATES_ACROSS, "both sides of a fold", [copies[i] for i in crossing], study
            )
        )
    split = study.meta.get("split")
    if split is not None:
        apart = [rows for rows in copies if len(set(split[rows])) > 1]
        if apart:
            parts = " and ".join(sorted({str(split[row]) for rows in apart for row in rows}))
            found.append(_duplicates(DUPLICATES_SPLIT, f"both {parts} of the split", apart, study))
    return found


def _duplicates(code: str, where: str, copies: Sequence[Sequence[int]], study: Study) -> Finding:
    names = [[study.ids[row] for row in rows] for rows in copies]
    return Finding(
        code,
        f"{len(copies)} image{'s stand' if len(copies) > 1 else ' stands'}, byte for byte the same,"
        f" on {where}, e.g."
        f" {' = '.join(sorted(names)[0])}: this flatters the scores; keep copies on one side"
        " (--keep-copies-together) or leave all but one of each out",
        {"images": len(copies), "copies": sorted(names)[:LISTED]},
    )


def near_duplicates_across_folds(
    study: Study, folds: Sequence[Fold], copies: Copies, patients: Groups, among: Groups
) -> tuple[list[Finding], list[str]]:
    """Find near copies of one image on both sides of a fold, in the embeddings alone.

    Byte-identical images count as one: `duplicates_across_folds` tells of them.

    Parameters
    ----------
    among : ndarray of str, shape (N,), or None
        Among whom labels were shuffled.

    Returns
    -------
    findings : list of Finding
        None or one.
    notes : list of str
        That this stands where labels cannot be shuffled among patients, and what it left out.
    """
    names, of_one, alike = ", ".join(copies.near), copies.of_one, copies.alike
    first = [rows[0] for rows in of_one]
    notes = []
    if not can_be_shuffled(among):
        notes.append(
            "labels shuffled among patients cannot be tested, as no patient is known to have"
            " several images; instead near copies across folds were looked for in the embeddings"
            f" ({names})"
        )
    if copies.searched < len(first):
        notes.append(
            f"near copies were looked for around {copies.searched} of {len(first)} images, drawn at"
            f" random: all would take too long ({names})"
        )
    crossing, share = _crossing(alike, of_one, folds)
    if not crossing:
        return [], notes
    examples = [
        ([study.ids[first[row]] for row in pair], alike[pair])
        for pair in sorted(crossing, key=lambda pair: -alike[pair])[:10]
    ]
    images = {row for pair in crossing for row in pair}
    mend = (
        "look at them; images of one patient have to stay together (--group-column), copies of one"
        " image, too (--keep-copies-together), or to go"
        if patients is None
        else "look at them; both images may belong to one patient; copies have to stay together"
        " (--keep-copies-together) or to go"
    )
    message = (
        f"{len(images)} images have a near copy on the other side of a fold ({len(crossing)}"
        f" pair{'s' * (len(crossing) > 1)}, found in the embeddings), {share:.1%} of the tested"
        " images among their training images,"
        f" e.g. {' ~ '.join(examples[0][0])}: this flatters the scores; {mend}"
    )
    detail = {
        "images": len(images),
        "pairs": len(crossing),
        "share_of_tested": share,
        "examples": [{"images": ids, "cosine": round(cosine, 4)} for ids, cosine in examples],
        "extractors": {name: len(of.pairs) for name, of in copies.near.items()},
        "searched": copies.searched,
        "of": len(first),
    }
    return [Finding(NEAR_DUPLICATES_ACROSS, message, detail)], notes


def _crossing(
    pairs: Collection[tuple[int, int]], of_one: Sequence[Sequence[int]], folds: Sequence[Fold]
) -> tuple[list[tuple[int, int]], float]:
    """Pairs with an image on either side of a fold, and the share of tested images in one.

    `of_one` gives the rows of each image, several where it is there several times.
    """
    spread = [(one, x, y) for one in pairs for x in of_one[one[0]] for y in of_one[one[1]]]
    if not spread:
        return [], 0.0
    ends = np.array([(x, y) for _, x, y in spread])
    apart = np.zeros(len(ends), dtype=bool)
    tested = hit = 0
    for fold in folds:
        side = np.zeros(max(map(max, of_one)) + 1, dtype=np.int8)
        side[fold.train], side[fold.test] = 1, 2
        here = side[ends].sum(axis=1) == 3
        apart |= here
        tested += len(fold.test)
        hit += len(np.unique(ends[here][side[ends[here]] == 2]))
    return list(dict.fromkeys(spread[k][0] for k in np.flatnonzero(apart))), hit / tested


def small_classes(
    study: Study, folds: Sequence[Fold], patients: Groups, unit: str
) -> list[Finding]:
    """Find classes with fewer images or patients than folds, so that some test none."""
    per_repeat = max(np.bincount([fold.repeat for fold in folds]))
    if per_repeat < 2:
        return []
    found = []
    for k, name in enumerate(study.classes):
        rows = study.labels[:, k] == 1
        members = int(rows.sum()) if patients is None else len(np.unique(patients[rows]))
        if members < per_repeat:
            found.append(
                Finding(
                    SMALL_CLASS,
                    f"class '{name}' has {members} {unit}, fewer than the {per_repeat} folds:"
                    " folds without it say nothing about it; merge or drop it (--map), or take"
                    " fewer folds (--cv)",
                    {"class": name, unit.replace(" ", "_"): members, "folds": int(per_repeat)},
                )
            )
    return found


def not_learned(study: Study, folds: Sequence[Fold]) -> list[Finding]:
    """Find labels and classes that some folds' training images cannot teach.

    A label without a probability is left out of those folds' scores; a class among several is
    never the answer there.
    """
    found = []
    taught = np.stack([learnable(study.labels, fold) for fold in folds])
    needed = np.stack([scorable(study.labels, fold) for fold in folds])
    if study.kind == "multiclass":
        needed = np.stack([(study.labels[fold.test] == 1).any(axis=0) for fold in folds])
    for k, name in enumerate(study.classes):
        lacking = [
            fold for fold, bad in zip(folds, ~taught[:, k] & needed[:, k], strict=True) if bad
        ]
        if not lacking:
            continue
        where = ", ".join(f"'{fold.name}'" for fold in lacking[:3])
        if study.kind == "multiclass":
            said = (
                f"class '{name}' has no training image in {len(lacking)} of {len(folds)} folds"
                f" ({where}): there it is never the answer, and counts as missed"
            )
        else:
            said = (
                f"label '{name}' cannot be learned in {len(lacking)} of {len(folds)} folds"
                f" ({where}), where training images are not both positive and negative: its scores"
                " are those of the others"
            )
        said += "; merge or drop it (--map), or take fewer folds (--cv)"
        names = [fold.name for fold in lacking]
        found.append(Finding(NOT_LEARNED, said, {"label": name, "folds": names}))
    return found


def no_better_than_dummy(
    ranked: Sequence[Score], folds: Sequence[Fold], metric: Metric
) -> list[Finding]:
    """Find heads whose advantage over the floor may be chance (corrected test, one-sided 5 %)."""
    floors = {score.extractor: score for score in ranked if score.head == FLOOR}
    found = []
    for score in ranked:
        floor = floors.get(score.extractor)
        if floor is None or score is floor:
            continue
        if _poor(score, floor, folds, metric):
            found.append(
                Finding(
                    NOT_BETTER,
                    f"{score.extractor} with {score.head} is not shown to be better than guessing:"
                    f" {metric.title} {score.mean[metric.name]:.3f}, the floor"
                    f" {floor.mean[metric.name]:.3f}; more images may show it",
                    {"extractor": score.extractor, "head": score.head},
                )
            )
    return found


def _poor(score: Score, floor: Score, folds: Sequence[Fold], metric: Metric) -> bool:
    """Whether the advantage over the floor may be chance."""
    sign = 1.0 if metric.larger_is_better else -1.0
    gaps = sign * np.array(
        [
            one["metrics"][metric.name] - least["metrics"][metric.name]
            for one, least in zip(score.folds, floor.folds, strict=True)
        ]
    )
    gaps = gaps[np.isfinite(gaps)]
    if len(gaps) > 1:
        ratio = size_ratio([len(fold.train) for fold in folds], [len(fold.test) for fold in folds])
        test = corrected_t(gaps, ratio)
        return test.difference <= 0 or test.p / 2 > LEVEL
    low, high = score.interval
    least = floor.mean[metric.name]
    return bool(low <= least if metric.larger_is_better else high >= least)


def shuffled_labels_predicted(permuted: Mapping[str, Matrix]) -> list[Finding]:
    """Find extractors that predict labels shuffled among patients."""
    found = []
    for extractor, areas in permuted.items():
        mean = float(np.mean(areas))
        error = float(np.std(areas, ddof=1) / np.sqrt(len(areas)))
        if mean - 0.5 > max(CHANCE_MARGIN, 3 * error):
            found.append(
                Finding(
                    PERMUTED,
                    f"{extractor} predicts labels that were shuffled among patients (AUROC"
                    f" {mean:.3f}, chance is 0.5): training and test images are not independent,"
                    " no score of this run can be trusted; look for patients that the table does"
                    " not name (--group-column) and for copies (--keep-copies-together)",
                    {"extractor": extractor, "auroc": mean},
                )
            )
    return found


def winner_flattered(
    ranked: Sequence[Score], best: Score, extractors: Sequence[ExtractorScore], metric: Metric
) -> list[Finding]:
    """Say that the best of many on the same folds looks better than it is, and by how much.

    Parameters
    ----------
    best
        What is called best, which need not be the first of `ranked`: test rows do not choose it.
    """
    learned = [score for score in ranked if score.head != FLOOR]
    if len(learned) < 2:
        return []
    first = next((score for score in learned if not score.control), learned[0])
    honest = next(score for score in extractors if score.extractor == first.extractor)
    if f"{first.mean[metric.name]:.3f}" == f"{honest.mean:.3f}":
        return []  # whoever reports the one reports the other
    said = (
        f"{first.extractor} with {first.head} is the best of {len(learned)} on these same folds, so"
        f" its {metric.title} of {first.mean[metric.name]:.3f} is flattered;"
        f" with the head chosen inside the folds {first.extractor} has {honest.mean:.3f}: report"
        " that"
    )
    if (first.extractor, first.head) != (best.extractor, best.head):
        said += f"; so {best.extractor} with {best.head} is called best, by training images alone"
    return [
        Finding(
            FLATTERED,
            said,
            {
                "rivals": len(learned),
                "flattered": first.mean[metric.name],
                "chosen_inside": honest.mean,
            },
        )
    ]


def winner_useless(
    best: Score,
    ranked: Sequence[Score],
    extractors: Sequence[ExtractorScore],
    found: OutOfFold,
    metric: Metric,
) -> list[Finding]:
    """Find that what is called best is of no use: not above chance, or it answers nothing.

    Against the floor where that was scored, else an AUROC against a half.
    """
    reasons = []
    floor = next((s for s in ranked if s.head == FLOOR and s.extractor == best.extractor), None)
    own = next(score for score in extractors if score.extractor == best.extractor)
    if floor is not None and floor is not best:
        if _poor(best, floor, found.folds, metric):
            reasons.append("it is not shown to be better than guessing")
    elif metric.name == "auroc" and own.interval[0] <= CHANCE:
        reasons.append(f"its AUROC may be chance (95 % interval from {own.interval[0]:.3f})")
    if best.mean["f1"] < NOTHING:
        reasons.append(f"no decision of it is right (macro F1 {best.mean['f1']:.3f})")
    said = _always_said(found, best)
    if said is not None:
        reasons.append(f"it says '{said}' of every image")
    if not reasons:
        return []
    return [
        Finding(
            USELESS,
            f"the best, {best.extractor} with {best.head}, is of no use as it is:"
            f" {', and '.join(reasons)}; do not use the saved model: give more images of the rarer"
            " classes, merge classes (--map), weigh them (--class-weight balanced) or call at"
            " another threshold (--threshold)",
            {"extractor": best.extractor, "head": best.head, "reasons": reasons},
        )
    ]


def _always_said(found: OutOfFold, best: Score) -> str | None:
    """Return the class, or "nothing", that is called of every image; None where it varies."""
    outcomes = found.outcomes[best.extractor, best.head]
    if found.exclusive:
        called = {int(k) for one in outcomes for k in one.probability.argmax(axis=1)}
        return found.study.classes[called.pop()] if len(called) == 1 else None
    any_called = any((one.probability > one.cuts).any() for one in outcomes)
    return None if any_called else "nothing"


def control_not_beaten(
    extractors: Sequence[ExtractorScore], comparisons: Sequence[Comparison], metric: Metric
) -> list[Finding]:
    """Find that the best pretrained weights are not shown to beat random ones (one-sided, 5 %).

    The test is the one of the pair: corrected over the folds, or over the patients' draws where
    there is one fold.
    """
    real = [score for score in extractors if not score.control]
    controls = [score for score in extractors if score.control]
    if not real or not controls:
        return []
    best, control = real[0], controls[0]
    pair = next(
        one for one in comparisons if {one.first, one.second} == {best.extractor, control.extractor}
    )
    ahead = pair.difference if pair.first == best.extractor else -pair.difference
    if ahead > 0 and pair.p / 2 <= LEVEL:
        return []
    said = (
        f"{best.extractor} is not shown to be better than random weights"
        if ahead > 0
        else "random weights do as well"
    )
    chance = pair.p / 2 if ahead > 0 else 1 - pair.p / 2
    return [
        Finding(
            CONTROL_WINS,
            f"{said}: {control.extractor} has {metric.title} {control.mean:.3f},"
            f" {best.extractor} {best.mean:.3f} (one-sided p {chance:.2f}); do not claim that"
            " pretraining helps, or add images",
            {"control": control.extractor, "extractor": best.extractor, "p": chance},
        )
    ]
