"""The text of the study: `template.md` with the numbers of the files that the run left."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).with_name("template.md")

POINTS = {
    "Copies, with those that only hashes and pictures show": "copies-across",
    "The score without them": "score-without-copies",
    "Labels": "label-errors",
    "Bytes per pixel of the files": "attribute:bytes per pixel",
    "Sources": "leave-source-out",
    "A mark in a corner, drawn into some": "planted-corner-mark",
}
"""What the text says of the audit beside the ladder; the last is not asked with ``--quick``."""


def render(folder: Path) -> str:
    """Write the text out of ``results.json``, ``audit.json`` and ``seconds.json`` in a folder."""
    results, audit, seconds = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("results", "audit", "seconds")
    )
    return TEMPLATE.read_text(encoding="utf-8").format_map(numbers(results, audit, seconds))


def numbers(
    results: Mapping[str, Any], audit: Mapping[str, Any], seconds: Mapping[str, int]
) -> dict[str, Any]:
    """Return what the template names; nothing here is written by hand."""
    checks = {one["code"].removesuffix(":vgg16"): one for one in audit["checks"]}
    ladder = _table_of(checks["controls-no-lungs"])
    return {
        "images": results["images"],
        "classes": ", ".join(f"{one['name']} {one['support']}" for one in _classes(results)),
        "folds": results["folds"],
        "intervals": results["intervals"],
        "networks": _networks(results),
        "heads": ", ".join(sorted({row["head"] for row in results["ranking"]} - {"dummy"})),
        "versions": ", ".join(f"{name} {of}" for name, of in results["versions"].items()),
        "extractors": table_of_extractors(results),
        "auroc": {one["extractor"]: one["mean"] for one in results["extractors"]},
        "pair": {f"{p['first']}~{p['second']}": p["sentence"] for p in results["comparisons"]},
        "pairs": "\n".join(f"- {pair['sentence']}." for pair in results["comparisons"]),
        "finding": {one["code"]: one["message"] for one in results["findings"]},
        "ladder": _ladder(ladder),
        "rung": {row["control"]: row for row in ladder},
        "check": {code: one["answer"].rstrip(".") for code, one in checks.items()},
        "verdict": {code: one["verdict"] for code, one in checks.items()},
        "headline": audit["headline"],
        "asked": _asked(audit),
        "shown": _shown(audit),
        "option": " --quick" if audit["options"]["quick"] else "",
        "points": "\n".join(
            f"- {name}: {checks[code]['answer'].rstrip('.')}."
            for name, code in POINTS.items()
            if code in checks
        ),
        "head": audit["head"],
        "minutes": sum(seconds.values()) / 60,
    }


def table_of_extractors(results: Mapping[str, Any]) -> str:
    """Return each extractor with the head chosen inside the folds, and its best head's accuracy."""
    mean = {(row["extractor"], row["head"]): row["mean"] for row in results["ranking"]}
    report = {one["extractor"]: one for one in results["reports"]}
    rows = []
    for one in results["extractors"]:
        best = report[one["extractor"]]
        accuracy = mean[one["extractor"], best["head"]]["balanced_accuracy"]
        rows.append(
            (
                f"{one['extractor']}{' (control)' if one['control'] else ''}",
                f"{one['mean']:.3f}",
                _between(*one["interval"]),
                f"{accuracy:.3f}",
                _between(*best["intervals"]["balanced_accuracy"]),
            )
        )
    return _markdown(
        ("extractor", "macro AUROC", "95 % interval", "balanced accuracy", "95 % interval"), rows
    )


def _classes(results: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return results["reports"][0]["classes"]


def _networks(results: Mapping[str, Any]) -> str:
    """Say of each embedding file what made it."""
    rows = []
    for file in sorted(results["embeddings"], key=lambda file: file["control"]):
        spec = file["spec"]
        rows.append(
            (
                file["name"],
                spec["weights"]["name"],
                f"{spec['layer']}, {spec['pooling']}",
                str(file["dimension"]),
                " x ".join(map(str, spec["image"]["size"])),
            )
        )
    return _markdown(("extractor", "weights", "layer, pooling", "numbers", "pixels"), rows)


def _table_of(check: Mapping[str, Any]) -> list[dict[str, Any]]:
    (table,) = check["tables"]
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def _ladder(rungs: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for rung in rungs:
        share = rung["share above chance"]
        rows.append(
            (
                rung["control"],
                rung["sees"],
                f"{rung['auroc']:.3f}",
                _between(rung["low"], rung["high"]),
                "" if share is None else f"{share:.0%}",
            )
        )
    header = ("what is scored", "sees", "macro AUROC", "95 % interval", "of the score above chance")
    return _markdown(header, rows)


def _asked(audit: Mapping[str, Any]) -> str:
    """Count the verdicts; questions about the audit itself are none of the study's."""
    of = [one["verdict"] for one in audit["checks"] if one["section"] != "proofs"]
    said = ("found", "not found", "could not be tested")
    return ", ".join(f"{of.count(verdict)} {verdict}" for verdict in said)


def _shown(audit: Mapping[str, Any]) -> str:
    """Say whether the audit showed altered pictures to the network."""
    if audit["options"]["quick"]:
        return (
            "It was done with `--quick`: no masked or marked picture was shown to a network;"
            " `docs/audit.md` has these of another run on these images"
        )
    return "Masked and marked pictures were shown to the network as well"


def _between(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}"


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
