"""The ways from files to embeddings that `extract.py` compares, each in a process of its own.

- usual: DataLoader with a worker for each core, Pillow, float32, default layout, one network at a
  time, an .npy file at the end: what thingsvision does
- plain: one loop over the files, Pillow, float32, channels_last
- memory: cxrfeat's network alone, pictures in memory
- cxrfeat: `cxrfeat.extract`, a finished HDF5 file

And "limit", which measures what the processor could do.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH = 32


def in_process(
    options: argparse.Namespace,
    way: str,
    networks: list[str],
    images: Path,
    cache: Path | None = None,
) -> dict[str, float]:
    asked = {
        "way": way,
        "networks": networks,
        "images": str(images),
        "weights": [s for name in networks for s in sources(options, name)],
        "precision": options.precision,
        "runtime": options.runtime,
        "device": options.device,
        "image_size": options.image_size,
        "cache": None if cache is None else str(cache),
    }
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(asked)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def sources(options: argparse.Namespace, network: str) -> list[str]:
    """Return the weights of a network: as given, else random."""
    mine = [w for w in options.weights if w.startswith(f"{network}=")]
    return mine or [f"{network}=random"]


def one(asked: dict) -> dict[str, float]:
    """Run one way once, in this process."""
    ways = {
        "usual": usual, "plain": plain, "memory": from_memory, "cxrfeat": whole, "limit": limit,
    }  # fmt: skip
    done = ways[asked["way"]](asked)
    scale = 1 if platform.system() == "Darwin" else 1024
    done["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20
    return done


def network_of(asked: dict):
    """Build the network that the usual ways run, as cxrfeat cuts it."""
    import torch

    from cxrfeat.cores import available_cores
    from cxrfeat.features import assign_weights
    from cxrfeat.features.network.truncation import truncate
    from cxrfeat.features.weights.find import find
    from cxrfeat.features.weights.load import load

    name = asked["networks"][0]
    source = find(name, assign_weights([name], asked["weights"])[name])
    torch.set_num_threads(available_cores())
    return truncate(load(name, source).network, source.input.size).module, source.input


class Files:
    """A map-style dataset of preprocessed pictures, read by Pillow."""

    def __init__(self, folder: str, expected) -> None:
        from torchvision import transforms

        self.files = sorted(Path(folder).iterdir())
        self.prepared = transforms.Compose(
            [
                transforms.Resize((expected.size, expected.size)),
                transforms.ToTensor(),
                transforms.Normalize(expected.mean, expected.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int):
        from PIL import Image

        picture = Image.open(self.files[index])
        if picture.mode.startswith("I"):  # 16 bits: to 8, as Pillow's RGB would cut them off
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        return self.prepared(picture.convert("RGB"))


def usual(asked: dict) -> dict[str, float]:
    import torch
    from torch.utils.data import DataLoader

    from cxrfeat.cores import available_cores

    module, expected = network_of(asked)
    files = Files(asked["images"], expected)
    module(torch.zeros(2, 3, expected.size, expected.size))
    begun = time.perf_counter()
    rows = []
    with torch.inference_mode():
        for batch in DataLoader(files, batch_size=BATCH, num_workers=available_cores()):
            rows.append(module(batch)[0].mean(dim=(2, 3)))
    with tempfile.TemporaryFile() as out:
        np.save(out, torch.cat(rows).numpy())
    return {"rate": len(files) / (time.perf_counter() - begun)}


def plain(asked: dict) -> dict[str, float]:
    import torch

    module, expected = network_of(asked)
    module.to(memory_format=torch.channels_last)
    files = Files(asked["images"], expected)
    module(torch.zeros(2, 3, expected.size, expected.size))
    begun = time.perf_counter()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(files), BATCH):
            indices = range(start, min(start + BATCH, len(files)))
            batch = torch.stack([files[i] for i in indices])
            maps = module(batch.contiguous(memory_format=torch.channels_last))
            rows.append(maps[0].mean(dim=(2, 3)))
    return {"rate": len(files) / (time.perf_counter() - begun)}


def from_memory(asked: dict) -> dict[str, float]:
    from cxrfeat import images
    from cxrfeat.features import assign_weights, open_extractor

    name = asked["networks"][0]
    extractor = open_extractor(
        name,
        weights=assign_weights([name], asked["weights"])[name],
        precision=asked["precision"],
        runtime=asked["runtime"],
        device=asked["device"],
    )
    files = sorted(Path(asked["images"]).iterdir())
    pictures = np.stack(  # what they show changes no time: further ones are these again
        [images.frame(images.read_image(file).pixels, extractor.framing) for file in files[:BATCH]]
    )
    extractor(pictures[:2])
    begun = time.perf_counter()
    for start in range(0, len(files), BATCH):
        extractor(pictures[: len(files) - start])
    return {"rate": len(files) / (time.perf_counter() - begun)}


def limit(asked: dict) -> dict[str, float]:
    """Measure the rate of matrix products, and count what an image costs each network."""
    import torch
    from limits import operations, product_rate

    from cxrfeat.cores import available_cores
    from cxrfeat.features import assign_weights, open_extractor

    torch.set_num_threads(available_cores())
    found = {"products": product_rate(torch.device("cpu"), asked["precision"])}
    for name in asked["networks"]:
        weights = assign_weights(asked["networks"], asked["weights"])[name]
        found[name] = operations(
            open_extractor(name, weights=weights, device="cpu", runtime="torch")
        )
    return found


def whole(asked: dict) -> dict[str, float]:
    import cxrfeat

    with tempfile.TemporaryDirectory() as out:
        result = cxrfeat.extract(
            asked["images"],
            backbone=asked["networks"],
            weights=asked["weights"],
            precision=asked["precision"],
            runtime=asked["runtime"],
            device=asked["device"],
            image_size=asked["image_size"],
            cache=asked["cache"],
            out=out,
        )
    seconds = result.seconds - result.steps["opening"]
    work = sum(value for step, value in result.steps.items() if step != "opening")
    return {
        "rate": result.images / seconds,
        "seconds": seconds,
        "reading": result.steps["reading"] / work,
    }


if __name__ == "__main__":
    print(json.dumps(one(json.loads(sys.argv[1]))))
