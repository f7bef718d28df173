"""Synthetic chest radiographs for demonstrations and tests: drawn, not photographed.

A phantom is a sum of attenuations seen from the front: soft tissue of the trunk, minus two lungs,
plus spine, mediastinum, heart, ribs, clavicles and vessels; then an exposure, scatter (blur) and
quantum noise. Positions are fractions of the picture, x to the right (the patient's left), y down.
A patient's anatomy is fixed; position, breath and exposure vary from image to image. The three
classes differ by opacities within the lungs and by nothing else. No figure measured on phantoms
says anything about patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from cxrfeat import defaults
from cxrfeat.paths import PathLike
from cxrfeat.tables import write_table

CLASSES = ("clear", "diffuse_opacity", "focal_opacity")
"""The labels, in the order of their names."""

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Anatomy:
    """What stays the same in every image of one synthetic patient; lengths as fractions."""

    width: float
    lung_height: float
    lung_width: float
    heart: float
    heart_shift: float
    ribs: int
    rib_contrast: float
    rib_slope: float
    tissue: float
    vessels: float
    texture_seed: int

    @classmethod
    def random(cls, rng: np.random.Generator) -> Anatomy:
        """Draw one patient."""
        return cls(
            width=rng.uniform(0.40, 0.47),
            lung_height=rng.uniform(0.30, 0.37),
            lung_width=rng.uniform(0.145, 0.185),
            heart=rng.uniform(0.12, 0.17),
            heart_shift=rng.uniform(0.03, 0.07),
            ribs=int(rng.integers(8, 11)),
            rib_contrast=rng.uniform(0.06, 0.14),
            rib_slope=rng.uniform(0.05, 0.13),
            tissue=rng.uniform(0.42, 0.58),
            vessels=rng.uniform(0.05, 0.11),
            texture_seed=int(rng.integers(2**31)),
        )


def draw_phantom(
    anatomy: Anatomy, label: str, rng: np.random.Generator, size: int = 256
) -> npt.NDArray[np.float32]:
    """Draw one synthetic radiograph.

    Parameters
    ----------
    anatomy
        The patient.
    label
        One of `CLASSES`.
    rng
        Decides position, breath, exposure, opacities and noise.
    size
        Side of the square picture in pixels.

    Returns
    -------
    ndarray of float32, shape (size, size)
        In [0, 1], bone bright.
    """
    if label not in CLASSES:
        raise ValueError(f"label must be one of {CLASSES}, not {label!r}")
    y, x = np.meshgrid(*2 * [np.linspace(0, 1, size, dtype=np.float32)], indexing="ij")
    x, y = _positioned(x, y, rng)
    lungs = _lungs(anatomy, x, y, breath=rng.uniform(0.94, 1.05))
    body = _body(anatomy, x, y)
    picture = anatomy.tissue * body + 0.24 * body * _edge(y, 0.80, 0.05)
    picture -= 0.36 * lungs
    mediastinum = _mediastinum(anatomy, x, y)
    aerated = lungs * np.exp(-6.0 * mediastinum)
    picture += aerated * _vessels(anatomy, x, y)
    picture += mediastinum + _bones(anatomy, x, y, body)
    picture += aerated * _opacities(label, x, y, lungs, rng)
    return _expose(picture, body, rng)


def write_phantoms(
    folder: PathLike,
    *,
    patients: int = defaults.PATIENTS,
    images_per_patient: int = 2,
    size: int = 256,
    seed: int = 0,
) -> Path:
    """Write synthetic radiographs as PNG files in class folders, and ``labels.csv``.

    Every patient has one class, and the classes take turns.

    Parameters
    ----------
    folder
        Made where missing.
    patients, images_per_patient
        How many, and how many images of each.
    size
        Side of the pictures in pixels.
    seed
        The same seed draws the same pictures.

    Returns
    -------
    Path
        ``labels.csv`` with the columns ``path``, ``label`` and ``patient``.
    """
    folder = Path(folder)
    columns: dict[str, list[str]] = {"path": [], "label": [], "patient": []}
    for label in CLASSES:
        (folder / label).mkdir(parents=True, exist_ok=True)
    for number in range(patients):
        rng = np.random.default_rng((seed, number))
        anatomy, label = Anatomy.random(rng), CLASSES[number % len(CLASSES)]
        for view in range(images_per_patient):
            pixels = draw_phantom(anatomy, label, rng, size)
            path = f"{label}/synthetic-{number:03d}-{view}.png"
            Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(folder / path)
            columns["path"].append(path)
            columns["label"].append(label)
            columns["patient"].append(f"synthetic-{number:03d}")
    write_table(folder / "labels.csv", columns)
    return folder / "labels.csv"


def _positioned(x: _Floats, y: _Floats, rng: np.random.Generator) -> tuple[_Floats, _Floats]:
    """Shift, turn and scale the patient a little, as no two exposures agree."""
    angle, scale = rng.normal(0.0, 0.03), rng.uniform(0.94, 1.06)
    dx, dy = x - 0.5 + rng.normal(0, 0.015), y - 0.5 + rng.normal(0, 0.02)
    turned_x = (np.cos(angle) * dx - np.sin(angle) * dy) * scale
    turned_y = (np.sin(angle) * dx + np.cos(angle) * dy) * scale
    return (turned_x + 0.5).astype(np.float32), (turned_y + 0.5).astype(np.float32)


def _edge(v: _Floats, at: float, width: float) -> _Floats:
    """Rise softly from 0 to 1 where `v` passes `at`."""
    steps = np.clip((v - at) / (0.25 * width), -30.0, 30.0)
    return (1.0 / (1.0 + np.exp(-steps))).astype(np.float32)


def _ellipse(x: _Floats, y: _Floats, cx: float, cy: float, rx: float, ry: float) -> _Floats:
    """Return 1 inside an ellipse and 0 outside, with a soft rim."""
    radius = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)
    return 1.0 - _edge(radius, 1.0, 0.12)


def _body(anatomy: Anatomy, x: _Floats, y: _Floats) -> _Floats:
    """Neck, sloping shoulders and trunk."""
    neck = 0.13 + 0.34 * _edge(y, 0.09, 0.10)
    half = np.minimum(neck, anatomy.width + 0.05 * _edge(-np.abs(y - 0.28), -0.12, 0.2))
    return 1.0 - _edge(np.abs(x - 0.5) - half, 0.0, 0.03)


def _lungs(anatomy: Anatomy, x: _Floats, y: _Floats, breath: float) -> _Floats:
    """Two lungs, narrow at the top, cut off below by the domes of the diaphragm."""
    height = anatomy.lung_height * breath
    total = np.zeros_like(x)
    for side, dome in ((-1.0, 0.745), (1.0, 0.77)):
        centre = 0.5 + side * (anatomy.lung_width + 0.045)
        width = anatomy.lung_width * (0.72 + 0.42 * np.clip((y - 0.12) / 0.6, 0.0, 1.0))
        radius = np.abs((x - centre) / width) ** 2.4 + np.abs((y - 0.47) / height) ** 2.4
        shape = 1.0 - _edge(radius, 1.0, 0.2)
        floor = dome * breath + 1.6 * (x - centre + side * 0.03) ** 2
        total += shape * (1.0 - _edge(y - floor, 0.0, 0.02))
    return np.clip(total, 0.0, 1.0)


def _vessels(anatomy: Anatomy, x: _Floats, y: _Floats) -> _Floats:
    """Branching markings, denser towards the hila; the same in every image of a patient."""
    rng = np.random.default_rng(anatomy.texture_seed)
    size = x.shape[0]
    noise = rng.standard_normal(x.shape, dtype=np.float32)
    fine = gaussian_filter(noise, size / 130)
    coarse = gaussian_filter(rng.standard_normal(x.shape, dtype=np.float32), size / 40)
    ridges = np.exp(-((fine / fine.std() / 0.35) ** 2)) * (coarse > 0) + 0.5 * (fine > 0)
    hila = np.exp(-(((np.abs(x - 0.5) - 0.10) / 0.13) ** 2) - ((y - 0.47) / 0.2) ** 2)
    return (anatomy.vessels * ridges * (0.35 + 1.3 * hila)).astype(np.float32)


def _mediastinum(anatomy: Anatomy, x: _Floats, y: _Floats) -> _Floats:
    """Spine, trachea, great vessels and heart."""
    spine = np.exp(-(((x - 0.5) / 0.05) ** 2)) * (0.16 + 0.03 * np.sin(y * 70))
    trachea = -0.10 * np.exp(-(((x - 0.5) / 0.016) ** 2)) * (1.0 - _edge(y, 0.38, 0.06))
    knob = 0.10 * _ellipse(x, y, 0.54, 0.35, 0.045, 0.055)
    right = 0.17 * _ellipse(x, y, 0.47, 0.58, 0.075, 0.14)
    heart = 0.30 * _ellipse(
        x + 0.25 * (y - 0.6), y, 0.5 + anatomy.heart_shift, 0.61, anatomy.heart, 0.155
    )
    return (spine + trachea + knob + np.maximum(right, heart)).astype(np.float32)


def _bones(anatomy: Anatomy, x: _Floats, y: _Floats, body: _Floats) -> _Floats:
    """Ribs as arcs that are brighter at their lower rim, and two clavicles."""
    out = np.abs(x - 0.5) / 0.36
    reach = _edge(out, 0.13, 0.1) * (1.0 - _edge(out, 1.05, 0.1)) * body
    total = np.zeros_like(x)
    for rib in range(anatomy.ribs):
        top = 0.15 + rib * 0.62 / anatomy.ribs
        back = y - (top + anatomy.rib_slope * (1.4 * out**2 - 0.9 * out))
        front = y - (top + 0.10 + anatomy.rib_slope * (1.3 - 1.9 * out))
        total += np.exp(-((back / 0.013) ** 2)) + 0.6 * np.exp(-(((back - 0.012) / 0.005) ** 2))
        total += 0.45 * np.exp(-((front / 0.014) ** 2)) * _edge(out, 0.45, 0.2)
    total *= anatomy.rib_contrast * reach
    clavicle = y - (0.185 - 0.07 * out + 0.05 * out**2)
    total += 0.15 * np.exp(-((clavicle / 0.016) ** 2)) * reach
    return total.astype(np.float32)


def _opacities(
    label: str, x: _Floats, y: _Floats, lungs: _Floats, rng: np.random.Generator
) -> _Floats:
    """Return what the label adds: nothing, one or two soft spots, or faint patches all over."""
    total = np.zeros_like(x)
    if label == "focal_opacity":
        weight = (lungs > 0.9).ravel() * (np.abs(x.ravel() - 0.5) > 0.12)
        for spot in rng.choice(weight.size, size=int(rng.integers(1, 3)), p=weight / weight.sum()):
            cx, cy = x.flat[spot], y.flat[spot]
            rx, ry = rng.uniform(0.04, 0.075, size=2)
            radius = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2
            total += rng.uniform(0.2, 0.4) * np.exp(-(radius**1.3)).astype(np.float32)
    elif label == "diffuse_opacity":
        size = x.shape[0]
        for scale in (size / 16, size / 50):
            noise = gaussian_filter(rng.standard_normal(x.shape, dtype=np.float32), scale)
            total += rng.uniform(0.05, 0.10) * np.clip(0.3 + noise / noise.std(), 0.0, 2.5)
    return total.astype(np.float32)


def _expose(picture: _Floats, body: _Floats, rng: np.random.Generator) -> _Floats:
    """Blur by scatter, add quantum noise, and develop with an exposure of its own."""
    size = picture.shape[0]
    picture = gaussian_filter(picture, size / 300)
    picture += 0.05 * gaussian_filter(body * picture, size / 16)
    noise = gaussian_filter(rng.standard_normal(picture.shape, dtype=np.float32), 0.6)
    picture += rng.uniform(0.012, 0.03) * noise * np.sqrt(np.clip(picture, 0.02, 1.0))
    picture = (picture - rng.uniform(0.0, 0.05)) * rng.uniform(0.85, 1.25)
    return np.clip(picture, 0.0, 1.0).astype(np.float32) ** np.float32(rng.uniform(0.65, 1.5))
