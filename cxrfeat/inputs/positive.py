"""One class or finding against all the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs.dataset import Dataset
from cxrfeat.inputs.label_table import same_form

Labels = npt.NDArray[np.float32]


def against_the_rest(
    classes: Sequence[str], labels: Labels, positive: str
) -> tuple[list[str], Labels]:
    """Reduce labels to two classes: those that hold `positive`, and the others.

    Parameters
    ----------
    classes
        Names of the L classes or findings.
    labels : ndarray of float32, shape (N, L)
        0 or 1 per class, NaN where unknown.
    positive
        A name that `holds` finds in one class at least.

    Returns
    -------
    classes : list of str
        ``not <positive>`` and ``<positive>``.
    labels : ndarray of float32, shape (N, 2)
        An image is positive where any class that holds `positive` is 1, not positive where all of
        them are 0, and otherwise unknown.

    Raises
    ------
    UnknownNameError
        If no class holds it.
    """
    columns = [i for i, name in enumerate(classes) if holds(name, positive)]
    if not columns:
        raise UnknownNameError("class", positive, names_said(classes))
    chosen = labels[:, columns]
    truth = np.where((chosen == 1).any(axis=1), 1.0, chosen.sum(axis=1))  # NaN where any is
    return [f"not {positive}", positive], np.stack([1 - truth, truth], axis=1).astype(np.float32)


def holds(label: str, name: str) -> bool:
    """Tell whether a label says `name`, as a whole, in a list, or as a level of a path.

    ``Pneumonia/Viral/COVID-19`` says ``COVID-19``, ``Viral``, ``Viral/COVID-19`` and so on; the
    list ``COVID-19, ARDS`` (or with ``|`` or ``;``) says both of its parts.
    """
    return depth(label, name) > 0


def depth(label: str, name: str) -> int:
    """Return at which level a label says `name`, from 1; 0 where it does not say it."""
    label, name = same_form(label), same_form(name)
    wanted = _levels(name)
    if label == name:
        return len(wanted)
    if not any(wanted):
        return 0
    return max(
        (
            start + len(wanted)
            for levels in map(_levels, _listed(label))
            for start in range(len(levels))
            if levels[start : start + len(wanted)] == wanted
        ),
        default=0,
    )


def one_against_the_rest(found: Dataset, positive: str) -> Dataset:
    """Give a dataset the labels of `against_the_rest`, and say which classes count as what.

    Raises
    ------
    InputError
        If there are no labels, or none that holds `positive`.
    """
    if found.labels is None:
        raise InputError(f"no labels in which '{positive}' could stand: give --label-column")
    classes, labels = against_the_rest(found.classes, found.labels, positive)
    counts = {
        name: int((column == 1).sum())
        for name, column in zip(found.classes, found.labels.T, strict=True)
    }
    held = [name for name in found.classes if holds(name, positive)]
    without, with_it = (int((column == 1).sum()) for column in labels.T)
    unknown = len(found) - with_it - without
    notes = [
        *found.notes,
        f"'{positive}' against the rest: {with_it} image(s) with it ({_counted(held, counts)}), "
        f"{without} without" + (f", {unknown} of which it is not known" if unknown else ""),
    ]
    above = [
        name
        for name in found.classes
        if name not in held and counts[name] and any(_stands_above(name, one) for one in held)
    ]
    if above and found.kind == "multiclass":
        notes.append(
            f"{_counted(above, counts)} name only a level above '{positive}', which does not rule "
            "it out: they are among those without"
        )
    return replace(found, classes=classes, labels=labels, kind="multiclass", notes=notes)


def overlap_note(classes: Sequence[str]) -> list[str]:
    """Say where one class is a level above another, so that the two are not apart."""
    names = set(classes)
    for name in classes:
        levels = _levels(name)
        for length in range(1, len(levels)):
            upper = "/".join(levels[:length])
            if upper in names:
                return [
                    f"classes overlap: '{upper}' stands above '{name}'; --positive takes one "
                    "against the rest"
                ]
    return []


def _stands_above(upper: str, lower: str) -> bool:
    levels = _levels(upper)
    return any(
        len(levels) < len(path) and path[: len(levels)] == levels
        for path in map(_levels, _listed(lower))
    )


def _listed(label: str) -> list[str]:
    return re.split(r"[|,;]", label)


def _levels(name: str) -> list[str]:
    return [level.strip() for level in name.split("/")]


def names_said(classes: Sequence[str]) -> list[str]:
    """Return the classes and everything that they say, the classes first."""
    parts = (level for name in classes for part in _listed(name) for level in _levels(part))
    return list(dict.fromkeys((*classes, *(part for part in parts if part))))


def _counted(names: Sequence[str], counts: dict[str, int]) -> str:
    shown = sorted(names, key=lambda name: -counts[name])[:6]
    more = ", ..." if len(names) > 6 else ""
    return ", ".join(f"'{name}' {counts[name]}" for name in shown) + more
