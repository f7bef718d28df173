"""A page that may leave the house: names that stand for ids, and no path."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cxrfeat import tables
from cxrfeat.evaluation.outcome.saved_run import SavedRun
from cxrfeat.pages import Content

PLACES: dict[str, Any] = {"embeddings": ["EMBEDDINGS"], "test": ["TEST"], "splits": "SPLITS"}
"""Options that hold paths, and what stands for them."""


@dataclass(frozen=True)
class Names:
    """What stands for which id.

    Attributes
    ----------
    of : dict of str to str
        By id. A keyed hash whose key is drawn for each page and kept nowhere: it cannot be undone
        by trying ids, nor compared with another page.
    """

    of: dict[str, str]

    def write(self, path: Path) -> None:
        """Write the table that stays in the house."""
        tables.write_table(path, {"name": list(self.of.values()), "id": list(self.of)})

    def hide(self, text: str) -> str:
        """Replace every id in a text."""
        for id_ in sorted((id_ for id_ in self.of if id_ in text), key=len, reverse=True):
            text = text.replace(id_, self.of[id_])
        return text


def ids_beside(page: Path) -> Path:
    """Return where the table of names and ids lies that belongs to a page without ids."""
    return page.with_name(f"{page.stem}-ids.csv")


def anonymous(content: Content, saved: SavedRun, key: bytes) -> tuple[Content, Names]:
    """Replace ids, paths, names of sources and the run's name.

    Classes, extractors, heads and numbers stay as they are.
    """
    names = Names(
        {
            id_: "image " + hmac.new(key, id_.encode(), hashlib.sha256).hexdigest()[:12]
            for id_ in saved.ids
        }
    )
    sources = {one: f"source {number}" for number, one in enumerate(_sources(content), 1)}
    hidden = replace(
        content,
        results=_without_places(content.results, names, sources),
        title="run",
        pictures=[
            replace(picture, name=names.of[picture.name], source=sources.get(picture.source, ""))
            for picture in content.pictures
        ],
        source="source" if content.source else "",
        audit=None if content.audit is None else _without_answers(content.audit),
        hashed=True,
    )
    return hidden, names


def _without_answers(audit: Mapping[str, Any]) -> dict[str, Any]:
    """Leave questions and verdicts: answers name images, places and values of columns."""
    return {**audit, "checks": [{**check, "answer": ""} for check in audit["checks"]]}


def _sources(content: Content) -> list[str]:
    return sorted({picture.source for picture in content.pictures} - {""})


def _without_places(
    results: Mapping[str, Any], names: Names, sources: Mapping[str, str]
) -> dict[str, Any]:
    options = dict(results["options"])
    folds = results["folds"]
    if options.get("splits"):
        folds = "folds of a splits file"
    if options.get("leave_out"):
        folds = f"each {options['leave_out']} left out in turn"
    options |= {name: stand_in for name, stand_in in PLACES.items() if options.get(name)}
    return {
        **results,
        "run": "",
        "files": {},
        "options": options,
        "folds": names.hide(folds),
        "findings": [
            {**finding, "message": names.hide(finding["message"]), "detail": {}}
            for finding in results["findings"]
        ],
        "notes": [names.hide(note) for note in results["notes"]],
        "embeddings": [{**entry, "path": ""} for entry in results["embeddings"]],
    }
