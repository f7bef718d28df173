"""The page as a reader sees it: headless Chromium, offline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrfeat import pages
from cxrfeat.commands.fit import fit
from cxrfeat.evaluation.outcome.label_texts import label_texts
from cxrfeat.pages import Content, Curve, Picture, Plane
from cxrfeat.results import FitResult
from tests.evaluation.made import write_file
from tests.pages.made import hashes, pixels_as_embeddings

CHARTS = {
    "extractors", "ranking", "differences", "roc", "precision-recall", "confusion",
    "reliability", "decision-curve", "learning-curve", "map-class",
}  # fmt: skip


class Opened:
    """A page that notes what it says and what it asks for."""

    def __init__(self, browser: Any, path: Path, width: int = 1440, scripts: bool = True) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        context = browser.new_context(
            offline=True, viewport={"width": width, "height": 900}, java_script_enabled=scripts
        )
        self.tab = context.new_page()
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(path.resolve().as_uri())
        if scripts:
            self.tab.wait_for_selector("html[data-drawn]", timeout=60_000)

    def asked_beyond(self, path: Path) -> list[str]:
        own = path.resolve().as_uri()
        return [url for url in self.asked if url != own and not url.startswith("data:")]


@pytest.fixture
def page_path(run_with_pictures: FitResult) -> Path:
    return run_with_pictures.run / "report.html"


@pytest.fixture(scope="module")
def opened(browser: Any, run_with_pictures: FitResult) -> Iterator[Opened]:
    page = Opened(browser, run_with_pictures.run / "report.html")
    yield page
    page.tab.close()


def test_nothing_is_complained_of_and_nothing_is_asked_for(opened: Opened, page_path: Path) -> None:
    assert opened.said == []
    assert opened.asked_beyond(page_path) == []


def test_a_request_that_leaves_the_page_would_be_seen(browser: Any, page_path: Path) -> None:
    """The check above can fail: what leaves is noted, and the page's own policy stops it."""
    page = Opened(browser, page_path)
    page.tab.evaluate("new Image().src = 'https://example.org/pixel.png'")
    page.tab.wait_for_timeout(200)
    assert any("Content Security Policy" in text for text in page.said)
    page.tab.close()


def test_every_chart_is_drawn_by_the_script_with_words_for_it(opened: Opened) -> None:
    drawn = opened.tab.evaluate(
        """[...document.querySelectorAll("[data-chart]")].map(place => {
            const svg = place.querySelector("svg.marks");
            return [place.dataset.chart, place.classList.contains("vega-embed"),
                svg.querySelectorAll("[role='graphics-symbol'], .mark-symbol path").length,
                svg.getBoundingClientRect().height,
                svg.closest("[aria-label]").getAttribute("aria-label")];
        })"""
    )
    assert {name for name, *_ in drawn} == CHARTS
    for name, by_script, marks, height, words in drawn:
        assert by_script, name
        assert marks >= 3, name
        assert height > 60, name
        assert len(words) > 60, name


def test_a_radiograph_appears_under_the_pointer_and_stays_when_clicked(opened: Opened) -> None:
    tab = opened.tab
    point = tab.locator("[data-map] .mark-symbol path").nth(7)
    point.scroll_into_view_if_needed()
    assert tab.locator(".float").is_hidden()
    point.hover(force=True)
    picture = tab.locator(".float img")
    picture.wait_for(state="visible")
    assert tab.evaluate("document.querySelector('.float img').naturalWidth") == 176
    point.click(force=True)
    assert tab.locator("#chosen img").is_visible()
    assert "synthetic-" in tab.locator("#chosen").inner_text()
    tab.mouse.move(2, 2)
    tab.locator(".float").wait_for(state="hidden")


def test_the_map_can_be_walked_with_the_keyboard_from_the_hardest_image(opened: Opened) -> None:
    tab = opened.tab
    tab.reload()
    tab.wait_for_selector("html[data-drawn]")
    tab.locator("#map-previous").focus()
    tab.keyboard.press("Enter")
    first = tab.locator("#chosen p").first.inner_text()
    hardest = tab.locator(".gallery .name").first.inner_text()
    assert first == hardest
    tab.keyboard.press("Enter")
    assert tab.locator("#chosen p").first.inner_text() != first
    assert tab.locator("#chosen img").is_visible()


