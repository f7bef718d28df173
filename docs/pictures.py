"""Make the pictures of the site: ``make pictures``.

Each shows what a tutorial leaves behind, so the tutorials are run first, on synthetic radiographs.
The session in the terminal is what the page of the first comparison says.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

sys.path.insert(0, str(Path(__file__).parent))

import tutorial_runner  # beside this file

FOLDER = Path(__file__).parent / "_static" / "pictures"
FIRST, AUDIT = "first-comparison", "audit-a-result"
WIDTH, HEIGHT = 1000, 1250
COLOURS = 96
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")

Place = Path
"""The folder in which a tutorial ran."""


def session(path: Path, page: Page, place: Place) -> None:
    """Draw the first comparison as a terminal shows it."""
    with open("/dev/null", "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=100, file=nowhere)
        text = (tutorial_runner.TUTORIALS / f"{FIRST}.md").read_text(encoding="utf-8")
        shown = set[str]()
        for step in tutorial_runner.steps_of(text):
            command = step.code.split()[1]
            if step.kind == "console" and command in ("extract", "fit") and command not in shown:
                shown.add(command)
                console.print(Text(f"$ {' '.join(step.code.split())}", style="bold green"))
                console.print(Text("\n".join(step.expected)))
        drawn = console.export_svg(title="cxrfeat", theme=SVG_EXPORT_THEME, unique_id="session")
    without_fonts = re.sub(r"@font-face\s*{[^}]*}", "", drawn)  # they are fetched from elsewhere
    path.write_text(re.sub(r"[ \t]+$", "", without_fonts, flags=re.MULTILINE), encoding="utf-8")


def sheet(path: Path, page: Page, place: Place) -> None:
    """Take the contact sheet of ``cxrfeat inspect radiographs --out sheet.png``."""
    with Image.open(place / "sheet.png") as picture:
        small = picture.convert("L")
        small.thumbnail((760, 760))
        small.quantize(32).save(path, optimize=True)


def report(path: Path, page: Page, place: Place) -> None:
    """Open the page of the run that ``cxrfeat fit`` made."""
    _shoot(path, page, place / "runs/fit-001/report.html")


def audit(path: Path, page: Page, place: Place) -> None:
    """Open the page that ``cxrfeat audit --run runs/fit-001`` made."""
    _shoot(path, page, place / "runs/fit-001/audit/audit.html")


PICTURES: dict[str, tuple[str, Callable[[Path, Page, Place], None]]] = {
    "session.svg": (FIRST, session),
    "sheet.png": (FIRST, sheet),
    "report.png": (FIRST, report),
    "audit.png": (AUDIT, audit),
}
"""Each picture, the tutorial that it is of, and what makes it."""


def _shoot(path: Path, page: Page, shown: Path) -> None:
    page.goto(shown.as_uri())
    page.screenshot(path=path, clip={"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT})
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(COLOURS)
    few.save(path, optimize=True)


def main() -> None:
    """Run the tutorials and make all pictures anew."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as root, sync_playwright() as playwright:
        for name in (FIRST, AUDIT):
            tutorial_runner.run_page(tutorial_runner.TUTORIALS / f"{name}.md", Path(root, name))
        browser = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        page = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, offline=True, color_scheme="light"
        )
        for name, (tutorial, make) in PICTURES.items():
            make(FOLDER / name, page, Path(root, tutorial))
            print(f"{name}: {(FOLDER / name).stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
