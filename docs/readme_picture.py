"""Draw the picture of the README: the top of the page of a run on synthetic radiographs.

    python docs/readme_picture.py

It draws 60 synthetic radiographs, runs one network with its ImageNet weights and with random ones,
compares them, opens the page in the browser chromium (`make browser`), and photographs it.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import cxrfeat
from cxrfeat.images.drawing.phantom import write_phantoms

PICTURE = Path(__file__).parent / "_static" / "readme-report.png"
WIDTH, HEIGHT = 1000, 760
COLOURS = 64  # of a page of text and lines; keeps the file small


def page() -> Path:
    """Compare the network with its control, in the folder that this is called in."""
    labels = write_phantoms("radiographs", patients=30)
    cxrfeat.extract(
        "radiographs",
        labels=labels,
        backbone="efficientnet_lite0",
        weights=[
            "efficientnet_lite0=imagenet-efficientnet-lite0-57934424",
            "efficientnet_lite0=random",
        ],
        name=["efficientnet_lite0", "efficientnet_lite0-random"],
    )
    return Path(cxrfeat.fit("embeddings", head=["logreg", "lda"]).files["report.html"])


def photograph(html: Path, picture: Path) -> None:
    """Save the top of a page as a small PNG."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = opened.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        tab.goto(html.resolve().as_uri())
        tab.screenshot(path=picture)
        opened.close()
    with Image.open(picture) as drawn:
        drawn.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        photograph(page(), PICTURE)
