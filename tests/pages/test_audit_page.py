"""The page of an audit: what it says, and how it looks in headless Chromium, offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrfeat.auditing import audit as auditing
from cxrfeat.commands.audit import audit
from cxrfeat.pages.audit_page import AuditContent, audit_page
from cxrfeat.results import FitResult
from cxrfeat.results.audit import Audit
from tests.auditing.made import made_up_steps, some_checks
from tests.pages.test_page import Tables


@pytest.fixture(scope="module")
def audited(run_with_pictures: FitResult, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    home = run_with_pictures.run.parents[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auditing, "steps_of", made_up_steps)
        return audit(
            images=home / "images", run=run_with_pictures.run,
            out=tmp_path_factory.mktemp("audited") / "audit",
        )  # fmt: skip


@pytest.fixture(scope="module")
def page_path(audited: Audit) -> Path:
    return Path(audited.files["audit.html"])


class Opened:
    """A page that notes what it says and what it asks for."""

    def __init__(self, browser: Any, path: Path, width: int = 1440) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
        self.tab = context.new_page()
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(path.resolve().as_uri())

    def asked_beyond(self, path: Path) -> list[str]:
        own = path.resolve().as_uri()
        return [url for url in self.asked if url != own and not url.startswith("data:")]


@pytest.fixture(scope="module", params=[1440, 390])
def opened(request: pytest.FixtureRequest, browser: Any, page_path: Path) -> Iterator[Opened]:
    page = Opened(browser, page_path, width=request.param)
    yield page
    page.tab.close()


def test_every_check_stands_in_the_table_and_in_its_section(page_path: Path) -> None:
    text = page_path.read_text(encoding="utf-8")
    _, *rows = Tables(text).found["table-verdicts"]
    checks = some_checks([""] * 9)
    assert [row[0] for row in rows] == [check.question for check in checks]
    assert [row[1] for row in rows] == [check.verdict.value for check in checks]
    for check in checks:
        assert f"<code>{check.code}</code>" in text
    assert "3 found" not in text
    assert "7 questions: 5 found, 1 not found, 1 could not be tested." in text
    assert "equal &lt;bytes&gt;" in text  # nothing that was found can be markup
    assert "4.0e-04" in text


def test_pictures_are_in_the_page_pairs_side_by_side(opened: Opened) -> None:
    assert opened.tab.locator(".pairs li").count() == 2
    first, second = (
        one.bounding_box() for one in opened.tab.locator(".pairs li:first-child img").all()
    )
    assert first["y"] == second["y"]
    assert first["x"] + first["width"] < second["x"]
    assert opened.tab.locator(".ranked img").count() == 3
    assert opened.tab.locator(".sheet img").count() == 8
    widths = opened.tab.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert set(widths) == {176}


def test_nothing_is_complained_of_and_nothing_is_asked_for(opened: Opened, page_path: Path) -> None:
    assert opened.said == []
    assert opened.asked_beyond(page_path) == []


def test_nothing_is_wider_than_the_screen(opened: Opened) -> None:
    width = opened.tab.viewport_size["width"]
    assert opened.tab.evaluate("document.documentElement.scrollWidth") <= width
    beyond = opened.tab.evaluate(
        """[...document.querySelectorAll("main *")].filter(part =>
            part.getBoundingClientRect().right > innerWidth && !part.closest(".wide"))
            .map(part => part.outerHTML.slice(0, 80))"""
    )
    assert beyond == []


def test_intervals_lie_where_their_numbers_say(opened: Opened) -> None:
    """The axis runs over round numbers around all values: 0.5 at its left end, 1 at its right."""
    rows = opened.tab.locator("#answer .bars li")
    assert rows.count() == 3
    assert rows.locator(".name").first.inner_text().strip() == "majority"
    styles = [dot.get_attribute("style") for dot in rows.locator(".dot").all()]
    assert styles == ["left:0.0%", "left:82.0%", "left:98.0%"]
    whiskers = [one.get_attribute("style") for one in rows.locator(".whisker").all()]
    assert whiskers == ["left:74.0%;width:14.0%", "left:96.0%;width:3.8%"]
    ticks = opened.tab.locator("#answer .axis .track span").all_inner_texts()
    assert (ticks[0], ticks[-1]) == ("0.5", "1")


def test_a_pair_is_shown_once_and_a_long_table_is_folded_and_cut(page_path: Path) -> None:
    text = page_path.read_text(encoding="utf-8")
    assert "All 1 listed candidates are shown above" in text
    assert "<summary>Pairs; the first 100 of 120, all are in its CSV file: 100 rows" in text
    assert "1 pair does.</p>" in text.replace("\n", "")


def test_what_a_screen_reader_needs_is_there(opened: Opened) -> None:
    found = opened.tab.evaluate(
        """({
            headings: [...document.querySelectorAll("h1, h2, h3")].map(
                heading => Number(heading.tagName[1])),
            silent: [...document.images].filter(image => !image.alt).length,
            captions: [...document.querySelectorAll("table")].every(table => table.caption),
            ids: [...document.querySelectorAll("[id]")].map(node => node.id),
            broken: [...document.querySelectorAll("a[href^='#']")].filter(
                a => !document.getElementById(a.hash.slice(1))).length,
        })"""
    )
    assert found["headings"][0] == 1
    assert all(b - a <= 1 for a, b in zip(found["headings"], found["headings"][1:], strict=False))
    assert (found["silent"], found["broken"]) == (0, 0)
    assert found["captions"]
    assert len(found["ids"]) == len(set(found["ids"]))


def test_the_page_can_be_drawn_of_the_file_alone_without_pictures(audited: Audit) -> None:
    document = json.loads(Path(audited.files["audit.json"]).read_text(encoding="utf-8"))
    text = audit_page(AuditContent(document, "again", "0"))
    assert "<img" not in text
    assert text.count("no picture") == 15
