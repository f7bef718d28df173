"""The page says what `results.json` says, and nothing that it was not given."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrfeat import pages
from cxrfeat.pages import Content, Curve, Picture, Plane, look
from cxrfeat.pages.charts import DRAWINGS
from cxrfeat.pages.drawings import curves
from cxrfeat.results import ChecklistItem, FitResult
from cxrfeat.results.data import Finding


class Tables(HTMLParser):
    """Every table of a page by its id: rows of the text of their cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, list[list[str]]] = {}
        self.inside: list[list[str]] | None = None
        self.cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.inside = self.found.setdefault(dict(attrs).get("id") or "", [])
        elif tag == "tr" and self.inside is not None:
            self.inside.append([])
        elif tag in ("td", "th") and self.inside is not None:
            self.inside[-1].append("")
            self.cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.inside = None
        elif tag in ("td", "th"):
            self.cell = False

    def handle_data(self, data: str) -> None:
        if self.cell and self.inside:
            self.inside[-1][-1] += data


def digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


@pytest.fixture(scope="module")
def results(run_with_pictures: FitResult) -> dict[str, Any]:
    return json.loads((run_with_pictures.run / "results.json").read_text())


@pytest.fixture(scope="module")
def text(run_with_pictures: FitResult) -> str:
    return (run_with_pictures.run / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tables(text: str) -> dict[str, list[list[str]]]:
    return Tables(text).found


def test_the_ranking_on_the_page_is_the_one_of_results_json(
    tables: dict[str, list[list[str]]], results: dict[str, Any]
) -> None:
    header, *rows = tables["table-ranking"]
    names = {"macro AUROC": "auroc", "macro AUPRC": "auprc", "balanced accuracy":
             "balanced_accuracy", "accuracy": "accuracy", "macro F1": "f1", "MCC": "mcc",
             "Brier score": "brier", "ECE": "ece"}  # fmt: skip
    assert set(names) <= set(header)
    assert len(rows) == len(results["ranking"]) == 6
    for row, score in zip(rows, results["ranking"], strict=True):
        cells = dict(zip(header, row, strict=True))
        control = " (control)" if score["control"] else ""
        assert (cells["Extractor"], cells["Head"]) == (score["extractor"] + control, score["head"])
        low, high = score["interval"]
        assert cells["95 % interval"] == f"{digits(low)} to {digits(high)}"
        for title, name in names.items():
            assert cells[title] == f"{digits(score['mean'][name])} ± {digits(score['sd'][name])}"


def test_extractors_and_differences_are_those_of_results_json(
    tables: dict[str, list[list[str]]], results: dict[str, Any]
) -> None:
    for row, one in zip(tables["table-extractors"][1:], results["extractors"], strict=True):
        assert row[2] == f"{digits(one['mean'])} ± {digits(one['sd'])}"
        assert row[3] == " to ".join(digits(limit) for limit in one["interval"])
        assert row[4] == digits(results["permuted"][one["extractor"]])
    for row, pair in zip(tables["table-differences"][1:], results["comparisons"], strict=True):
        assert row[2] == pair["verdict"]
        assert row[3] == digits(pair["difference"])
        assert row[4] == " to ".join(digits(limit) for limit in pair["interval"])
        probabilities = ("p", "p_holm", "better", "same", "worse")
        assert row[5:] == [digits(pair[name]) for name in probabilities]


def test_classes_confusion_and_learning_curve_are_those_of_results_json(
    tables: dict[str, list[list[str]]], results: dict[str, Any], text: str
) -> None:
    for place, report in enumerate(results["reports"]):
        for row, entry in zip(tables[f"table-classes-{place}"][1:], report["classes"], strict=True):
            wanted = ("auprc", "precision", "recall", "f1", "specificity", "npv")
            limits = " to ".join(digits(limit) for limit in entry["auroc_interval"])
            assert row[1:9] == [
                *(digits(entry["auroc"]), limits),
                *(digits(entry[name]) for name in wanted),
            ]
            assert row[10] == str(entry["support"])
    points = [point for curve in results["curves"] for point in curve["points"]]
    for row, point in zip(tables["table-learning"][1:], points, strict=True):
        assert row[4] == f"{digits(point['mean'])} ± {digits(point['sd'])}"
    data = page_data(text)
    drawn = data["charts"]["confusion"]["spec"]["data"]["values"]
    flat = [count for report in results["reports"] for of in report["confusion"] for count in of]
    assert [row["images"] for row in drawn] == flat


def test_calibration_is_that_of_results_json(
    tables: dict[str, list[list[str]]], results: dict[str, Any]
) -> None:
    rows = iter(tables["table-calibration"][1:])
    for report in results["reports"]:
        for entry in report["classes"]:
            row = next(rows)
            assert row[0] == entry["name"]
            assert row[2] == report["head"]
            shown = [digits(entry["calibration_slope"]), digits(entry["calibration_intercept"])]
            assert [row[3], row[5], row[7]] == [*shown, digits(entry["ece"])]
            low, high = entry["calibration_intercept_interval"]
            assert row[6] == f"{digits(low)} to {digits(high)}"
    assert next(rows, None) is None


def test_decision_curves_are_those_of_results_json(text: str, results: dict[str, Any]) -> None:
    drawn = page_data(text)["charts"]["decision-curve"]["spec"]["data"]["values"]
    for report in results["reports"]:
        for entry in report["classes"]:
            curve = entry["decision_curve"]
            mine = {
                row["threshold"]: row["benefit"]
                for row in drawn
                if row["class"] == entry["name"]
                and row.get("extractor", "").startswith(report["extractor"])
            }
            # What is far below calling none is a gap.
            assert mine[0.01] == pytest.approx(curve["net_benefit"][0], abs=1e-4)
            far_below = {
                threshold
                for threshold, benefit in zip(curve["threshold"], curve["net_benefit"], strict=True)
                if benefit < -0.25 * entry["prevalence"]
            }
            assert set(mine) == set(curve["threshold"])
            assert {threshold for threshold, at in mine.items() if at is None} == far_below


def test_a_run_from_before_slopes_and_net_benefit_has_a_page_without_them(
    results: dict[str, Any],
) -> None:
    new = ("ece", "calibration_slope", "calibration_intercept", "decision_curve",
           "calibration_slope_interval", "calibration_intercept_interval")  # fmt: skip
    old = json.loads(json.dumps(results))
    for report in old["reports"]:
        report["intervals"]["ece"] = [0.05, 0.11]
        for entry in report["classes"]:
            for name in new:
                del entry[name]
    names = {chart.name for chart in pages.charts(small(old))}
    assert "reliability" in names
    assert "decision-curve" not in names
    found = Tables(made_page(small(old))).found
    assert "table-classes-0" in found
    assert "table-calibration" not in found


def page_data(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


def map_points(data: dict[str, Any], plane: int = 0) -> list[dict[str, Any]]:
    """The points of a plane, as the script of the page puts them together."""
    of, texts = data["planes"][plane], data["texts"]
    return [
        {
            "i": i, "x": x, "y": y, "error": texts[error],
            **{field: texts[numbers[i]] for field, numbers in data["groups"].items()},
        }
        for i, x, y, error in zip(of["i"], of["x"], of["y"], of["error"], strict=True)
    ]  # fmt: skip


def test_the_answer_is_in_words_with_the_score_that_no_choice_flattered(
    text: str, results: dict[str, Any]
) -> None:
    answer = re.search(r'<div class="answer">(.*?)</div>', text, re.S)
    assert answer
    best = next(
        one for one in results["extractors"] if one["extractor"] == results["winner"]["extractor"]
    )
    assert f"{best['extractor']} with {results['winner']['head']} comes first" in answer[1]
    assert f"macro AUROC of {digits(best['mean'])}" in answer[1]
    for limit in best["interval"]:
        assert digits(limit) in answer[1]
    assert "60 images of 30 patients" in answer[1]


def test_everything_to_repeat_the_run_is_there(text: str, results: dict[str, Any]) -> None:
    assert re.search(r"cxrfeat fit \S*embeddings --head logreg --head lda --head dummy", text)
    assert "--learning-curve --seed 3" in text
    for entry in results["embeddings"]:
        assert entry["fingerprint"] in text
    for version in results["versions"].values():
        assert version in text
    for words in ("Research use only. Not for diagnosis.", "images found", "patients"):
        assert words in text


def test_nothing_on_the_page_points_outside(text: str) -> None:
    own = re.sub(r"<script\b.*?</script>", "", text, flags=re.S)
    places = set(re.findall(r"(?:https?:)?//[\w.-]+", own)) - {"http://www.w3.org"}
    assert places == set()
    assert not re.search(r"<(?:link|iframe|object|embed)\b|\ssrc=", own)
    assert "default-src 'none'" in own


def small(results: dict[str, Any], **changes: Any) -> Content:
    return Content(results={**results, **changes}, title="t", version="0")


def made_page(content: Content, checklist: tuple[ChecklistItem, ...] = ()) -> str:
    charts = pages.charts(content)
    return pages.page(content, charts, dict.fromkeys((one.name for one in charts), ""), checklist)


def test_names_are_text_and_never_markup(results: dict[str, Any]) -> None:
    evil = "</script><script>alert(1)</script>"
    finding = {"code": "x", "message": evil, "detail": {}}
    content = replace(
        small(results, findings=[finding]),
        pictures=[Picture(evil, evil, evil)],
        planes=[Plane(evil, "h", False, (0.5, 0.2), [0], [0.0], [1.0], [evil], [True], [0.1])],
    )
    text = made_page(content)
    assert evil not in text
    assert "&lt;/script&gt;" in text
    assert page_data(text)["pictures"][0]["name"] == evil


def test_the_checklist_is_a_table_of_its_items(results: dict[str, Any]) -> None:
    item = ChecklistItem("CLAIM 2024", "12a", "a topic", "partly", "a value", "results.json: k")
    long = replace(item, item="12b", source="; ".join(f"place {n}" for n in range(9)))
    text = made_page(small(results), (item, long))
    rows = Tables(text).found["table-checklist"]
    assert rows[1] == ["CLAIM 2024", "12a", "a topic", "partly", "a value", "results.json: k"]
    assert rows[2][5].startswith("9 places")
    assert "CLAIM 2024: 0 answered by the run, 2 answered in part, 0 left to the author" in text
    assert "place 8" in rows[2][5]
    assert "table-checklist" not in Tables(made_page(small(results))).found


def test_findings_are_named_in_the_answer_and_told_in_full(results: dict[str, Any]) -> None:
    found = [{"code": "control-not-beaten", "message": "random weights do as well", "detail": {}}]
    text = made_page(small(results, findings=found))
    assert "1 finding limits how far this can be trusted: control-not-beaten." in text
    assert "random weights do as well" in text
    assert "No finding speaks against" in made_page(small(results, findings=[]))
    assert Finding("a", "b").detail == {}


def one_extractor(results: dict[str, Any], heads: int) -> dict[str, Any]:
    """The same run with the winner's extractor alone, and that many heads beside guessing."""
    name = results["winner"]["extractor"]
    own = [score for score in results["ranking"] if score["extractor"] == name]
    learned = [score for score in own if score["head"] != "dummy"][:heads]
    return {
        "ranking": [*learned, *(score for score in own if score["head"] == "dummy")],
        "extractors": [one for one in results["extractors"] if one["extractor"] == name],
        "reports": [one for one in results["reports"] if one["extractor"] == name],
        "comparisons": [],
    }


def test_one_extractor_with_one_head_comes_first_among_nothing(results: dict[str, Any]) -> None:
    winner = "{extractor} with {head}".format(**results["winner"])
    alone = pages.words.answer({**results, **one_extractor(results, 1)})
    assert alone[0] == f"One extractor was scored with one head: {winner}."
    assert alone[1].startswith(f"{winner} has a macro AUROC of")
    several = pages.words.answer({**results, **one_extractor(results, 2)})
    assert several[0] == (
        f"One extractor was scored: {winner} comes first among its heads by macro AUROC."
    )
    assert several[1].startswith("With the head chosen inside the training images of each fold")


def test_intervals_draw_images_where_no_patients_are_known(results: dict[str, Any]) -> None:
    known = made_page(small(results))
    assert f"95 % intervals {results['intervals']}." in known
    assert "the draws of patients and the shuffled labels" in known
    of_before = {name: value for name, value in results.items() if name != "intervals"}
    unknown = made_page(small(of_before, patients=None, permuted={"pixels": None, "blind": None}))
    assert "95 % intervals over test images, with the models as they are." in unknown
    assert "the draws of images." in unknown
    assert "Would more patients help?" in known
    assert "Would more images help?" in unknown
    assert "Would more patients" not in unknown
    ends = [0.0, 1.0]
    curve = Curve("pixels", "lda", False, "clear", 0.8, 0.1, ends, ends, ends, ends)
    _, said = curves.roc(replace(small(of_before, patients=None), roc=[curve])) or ({}, "")
    assert "95 % bands over test images" in said
    for words in ("drawing patients", "draws of patients", "with fewer patients", "Share of pat"):
        assert words not in unknown
    rows = Tables(unknown).found["table-extractors"]
    assert [row[-1] for row in rows] == ["AUROC, labels shuffled", *["cannot be tested"] * 2]


def test_the_map_says_how_many_of_how_many_it_shows(results: dict[str, Any]) -> None:
    seen = [Picture(str(i), "clear", "") for i in range(4)]
    plane = Plane(
        *("pixels", "lda", False, (0.5, 0.2), list(range(4)), [0.0] * 4, [1.0] * 4),
        *(["clear"] * 4, [False] * 4, [0.9] * 4),
    )
    for images, words in ((4, "Every image is a point;"), (4000, "4 of 4,000 images are points,")):
        content = replace(small(results, images=images), pictures=seen, planes=[plane])
        assert words in made_page(content)
    (alt,) = [chart.alt for chart in pages.charts(content) if chart.name == "map-class"]
    assert alt.startswith("Map of 4 of 4,000 images, drawn at random,")


def test_a_map_of_hundreds_of_labels_has_a_short_legend(results: dict[str, Any]) -> None:
    """Several labels per image: 40 of "none", 30 of "Mass", and 200 sets that stand once."""
    labels = ["none"] * 40 + ["Mass"] * 30 + [f"Mass|label {k}" for k in range(200)]
    seen = [Picture(str(i), label, "") for i, label in enumerate(labels)]
    n = len(seen)
    plane = Plane(
        *("pixels", "lda", False, (0.5, 0.2), list(range(n)), [0.0] * n, [1.0] * n),
        *(labels, [False] * n, [0.9] * n),
    )
    content = replace(small(results, images=n), pictures=seen, planes=[plane])
    (chart,) = [chart for chart in pages.charts(content) if chart.name == "map-class"]
    scale = chart.spec["layer"][0]["encoding"]["color"]["scale"]
    assert len(scale["domain"]) == len(scale["range"]) == 12
    assert scale["domain"][-1] == "191 others"
    assert {"none", "Mass"} < set(scale["domain"])
    data = page_data(made_page(content))
    points = map_points(data)
    assert points == chart.spec["data"]["values"]
    assert sum(point["label"] == "191 others" for point in points) == 191
    assert [picture["label"] for picture in data["pictures"]] == labels
    assert [data["texts"][k] for k in data["planes"][0]["predicted"]] == labels


def test_a_map_whose_directions_are_of_a_sample_says_so(results: dict[str, Any]) -> None:
    plane = Plane(*("p", "h", False, (0.5, 0.2), [0], [0.0], [1.0], ["a"], [True], [0.1], 16_384))
    content = replace(small(results), pictures=[Picture("0", "a", "")], planes=[plane])
    (alt,) = [chart.alt for chart in pages.charts(content) if chart.name == "map-class"]
    assert "directions from 16,384 images, drawn at random" in alt
    content = replace(content, planes=[replace(plane, computed_from=None)])
    (alt,) = [chart.alt for chart in pages.charts(content) if chart.name == "map-class"]
    assert "directions from" not in alt


@given(
    st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=2, max_size=101),
    st.sampled_from([1.0, 0.02, 0.001]),
)
def test_a_curve_is_drawn_with_fewer_points_and_stays_near(
    steps: list[tuple[float, float, float]], size: float
) -> None:
    walk = np.cumsum(np.array(steps) * size, axis=0).T
    x = np.linspace(0, 1, len(steps))
    curve = Curve("e", "h", False, "a", 0.5, None, x, *walk)
    kept = curves._kept(curve)
    assert (kept[0], kept[-1]) == (0, len(steps) - 1)
    for line in walk:
        assert np.abs(np.interp(x, x[kept], line[kept]) - line).max() <= curves.NEAR + 1e-12


def test_a_straight_line_is_two_points() -> None:
    x = np.linspace(0, 1, 101)
    assert curves._kept(Curve("e", "h", False, "a", 0.5, None, x, x, x - 0.1, x + 0.1)) == [0, 100]


def test_a_chart_is_left_out_where_the_run_has_no_such_data(results: dict[str, Any]) -> None:
    names = {chart.name for chart in pages.charts(small(results, curves=[], comparisons=[]))}
    assert names == {"extractors", "ranking", "confusion", "reliability", "decision-curve"}
    text = made_page(small(results, curves=[], comparisons=[]))
    assert "Would more patients help?" not in text


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_chart_has_a_place_on_the_page(name: str) -> None:
    template = resources.files(pages).joinpath("page.html").read_text(encoding="utf-8")
    # The map is one chart on the page; its other colours come with its data.
    place = "map-class" if name.startswith("map-") else name
    assert f'{{{{ chart("{place}"' in template or f'data-chart="{place}"' in template


def test_every_figure_is_there_as_svg_and_png(run_with_pictures: FitResult) -> None:
    folder = run_with_pictures.run / "figures"
    svg = {path.stem for path in folder.glob("*.svg")}
    assert svg == {path.stem for path in folder.glob("*.png")}
    assert {"roc", "ranking", "map-class", "map-source", "map-error"} <= svg
    for path in folder.iterdir():
        data = path.read_bytes()
        assert data.startswith(b"<svg" if path.suffix == ".svg" else b"\x89PNG")
        assert len(data) > 2_000
        assert str(Path("figures") / path.name) in run_with_pictures.files


@pytest.mark.parametrize(
    ("metric", "values", "domain"),
    [
        ("auroc", [0.9, 1.0, 0.99], [0.894, 1.0]),
        ("auroc", [0.02, 0.5], [0.0, 0.5288]),
        ("mcc", [-0.99, 0.2, None], [-1.0, 0.2714]),
        ("log_loss", [0.9, 1.1], [0.888, 1.112]),
    ],
)
def test_axes_of_scores_end_where_scores_do(
    metric: str, values: list[float | None], domain: list[float]
) -> None:
    assert look.score_axis(metric, values) == {"domain": domain, "nice": False, "zero": False}
