"""What an extractor, and with it its embedding file, is called.

A name is the backbone and whatever is not the default; ``docs/decisions/file-names.md`` says why.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrfeat import features, store
from cxrfeat.errors import InputError, SpecMismatchError
from cxrfeat.extraction.job import ExtractorOptions, NamedExtractor
from cxrfeat.spec import difference


@dataclass(frozen=True)
class Wanted:
    """One extractor that is to have a file.

    Attributes
    ----------
    choice : WeightsChoice
    description : Description
    options : tuple of str
        Pooling, image size and precision where they are not the default.
    """

    choice: features.WeightsChoice
    description: features.Description
    options: tuple[str, ...]

    @property
    def short(self) -> str:
        """The name without the weights, where these are pretrained and the default or a file."""
        return self._named(
            ""
            if self.choice.kind == "file" or self.choice.name in ("", "IMAGENET1K_V1")
            else self.choice.name
        )

    @property
    def full(self) -> str:
        """The name with the weights."""
        return self._named(self.description.weights_name)

    @property
    def is_pinned(self) -> bool:
        """Whether it has the weights that a backbone has by its own name."""
        return self.choice.kind == "named"

    def _named(self, weights: str) -> str:
        backbone = re.sub(r"[^\w.]+", "-", self.description.backbone)  # ":" is no part of a name
        if self.choice.kind == "random":
            weights = "random" if self.choice.seed == 0 else f"random{self.choice.seed}"
        slug = re.sub(r"[^\w.]+", "-", weights.lower()).strip("-.")
        slug = re.sub(rf"^{re.escape(backbone)}[-_.]+", "", slug)  # mostly their file says so
        return "-".join([backbone, *([slug] if slug else []), *self.options])


def options_in_name(pool: str, image_size: int | None, precision: str) -> tuple[str, ...]:
    """Return what of these options is not the default."""
    return tuple(
        part
        for part, is_default in (
            (pool, pool == "avg"),
            (str(image_size), image_size is None),
            (precision, precision == "fp32"),
        )
        if not is_default
    )


def check_names(names: Sequence[str], backbones: Sequence[str]) -> None:
    """Refuse names that cannot be files, are equal, or are not one for each extractor.

    Parameters
    ----------
    names : sequence of str
        As ``--name`` gave them; none is right as well.
    backbones : sequence of str
        Of the extractors, in their order.

    Raises
    ------
    InputError
    """
    for name in names:
        # "+" joins extractors in `fit --combine`, and a file must be one on every system.
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise InputError(f"--name '{name}' cannot be used: take letters, digits and . - _")
        if name.lower().endswith(".h5"):
            raise InputError(f"--name {name}: leave out .h5, which is added")
    if names and len(names) != len(backbones):
        raise InputError(
            f"--name is given {len(names)} times for {len(backbones)} extractors: give it once for "
            f"each, in this order: {', '.join(backbones)}"
        )
    folded = Counter(name.casefold() for name in names)
    if twice := [name for name in names if folded[name.casefold()] > 1]:
        raise InputError(f"--name {twice[0]} is given twice: names must differ")


def prepare_named(
    asked: Sequence[ExtractorOptions], names: Sequence[str], folder: Path, *, here: bool = True
) -> tuple[list[NamedExtractor], list[str]]:
    """Prepare every extractor and name it.

    Parameters
    ----------
    asked
        What to prepare.
    names
        One for each, checked; or none, to find them.
    folder
        Of the files.
    here
        False where other machines open them.

    Returns
    -------
    extractors : list of NamedExtractor
    notes : list of str
        On the names.

    Raises
    ------
    InputError, SpecMismatchError, UnknownNameError, WeightsError
        As `features.prepare_extractor` and `name_files` say.
    """
    prepared = [options.prepare(here=here) for options in asked]
    notes: list[str] = []
    if not names:
        wanted = [
            Wanted(
                options.weights,
                one.description,
                options_in_name(options.pooling, options.image_size, options.precision),
            )
            for options, one in zip(asked, prepared, strict=True)
        ]
        names, notes = name_files(wanted, folder)
    return [NamedExtractor(*one) for one in zip(names, asked, prepared, strict=True)], notes


def name_files(wanted: Sequence[Wanted], folder: Path) -> tuple[list[str], list[str]]:
    """Name extractors so that no two weights of a backbone share a file.

    A file that has the weights already is gone on with. Otherwise an extractor gets its short
    name, unless another one of this run has it, or a file of other weights; then the full one.

    Returns
    -------
    names : list of str
    notes : list of str
        Which names a file in the folder decided.

    Raises
    ------
    InputError
        Two extractors of one full name.
    SpecMismatchError
        The file of the full name is of other weights.
    """
    names, notes = [], []
    for one in wanted:
        rivals = [other for other in wanted if other is not one and other.short == one.short]
        comes_first = one.is_pinned or not rivals
        name, note = _name(one, folder, comes_first=comes_first)
        names.append(name)
        notes += [note] if note else []
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(
            f"two extractors would be called {twice[0]}: give each a --name, or rename a weights "
            "file"
        )
    return names, notes


def _name(one: Wanted, folder: Path, *, comes_first: bool) -> tuple[str, str]:
    ours = one.description
    held = {name: _spec_in(folder / f"{name}.h5") for name in (one.full, one.short)}
    for name, spec in held.items():
        if spec is not None and spec.get("weights") == ours.spec["weights"]:
            return name, ""
    there = held[one.short]
    if comes_first and (
        one.short == one.full or there is None or there.get("backbone") != ours.backbone
    ):
        return one.short, ""  # a file of another network is the store's to refuse
    for name, spec in held.items():
        if spec is not None and (name == one.full or _weights_name(spec) == ours.weights_name):
            raise SpecMismatchError(
                f"'{folder / name}.h5' has other weights than {ours.weights_name} of "
                f"{ours.backbone}: give these a --name of their own",
                difference(ours.spec, {key: spec.get(key) for key in ours.spec}),
            )
    if there is None:
        return one.full, ""
    return one.full, (
        f"{one.short}.h5 has the weights {_weights_name(there)}; those of {ours.weights_name} are "
        f"in {one.full}.h5"
    )


def _spec_in(path: Path) -> Mapping[str, Any] | None:
    if not path.exists():
        return None
    with store.load(path) as embeddings:
        return embeddings.spec


def _weights_name(spec: Mapping[str, Any]) -> str:
    weights = spec.get("weights")
    return str(weights.get("name")) if isinstance(weights, Mapping) else ""
