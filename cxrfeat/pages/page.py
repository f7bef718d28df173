"""The page: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cxrfeat.pages import tables, vega
from cxrfeat.pages.audit_page import first_apart, verdict_lines
from cxrfeat.pages.charts import Chart
from cxrfeat.pages.content import Content, Difficult, Plane
from cxrfeat.pages.drawings import curves, embedding_map
from cxrfeat.pages.look import CONFIG, Spec
from cxrfeat.pages.templates import template, text_of
from cxrfeat.pages.words import (
    FLOOR,
    answer,
    drawn_unit,
    map_words,
    metric_title,
    number,
    pretrained,
    shown,
)
from cxrfeat.results.checklist import ChecklistItem
from cxrfeat.results.data import intervals_over

SECTIONS = {
    "answer": "The answer",
    "audit": "Does it come from the lungs?",
    "ranking": "Ranking",
    "differences": "Paired differences",
    "curves": "ROC and precision-recall",
    "classes": "Class by class",
    "learning": "Would more {unit} help?",
    "images": "The images",
    "data": "Data flow",
    "findings": "Findings",
    "repeat": "To repeat this",
    "checklist": "Reporting checklist",
}


def page(
    content: Content,
    charts: Sequence[Chart],
    drawn: Mapping[str, str],
    checklist: Sequence[ChecklistItem] = (),
) -> str:
    """Write the page of a run.

    Parameters
    ----------
    content : Content
    charts : sequence of Chart
        As `cxrfeat.pages.charts` gives them.
    drawn : mapping of str to str
        The same charts as SVG, by name: what is seen until, or without, scripts.
    checklist : sequence of ChecklistItem
        Answers to reporting guidelines.

    Returns
    -------
    str
        HTML that loads nothing.
    """
    from markupsafe import Markup

    # Markup: our own files, SVG of the charting library, and JSON that cannot end its element.
    return template("page.html").render(
        style=Markup(text_of("style.css") + text_of("verdict.css")),
        sorting=Markup(text_of("sorting.js")),
        script=Markup(text_of("page.js")),
        library=Markup(vega.library()),
        data=Markup(_data(content, charts)),
        drawn={name: Markup(text) for name, text in drawn.items()},
        charts={chart.name for chart in charts},
        version=content.version,
        sections=_sections(content),
        tables=_tables(content, checklist),
        checklist_counts=_checklist_counts(checklist),
        **_words(content),
        **_images(content),
        **_provenance(content),
    )


def _sections(content: Content) -> list[tuple[str, str]]:
    results = content.results
    absent = {
        "audit": content.audit is None,
        "differences": not results["comparisons"],
        "learning": not results["curves"],
    }
    unit = drawn_unit(results)
    return [(id_, name.format(unit=unit)) for id_, name in SECTIONS.items() if not absent.get(id_)]


def _tables(content: Content, checklist: Sequence[ChecklistItem]) -> dict[str, Any]:
    results = content.results
    return {
        "extractors": tables.extractors(results),
        "ranking": tables.ranking(results),
        "differences": tables.differences(results),
        "fixed": tables.fixed_test_set(results),
        "classes": tables.classes(results),
        "calibration": tables.calibration(results),
        "learning": tables.learning(results),
        "files": tables.files(results),
        "versions": tables.versions(results, {"cxrfeat": content.version, **vega.versions()}),
        "checklist": tables.checklist(checklist),
    }


def _checklist_counts(checklist: Sequence[ChecklistItem]) -> list[str]:
    said = {
        "automatic": "answered by the run",
        "partly": "answered in part",
        "author": "left to the author",
    }
    found = Counter((item.guideline, item.status) for item in checklist)
    return [
        f"{name}: " + ", ".join(f"{found[name, status]} {what}" for status, what in said.items())
        for name in dict.fromkeys(item.guideline for item in checklist)
    ]


def _words(content: Content) -> dict[str, Any]:
    results = content.results
    patients = results["patients"]
    facts = [
        f"{results['images']} images",
        f"{patients} patients" if patients else "patients not known",
        f"{len(results['classes'])} classes ({', '.join(results['classes'])})",
        f"primary metric {metric_title(results)}, declared before looking",
    ]
    floors = {
        score["extractor"]: score["mean"][results["metric"]]
        for score in results["ranking"]
        if score["head"] == FLOOR
    }
    floor = next(iter(floors.values()), None)
    unit = drawn_unit(results)
    return {
        "title": content.title,
        "facts": "; ".join(facts) + ".",
        "answer": answer(results),
        "unit": unit,
        "pairs": [f"{pair['sentence']}." for pair in results["comparisons"]],
        "intervals": intervals_over(results),
        "floor": "" if floor is None else f"Guessing (dummy) has {number(floor)}: not drawn.",
        "curve_words": (
            "The best head of each extractor. Every fold's curve is of one model; curves are"
            " averaged over the folds, predictions of different models are never pooled. Bands:"
            f" 95 %, point by point, over {unit} with the models as they are, from"
            f" {content.draws} draws. Lines are drawn to within {curves.NEAR:g}."
        ),
        "learning": [
            f"{curve['extractor']} with {curve['head']}: {curve['sentence']}."
            for curve in results["curves"]
        ],
        "findings": results["findings"],
        "run_notes": results["notes"],
        "notes": content.notes,
        "audit": [] if content.audit is None else first_apart(content.audit["headline"]),
        "audit_page": content.audit_page,
        "verdicts": [] if content.audit is None else verdict_lines(content.audit),
    }


def _images(content: Content) -> dict[str, Any]:
    winner = content.results["winner"]
    name = f"{winner['extractor']} with {winner['head']}"
    hardest_words = (
        "The lowest probability of the truth, on the average of the best heads of all pretrained"
        f" extractors. What {name} said stands below."
        if len(pretrained(content.results)) > 1
        else f"The lowest probability of the truth, out of fold with {name}."
    )
    colours = [("label", "class"), ("error", "error of the best head")]
    if content.source:
        colours.insert(1, ("source", content.source))
    return {
        "planes": [shown({"extractor": p.extractor, "control": p.control}) for p in content.planes],
        "colours": colours,
        "hardest": [_difficult(content, one) for one in content.hardest],
        "confidently_wrong": [_difficult(content, one) for one in content.confidently_wrong],
        "map_words": map_words(content.results, len(content.pictures)),
        "hardest_words": hardest_words,
        "wrong_words": f"Wrong out of fold with {name}, the most certain first.",
        "side": 160,
    }


def _difficult(content: Content, one: Difficult) -> dict[str, Any]:
    picture = content.pictures[one.picture]
    return {
        "picture": one.picture,
        "name": picture.name,
        "label": picture.label,
        "jpeg": picture.jpeg is not None,
        "agreement": number(one.agreement),
        "predicted": one.predicted,
    }


def _provenance(content: Content) -> dict[str, Any]:
    results = content.results
    return {
        "flow": _flow(results),
        "command": content.command,
        "seed": results["options"].get("seed", ""),
        "settings": json.dumps(results["winner"]["settings"]),
        "files": [
            {
                "name": entry["name"] + (" (outside)" if entry["outside"] else ""),
                "fingerprint": entry["fingerprint"],
                "spec": json.dumps(entry["spec"], indent=1, ensure_ascii=False),
            }
            for entry in results["embeddings"]
        ],
        "options": json.dumps(results["options"], indent=1, ensure_ascii=False),
        "hashed": content.hashed,
    }


def _flow(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """From images found to images used: the largest file of each side says what was found."""
    found = failed = pending = gone = 0
    for outside in (False, True):
        of_side = [entry for entry in results["embeddings"] if entry["outside"] == outside]
        if of_side:
            found += max(entry["rows"] for entry in of_side)
            failed += max(sum(entry["failures"].values()) for entry in of_side)
            pending += max(entry["pending"] for entry in of_side)
            if not results["options"].get("include_gone"):
                gone += max(entry.get("gone", 0) for entry in of_side)
    used = results["images"]
    steps = [(found, "images found"), (failed, "failed: could not be read or used")]
    if pending:
        steps.append((pending, "not come to"))
    if gone:
        steps.append((gone, "gone: not among the images of the last extract"))
    if rest := found - failed - pending - gone - used:
        steps.append((rest, "left out: no label, or not in every embedding file"))
    steps.append((used, "images used"))
    flow = [{"number": str(count), "says": says} for count, says in steps if results["embeddings"]]
    flow = flow or [{"number": str(used), "says": "images used"}]
    patients = results["patients"]
    flow.append(
        {"number": str(patients), "says": "patients"}
        if patients
        else {"number": "?", "says": "patients: no patient column"}
    )
    return flow


def _data(content: Content, charts: Sequence[Chart]) -> str:
    """Write what the script needs as JSON that cannot end its element."""
    drawn = {
        chart.name: {"spec": _without_points(chart), "alt": chart.alt}
        for chart in charts
        # The map is one chart on the page; its other colours come with each plane.
        if not chart.name.startswith("map-") or chart.name == "map-class"
    }
    texts: dict[str, int] = {}
    document = {
        "config": CONFIG,
        "charts": drawn,
        "classWord": "labels" if content.results["kind"] == "multilabel" else "class",
        "sourceWord": content.source,
        "pictures": [
            {
                "name": picture.name,
                "label": picture.label,
                "source": picture.source,
                "jpeg": base64.b64encode(picture.jpeg).decode() if picture.jpeg else "",
            }
            for picture in content.pictures
        ],
        # Per picture, as numbers into `texts`: a text is written once, however often it stands.
        "groups": {
            field: _numbered(embedding_map.groups(content, field), texts)
            for field in ("label", "source")
        },
        "planes": [_plane(content, plane, texts) for plane in content.planes],
        "texts": list(texts),
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _numbered(values: Sequence[str], texts: dict[str, int]) -> list[int]:
    """Give texts their numbers, new ones the next."""
    return [texts.setdefault(value, len(texts)) for value in values]


def _without_points(chart: Chart) -> Spec:
    """Leave out the points of the map, which the script puts in for each plane."""
    if chart.name != "map-class":
        return chart.spec
    return {**chart.spec, "data": {**chart.spec["data"], "values": []}}


def _plane(content: Content, plane: Plane, texts: dict[str, int]) -> dict[str, Any]:
    """Write a plane: per point the picture's number, where it lies, and what was said of it."""
    points = embedding_map.points(content, plane)
    return {
        "name": f"{plane.extractor} with {plane.head}",
        **{key: [point[key] for point in points] for key in ("i", "x", "y")},
        "error": _numbered([point["error"] for point in points], texts),
        "predicted": _numbered(plane.predicted, texts),
        "agreement": [None if one is None else round(one, 4) for one in plane.agreement],
        "positions": embedding_map.positions(points, plane),
        "colourings": {
            field: embedding_map.colouring(points, field, name)
            for field, name in embedding_map.COLOURS.items()
        },
    }