def test_the_map_changes_extractor_and_colour(opened: Opened) -> None:
    tab = opened.tab
    shape = "document.querySelector('[data-map] .mark-symbol path').getAttribute('transform')"
    before = tab.evaluate(shape)
    tab.select_option("#map-extractor", label="blind (control)")
    tab.wait_for_function(f"{shape} !== {before!r}")
    for colour, words in (("source", "St Elsewhere"), ("error", "wrong"), ("label", "clear")):
        tab.select_option("#map-colour", colour)
        tab.wait_for_function(
            f"document.querySelector('[data-map]').textContent.includes('{words}')"
        )
    tab.select_option("#map-extractor", label="pixels")
    assert opened.said == []


def test_a_gallery_image_opens_large_and_closes_with_escape(opened: Opened) -> None:
    tab = opened.tab
    tab.locator("button.picture").first.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("dialog img").is_visible()
    tab.keyboard.press("Escape")
    assert tab.locator("dialog").is_hidden()


def test_the_ranking_sorts_by_numbers_in_both_directions(opened: Opened) -> None:
    tab = opened.tab
    heading = tab.locator("#table-ranking thead th", has_text="accuracy").last
    column = heading.evaluate("cell => cell.cellIndex")
    for direction in ("descending", "ascending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == direction
        values = tab.evaluate(
            f"[...document.querySelectorAll('#table-ranking tbody tr')]"
            f".map(row => Number(row.cells[{column}].dataset.value))"
        )
        assert len(set(values)) > 2
        assert values == sorted(values, reverse=direction == "descending")


def test_the_ranking_is_not_cut_off_at_its_right_edge(opened: Opened) -> None:
    table = opened.tab.locator("#table-ranking")
    header = table.locator("thead th")
    assert header.count() == 11  # the last is looked at below
    wide, room, edge, last = table.evaluate(
        """table => [
            table.parentElement.scrollWidth, table.parentElement.clientWidth,
            table.parentElement.getBoundingClientRect().right,
            table.tHead.rows[0].cells[10].getBoundingClientRect().right]"""
    )
    assert wide <= room
    assert last <= edge <= 1440


def test_what_a_screen_reader_needs_is_there(opened: Opened) -> None:
    found = opened.tab.evaluate(
        """({
            language: document.documentElement.lang,
            headings: [...document.querySelectorAll("h1, h2, h3")].map(
                heading => Number(heading.tagName[1])),
            silent: [...document.images].filter(image => !image.alt).length,
            unlabelled: [...document.querySelectorAll("select")].filter(
                choice => !choice.labels.length).length,
            captions: [...document.querySelectorAll("table")].every(table => table.caption),
            broken: [...document.querySelectorAll("a[href^='#']")].filter(
                a => a.hash.length > 1 && !document.getElementById(a.hash.slice(1))).length,
        })"""
    )
    assert found["language"] == "en"
    assert found["headings"][0] == 1
    assert all(b - a <= 1 for a, b in zip(found["headings"], found["headings"][1:], strict=False))
    assert (found["silent"], found["unlabelled"], found["broken"]) == (0, 0, 0)
    assert found["captions"]


def test_text_stands_out_from_its_background(opened: Opened) -> None:
    """4.5 to 1, as WCAG 2 asks of text, for every colour of text on the page."""
    pairs = opened.tab.evaluate(
        """(() => {
            const background = (node) => {
                for (let at = node; at; at = at.parentElement) {
                    const colour = getComputedStyle(at).backgroundColor;
                    if (!colour.startsWith("rgba(0, 0, 0, 0")) return colour;
                }
                return "rgb(255, 255, 255)";
            };
            const seen = new Set();
            const all = "p, td, th, a, li, span, b, button, code, figcaption";
            for (const node of document.querySelectorAll(all)) {
                if (!node.checkVisibility()) continue;
                seen.add(getComputedStyle(node).color + "|" + background(node));
            }
            return [...seen];
        })()"""
    )

    def luminance(colour: str) -> float:
        rgb = np.array([float(part) for part in colour.strip("rgba()").split(",")[:3]]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    assert len(pairs) > 3
    for pair in pairs:
        light, dark = sorted((luminance(colour) for colour in pair.split("|")), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, pair


def test_on_a_telephone_nothing_is_wider_than_the_screen(browser: Any, page_path: Path) -> None:
    page = Opened(browser, page_path, width=390)
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 390
    widest = page.tab.evaluate(
        "Math.max(...[...document.querySelectorAll('svg.marks')]"
        ".map(svg => svg.getBoundingClientRect().right))"
    )
    assert 200 < widest <= 390
    assert page.said == []
    page.tab.close()


LONG = "efficientnet_v2_s-imagenet1k_v1-multi (control)"


@pytest.mark.parametrize("width", [390, 1440])
def test_tables_show_every_score_without_sideways_scroll_whatever_names_are(
    browser: Any, page_path: Path, width: int
) -> None:
    """On a telephone rows are cards: the extractor over the head over each score by its name."""
    page = Opened(browser, page_path, width=width)
    page.tab.evaluate(
        """name => {
            for (const cell of document.querySelectorAll("tbody th")) cell.textContent = name;
            for (const closed of document.querySelectorAll("details")) closed.open = true;
        }""",
        LONG,
    )
    beyond = page.tab.evaluate(
        """[...document.querySelectorAll(".wide")]
            .filter(part => part.scrollWidth > part.clientWidth)
            .map(part => part.querySelector("table").id)"""
    )
    assert beyond == []
    sides = page.tab.evaluate(
        """[...document.querySelectorAll("#table-ranking td.number")].map(cell => {
            const {left, right} = cell.getBoundingClientRect(); return [left, right]; })"""
    )
    assert len(sides) > 30
    assert all(0 <= left < right <= width for left, right in sides)
    names = page.tab.locator("#table-ranking tbody tr").first.locator("td.number")
    shown = names.first.evaluate("cell => getComputedStyle(cell, '::before').content")
    assert (shown == '"95 % interval"') == (width == 390)
    page.tab.close()


def test_without_scripts_the_charts_are_there_too(browser: Any, page_path: Path) -> None:
    page = Opened(browser, page_path, scripts=False)
    drawn = page.tab.locator("[data-chart] > svg.marks")
    assert drawn.count() == len(CHARTS)
    assert all(len(chart.get_attribute("aria-label")) > 60 for chart in drawn.all())
    page.tab.close()


def test_on_paper_nothing_is_cut_off(browser: Any, page_path: Path) -> None:
    page = Opened(browser, page_path)
    data = page.tab.pdf(format="A4")
    assert len(re.findall(rb"/Type /Page\b", data)) >= 4
    page.tab.emulate_media(media="print")
    page.tab.set_viewport_size({"width": 690, "height": 1000})  # A4 within its margins
    beyond = page.tab.evaluate(
        """[...document.querySelectorAll("svg.marks, table, pre, .gallery")]
            .filter(part => part.getBoundingClientRect().right > 691).map(part => part.id)"""
    )
    assert beyond == []
    assert page.tab.locator("#map-controls").is_hidden()
    page.tab.close()


def test_a_page_of_317_real_radiographs_stays_below_8_mb(
    browser: Any, radiographs: Path, tmp_path: Path
) -> None:
    """The embeddings here are the pictures themselves, 12 pixels wide: what counts is the page."""
    ids = sorted(
        path.relative_to(radiographs).as_posix()
        for path in radiographs.rglob("*")
        if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    )
    assert len(ids) == 317
    names = sorted({id_.split("/")[1] for id_ in ids})
    y = np.array([names.index(id_.split("/")[1]) for id_ in ids])
    write_file(
        tmp_path / "pixels.h5", pixels_as_embeddings(radiographs, ids), y, ids=ids,
        classes=names, sha=hashes(radiographs, ids),
    )  # fmt: skip
    result = fit(tmp_path / "pixels.h5", head=["lda"], out=tmp_path / "run", images=radiographs)
    path = result.run / "report.html"
    assert path.stat().st_size < 8_000_000
    page = Opened(browser, path)
    assert page.tab.evaluate("data.pictures.filter(picture => picture.jpeg).length") == 317
    page.tab.locator("[data-map] .mark-symbol path").first.hover(force=True)
    page.tab.locator(".float img").wait_for(state="visible")
    assert page.said == []
    assert page.asked_beyond(path) == []
    page.tab.close()


def of_a_public_collection(results: dict[str, Any]) -> Content:
    """What a page of 112,120 images has to show: 14 findings, three extractors, 3,000 points."""
    random = np.random.default_rng(0)
    findings = [f"Finding {k + 1}" for k in range(14)]
    three = [*results["reports"], {**results["reports"][0], "extractor": "third"}]
    reports = [
        {
            **report,
            "confusion": [],
            "classes": [
                {**report["classes"][k % 3], "name": name} for k, name in enumerate(findings)
            ],
        }
        for report in three
    ]
    x = np.linspace(0, 1, 101)
    lines = [
        Curve(
            *(report["extractor"], report["head"], report["control"], name, 0.8, 0.1, x),
            *np.clip(np.sqrt(x) + random.normal([[0], [-0.1], [0.1]], 0.01, (3, 101)), 0, 1),
        )
        for name in findings
        for report in reports
    ]  # fmt: skip
    held = random.random((3000, 14)) < 0.1
    labels = [text or "none" for text in label_texts(findings, held)]
    said = [text or "none" for text in label_texts(findings, random.random((3000, 14)) < 0.2)]
    planes = [
        Plane(
            *(report["extractor"], report["head"], report["control"], (0.3, 0.2)),
            *(list(range(3000)), *random.normal(size=(2, 3000)).tolist(), said),
            *((random.random(3000) < 0.3).tolist(), random.random(3000).tolist(), 16_384),
        )
        for report in reports
    ]
    return Content(
        results={
            **results, "classes": findings, "kind": "multilabel", "images": 112_120,
            "patients": 30_805, "reports": reports,
            "extractors": [
                *results["extractors"], {**results["extractors"][0], "extractor": "third"}
            ],
        },
        title="large",
        version="0",
        roc=lines,
        precision_recall=lines,
        draws=500,
        pictures=[
            Picture(f"{k:08d}_000.png", label, "", None) for k, label in enumerate(labels)
        ],
        planes=planes,
    )  # fmt: skip


def test_a_page_of_a_public_collection_has_room_for_thumbnails_and_is_drawn(
    browser: Any, run_with_pictures: FitResult, tmp_path: Path
) -> None:
    results = json.loads((run_with_pictures.run / "results.json").read_text())
    content = of_a_public_collection(results)
    charts = pages.charts(content)
    drawn = {chart.name: pages.svg(chart.name, chart.spec, chart.alt) for chart in charts}
    path = tmp_path / "large.html"
    path.write_text(pages.page(content, charts, drawn), encoding="utf-8")
    assert path.stat().st_size < 5_000_000
    for width in (1440, 390):
        page = Opened(browser, path, width=width)
        assert page.said == []
        assert page.asked_beyond(path) == []
        assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
        panels = page.tab.locator("#figure-roc").inner_text()
        assert all(name in panels for name in content.results["classes"])
        widest = page.tab.evaluate(
            "Math.max(...[...document.querySelectorAll('svg.marks')]"
            ".map(svg => svg.getBoundingClientRect().right))"
        )
        assert widest <= width
        told = page.tab.locator("#figure-map svg.marks").evaluate(
            "svg => svg.closest('[aria-label]').getAttribute('aria-label')"
        )
        assert "3,000 of 112,120 images, drawn at random," in told
        assert "directions from 16,384 images, drawn at random" in told
        page.tab.close()
