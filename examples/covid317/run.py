"""The study of the text beside this file, from radiographs to text, by one command.

    python examples/covid317/run.py --images covid19-317 \
        --weights vgg16-imagenet-features.safetensors --out study

It calls `cxrfeat` as anyone would, and goes on where it was stopped. Then `study/kept` holds what
lies beside this file: numbers, one chart and the text, and no radiograph.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from text import render  # beside this file

NETWORKS = {
    "vgg16": ("{weights}", "random"),
    "efficientnet_lite0": ("imagenet-efficientnet-lite0-57934424", "random"),
}
"""Each network with its ImageNet weights and, as its control, with random ones."""

KEPT = {
    "run/results.json": "results.json",
    "run/scores.csv": "scores.csv",
    "run/figures/extractors.svg": "extractors.svg",
    "run/audit/audit.json": "audit.json",
    "run/audit/verdicts.csv": "verdicts.csv",
    "run/audit/controls-vgg16.csv": "controls-vgg16.csv",
}
"""What is small and holds no radiograph, and its name beside the text."""


def commands(images: str, weights: str, out: Path, *, quick: bool) -> dict[str, list[str]]:
    """Return the commands in their order, by name."""
    extract = ["extract", images, "--out", f"{out}/embeddings"]
    for network, sources in NETWORKS.items():
        extract += ["--backbone", network]
        for source in sources:
            extract += ["--weights", f"{network}={source.format(weights=weights)}"]
            extract += ["--name", network if source != "random" else f"{network}-random"]
    run = f"{out}/run"
    fit = ["fit", f"{out}/embeddings", "--keep-copies-together", "--images", images, "--out", run]
    audit = ["audit", "--run", run, "--images", images, "--weights", weights, "--head", "logreg"]
    return {"extract": extract, "fit": fit, "audit": [*audit, *(["--quick"] if quick else [])]}


def main() -> None:
    """Run the commands, then write the text with their numbers."""
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asked.add_argument("--images", required=True, help="folder with train/CLASS and val/CLASS")
    asked.add_argument("--weights", required=True, help="VGG16's weights, their .json beside them")
    asked.add_argument("--out", required=True, type=Path, help="folder for everything")
    asked.add_argument("--quick", action="store_true", help="audit without the network")
    given = asked.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    times = given.out / "seconds.json"
    seconds = json.loads(times.read_text()) if times.is_file() else {}
    steps = commands(given.images, given.weights, given.out, quick=given.quick)
    for name, words in steps.items():
        if name in seconds:  # a run and an audit are never written over
            continue
        print("$", shlex.join(["cxrfeat", *words]), flush=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "cxrfeat", *words], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        seconds[name] = round(used)
        times.write_text(json.dumps(seconds, indent=1) + "\n")
    kept = given.out / "kept"
    kept.mkdir(exist_ok=True)
    for source, target in KEPT.items():
        shutil.copyfile(given.out / source, kept / target)
    shutil.copyfile(times, kept / "seconds.json")
    (kept / "README.md").write_text(render(kept), encoding="utf-8")
    print(f"To read: {kept}/README.md, {given.out}/run/report.html; {sum(seconds.values())} s of")
    print(f"processor time ({', '.join(f'{name} {of}' for name, of in seconds.items())})")


if __name__ == "__main__":
    main()
