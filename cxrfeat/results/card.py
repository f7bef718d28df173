"""A model card in Markdown: what a saved model is, what it was fitted on, how well it did.

After Mitchell M, Wu S, Zaldivar A, et al. Model cards for model reporting. FAT* 2019,
doi:10.1145/3287560.3287596. What only the author can say stands as a marked blank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cxrfeat.results.audit import Section, Verdict
from cxrfeat.results.checklist_rules import written
from cxrfeat.results.data import intervals_over
from cxrfeat.spec import made_elsewhere

BLANK = "**[to be filled in by the author: {}]**"
"""How a blank is marked; nothing fills one but a person."""

Lines = list[str]


def model_card(
    about: Mapping[str, Any],
    results: Mapping[str, Any] | None = None,
    audit: Mapping[str, Any] | None = None,
) -> str:
    """Write the card of a saved model.

    Parameters
    ----------
    about
        What the model file says about itself: the attributes of `cxrfeat.model.Model` without its
        estimator. ``thresholds``, where there are any, go by class.
    results
        What ``results.json`` of its run holds. Intervals, classes one by one and findings are
        only known from there.
    audit
        What ``audit.json`` of the run holds, where it was audited.

    Returns
    -------
    str
        Markdown.
    """
    sections = {
        "Model": _details(about),
        "Intended use": _use(),
        "Factors": _factors(results),
        "Metrics": _metrics(about, results),
        "Evaluation data": _evaluation(about, results),
        "Training data": _training(about),
        "Scores": _scores(about, results),
        "Findings": _findings(results),
        **({} if audit is None else {"Does it come from the lungs?": _audit(audit)}),
        "Ethical considerations": _blank(
            "approval, consent, de-identification, risks and who bears them"
        ),
        "Caveats and limits": _caveats(about, results),
    }
    title = f"# Model card: {about['head']} on {about['extractor']}"
    parts = [title, "**For research only. Not for diagnosis.**"]
    parts += [f"## {name}\n\n" + "\n".join(lines) for name, lines in sections.items()]
    return "\n\n".join(parts) + "\n"


def _details(about: Mapping[str, Any]) -> Lines:
    spec = about["spec"]
    versions = ", ".join(f"{name} {of}" for name, of in about.get("versions", {}).items())
    rows = {
        "classifier": about["head"],
        "settings": written(about.get("training", {}).get("settings"), "not recorded"),
        "why this one": written(about.get("training", {}).get("why"), "not recorded"),
        "features": f"{about['extractor']}, {about['dimension']} numbers an image, frozen",
        "network": written(spec.get("backbone"), _imported(spec)),
        "weights": _weights(spec),
        "layer and pooling": f"{written(spec.get('layer'))}, {written(spec.get('pooling'))}",
        "image": _image(spec),
        "fingerprint of the features": f"`{about['fingerprint']}`",
        "output": f"a probability for each of: {', '.join(about['classes'])} ({about['kind']})",
        "called is": written(about.get("training", {}).get("decisions"), "see the thresholds"),
        "thresholds": _thresholds(about),
        "versions": versions or "not recorded",
    }
    lines = _table(("", ""), rows.items())
    return [*lines, "", *_blank("authors, contact, date, licence of the model, how to cite it")]


def _imported(spec: Mapping[str, Any]) -> str:
    """Say of features that another program made what its user stated."""
    if not made_elsewhere(spec):
        return "see the spec"
    said = spec.get("encoder")
    stated = said if isinstance(said, Mapping) else {"name": "an encoder that is not named"}
    told = "; ".join(f"{key}: {written(value)}" for key, value in stated.items())
    return f"imported, not computed by cxrfeat; as stated: {told}"


def _weights(spec: Mapping[str, Any]) -> str:
    weights = spec.get("weights")
    if not isinstance(weights, Mapping):
        return "see the spec"
    name = str(weights.get("name"))
    random = ", **random: never trained on a picture**" if name.startswith("random") else ""
    return f"{name}{random}, sha256 of the tensors `{weights.get('sha256', 'not recorded')}`"


def _image(spec: Mapping[str, Any]) -> str:
    image = spec.get("image")
    if not isinstance(image, Mapping):
        return "see the spec"
    size = " x ".join(str(side) for side in image.get("size", []))
    crop, polarity = written(image.get("crop")), written(image.get("polarity"))
    return f"{size} pixels, {written(image.get('resize'))}, crop: {crop}, {polarity}"


def _thresholds(about: Mapping[str, Any]) -> str:
    chosen = about.get("thresholds")
    if about["kind"] == "multiclass":
        also = f"; for the wanted specificity: {written(chosen)}" if chosen else ""
        return f"the most probable class is given{also}"
    return written(chosen) if chosen else "a label is given above a probability of 0.5"


def _use() -> Lines:
    return [
        "- For research: comparing feature extractors and classifiers on radiographs like those it"
        " was fitted on.",
        "- Not for diagnosis, triage or any decision about a person. It is no medical device and"
        " was not tested as one.",
        "- Not for images made into features in another way: the fingerprint above has to be the"
        " same.",
        "",
        *_blank("the question it was made for, and its users"),
    ]


def _factors(results: Mapping[str, Any] | None) -> Lines:
    left_out = (results or {}).get("options", {}).get("leave_out")
    told = [f"Scores by {left_out}, each left out in turn, are in `results.json`.", ""]
    return [
        *(told if left_out else []),
        *_blank("groups of patients, devices and sites that matter"),
    ]


def _metrics(about: Mapping[str, Any], results: Mapping[str, Any] | None) -> Lines:
    if results is None:
        return [
            f"Recorded with the model: {', '.join(about.get('training', {}).get('scores', {}))}."
        ]
    return [
        f"{results['metric']} ranked, tuned and chose. Scores are means over the folds; intervals"
        f" (95 %) are {intervals_over(results)}.",
    ]


def _evaluation(about: Mapping[str, Any], results: Mapping[str, Any] | None) -> Lines:
    folds = about.get("training", {}).get("folds", "not recorded")
    if results is None:
        return [f"{folds}."]
    patients = written(results["patients"], "an unknown number of")
    lines = [f"{folds}; {results['images']} images of {patients} patients."]
    if results["options"].get("test"):
        lines += ["", f"Outside test set: {written(results['options']['test'])}."]
        lines += _blank("where it comes from, and in what it is another population")
    return lines


def _training(about: Mapping[str, Any]) -> Lines:
    training = about.get("training", {})
    patients = written(training.get("patients"), "an unknown number of")
    lines = [
        f"{written(training.get('images'), 'An unknown number of')} images of {patients} patients."
    ]
    if fitted_on := training.get("fitted_on"):
        lines += ["", f"Fitted on {fitted_on}."]
    if per_class := training.get("images_per_class"):
        lines += ["", *_table(("class", "images"), per_class.items())]
    return [*lines, "", *_blank("origin, dates, eligibility, reference standard, sex and age")]


def _scores(about: Mapping[str, Any], results: Mapping[str, Any] | None) -> Lines:
    score = _entry(about, results, "ranking")
    if score is None:
        known = about.get("training", {}).get("scores", {})
        means = [(name, written(value)) for name, value in known.items()]
        return [
            *_table(("metric", "mean over the folds"), means),
            *(
                [
                    "",
                    "With the classifier chosen inside the folds, so that the choice flatters"
                    " nothing.",
                ]
                if "scores_as_ranked" in about.get("training", {})
                else []
            ),
            "",
            "Spread and intervals: not at hand.",
        ]
    report = _entry(about, results, "reports")
    intervals = {} if report is None else report["intervals"]
    rows = [
        (name, written(mean), written(score["sd"][name], "one fold"),
         written(intervals.get(name), "not computed"))
        for name, mean in score["mean"].items()
    ]  # fmt: skip
    lines = _table(("metric", "mean", "standard deviation", "95 % interval"), rows)
    if report is not None:
        names = (
            *("support", "auroc", "auroc_interval", "recall", "specificity", "precision", "npv"),
            *("calibration_slope", "calibration_intercept"),
        )
        of_class = [
            (one["name"], *(written(one.get(name), "undefined") for name in names))
            for one in report["classes"]
        ]
        header = (
            *("class", "images", "AUROC", "95 % interval", "sensitivity", "specificity"),
            *("PPV", "NPV", "calibration slope", "calibration intercept"),
        )
        lines += ["", *_table(header, of_class)]
    return [*lines, *_unflattered(about, results)]


def _unflattered(about: Mapping[str, Any], results: Mapping[str, Any] | None) -> Lines:
    for entry in (results or {}).get("extractors", []):
        if entry["extractor"] == about["extractor"] and results is not None:
            return [
                "",
                f"With the classifier chosen inside the folds, so that the choice flatters nothing:"
                f" {results['metric']} {written(entry['mean'], 'undefined')}, 95 % interval"
                f" {written(entry['interval'])}.",
            ]
    return []


def _findings(results: Mapping[str, Any] | None) -> Lines:
    if results is None:
        return ["Not at hand: they are in `results.json` of the run."]
    lines = [f"- `{one['code']}`: {one['message']}" for one in results["findings"]]
    lines += [f"- {note}" for note in results["notes"]]
    return lines or ["None of the checks of `cxrfeat fit` found anything."]


def _audit(audit: Mapping[str, Any]) -> Lines:
    asked = [check for check in audit["checks"] if check["section"] != Section.PROOFS]
    counts = ", ".join(
        f"{sum(check['verdict'] == verdict for check in asked)} {verdict}" for verdict in Verdict
    )
    found = [f"- `{c['code']}`: {c['answer']}" for c in asked if c["verdict"] == Verdict.FOUND]
    return [audit["headline"], "", f"Of {len(asked)} questions: {counts}.", "", *found]


def _caveats(about: Mapping[str, Any], results: Mapping[str, Any] | None) -> Lines:
    whose = (
        "were imported, and what made them is not here"
        if made_elsewhere(about["spec"])
        else "come from a network that was made for photographs"
    )
    lines = [
        f"- The features {whose}; what they pick up may"
        " be the source of an image instead of a disease.",
    ]
    if not about.get("training", {}).get("test_images_unseen") and not (results or {}).get(
        "options", {}
    ).get("test"):
        lines.append(
            "- The scores are those of the folds; the model itself was fitted on all these images"
            " and not tested on others."
        )
    if about.get("training", {}).get("patients") is None:
        lines.append(
            "- Patients are not known: images of one patient may have been on both sides of a fold,"
            " which flatters every score."
        )
    return [*lines, "", *_blank("limits of the data and of the reference standard")]


def _entry(
    about: Mapping[str, Any], results: Mapping[str, Any] | None, table: str
) -> Mapping[str, Any] | None:
    """Find the model's row in a table of ``results.json``."""
    wanted = (about["extractor"], about["head"])
    entries: Iterable[Mapping[str, Any]] = (results or {}).get(table, [])
    return next((e for e in entries if (e["extractor"], e["head"]) == wanted), None)


def _blank(what: str) -> Lines:
    return [BLANK.format(what)]


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Lines:
    lines = [header, ["---"] * len(header), *rows]
    cells = [[str(cell).replace("|", r"\|") for cell in line] for line in lines]
    return [f"| {' | '.join(line)} |" for line in cells]
