"""Weights that were trained on the data: a leak that no fold can see.

A network that has seen the test images, with or without their labels, gives them embeddings that it
would not give to new ones. What weights were trained on is taken from the list ``pretraining`` of
their sidecar; torchvision's and the packaged ones were trained on photographs, random ones on
nothing. Which collection the embeddings are of is what the user says, and the values of the column
of sources. Names are compared by letters and digits alone; collections that were put together from
others count as these, too. What cannot be said is that weights with a list have seen nothing else.

References
----------
Kapoor S, Narayanan A. Leakage and the reproducibility crisis in machine-learning-based science.
Patterns 2023;4:100804. What collections are made of: Shih G et al. Radiol Artif Intell
2019;1:e180041 (RSNA pneumonia, from NIH ChestX-ray14); Filice RW et al. J Digit Imaging
2020;33:490-496 (SIIM-ACR pneumothorax, from the same); Rahman T et al. Comput Biol Med
2021;132:104319 (COVID-19 Radiography Database); Wu Y et al. arXiv:2311.17677 (COVIDx). Names of
weights and data sets: Cohen JP et al. TorchXRayVision. MIDL 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.features import stated_pretraining
from cxrfeat.results.audit import Candidate, Check, Figure, Section, Verdict
from cxrfeat.spec import made_elsewhere

MOST_SOURCES = 50
"""Distinct values of a column of sources that can be names of collections."""

ALIASES: Mapping[str, frozenset[str]] = {
    "NIH ChestX-ray14": frozenset(
        (
            *("nihchestxray14", "nihchestxray8", "nihchestxray", "nihchestxrays", "nih"),
            *("chestxray14", "chestxray8", "chestxraynihcc", "nihchestxraydataset"),
            *("nihcxr14", "nihcxr8", "nihcxr", "cxr14", "cxr8", "nihgoogle"),
        )
    ),
    "RSNA pneumonia": frozenset(
        (
            *("rsnapneumonia", "rsnapneumoniachallenge", "rsnapneumoniadetection", "rsna"),
            *("rsnapneumoniadetectionchallenge", "rsnapneumoniadetectionchallenge2018"),
        )
    ),
    "SIIM-ACR pneumothorax": frozenset(
        ("siimacrpneumothorax", "siimacrpneumothoraxsegmentation", "siimpneumothorax", "siimacr")
    ),
    "MIMIC-CXR": frozenset(("mimiccxr", "mimiccxrjpg", "mimiccxr2", "mimic", "mimicch", "mimicnb")),
    "CheXpert": frozenset(
        ("chexpert", "chexpertplus", "chexpertsmall", "chexpertv10", "chexpertv10small", "chex")
    ),
    "PadChest": frozenset(("padchest", "bimcvpadchest", "pc")),
    "VinDr-CXR": frozenset(
        (
            *("vindrcxr", "vindr", "vinbigdata", "vinbigdatachestxray"),
            "vinbigdatachestxrayabnormalitiesdetection",
        )
    ),
    "Indiana University (Open-i)": frozenset(
        ("openi", "indianauniversity", "indianauniversitychestxrays", "iuxray", "iucxr")
    ),
    "COVID-19 Radiography Database": frozenset(
        (
            *("covid19radiographydatabase", "covid19radiographydataset", "covid19radiography"),
            "covidradiography",
        )
    ),
    "covid-chestxray-dataset": frozenset(
        ("covidchestxraydataset", "covid19imagedatacollection", "ieee8023", "cohen")
    ),
    "BIMCV-COVID19+": frozenset(("bimcvcovid19", "bimcvcovid19plus", "bimcvcovid")),
    "MIDRC-RICORD": frozenset(
        ("midrcricord", "midrcricord1c", "ricord", "ricord1c", "midrcricord1ccovid19")
    ),
    "Kermany pneumonia": frozenset(
        (
            *("kermanypneumonia", "kermany", "chestxraypneumonia", "chestxrayimagespneumonia"),
            "guangzhoupediatric",
        )
    ),
    "COVIDx": frozenset(("covidx", "covidxcxr", "covidxcxr2", "covidxcxr3", "covidxcxr4")),
}
"""Other names of public collections, as `plain_name` writes them: those of their own pages, of
Kaggle, and of torchxrayvision's weights and data sets."""

PARTS: Mapping[str, frozenset[str]] = {
    "RSNA pneumonia": frozenset(("NIH ChestX-ray14",)),
    "SIIM-ACR pneumothorax": frozenset(("NIH ChestX-ray14",)),
    "COVID-19 Radiography Database": frozenset(
        (
            *("RSNA pneumonia", "NIH ChestX-ray14", "Kermany pneumonia"),
            *("covid-chestxray-dataset", "BIMCV-COVID19+"),
        )
    ),
    "COVIDx": frozenset(
        (
            *("RSNA pneumonia", "NIH ChestX-ray14", "COVID-19 Radiography Database"),
            *("covid-chestxray-dataset", "BIMCV-COVID19+", "MIDRC-RICORD"),
        )
    ),
}
"""Collections whose images were taken from others, at least in part."""


def plain_name(name: str) -> str:
    """Letters and digits of a name, in small letters."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def collection_of(name: str) -> str:
    """Give a public collection the one name it goes by here; others keep theirs."""
    plain = plain_name(name)
    return next(
        (
            known
            for known, others in ALIASES.items()
            if plain in others or plain == plain_name(known)
        ),
        name,
    )


def in_common(first: str, second: str) -> str:
    """Say in a few words how two collections share images; "" where they are not known to."""
    a, b = collection_of(first), collection_of(second)
    if plain_name(a) == plain_name(b):
        return "the same collection"
    if b in PARTS.get(a, ()):
        return f"{a} holds images of {b}"
    if a in PARTS.get(b, ()):
        return f"{b} holds images of {a}"
    shared = PARTS.get(a, frozenset()) & PARTS.get(b, frozenset())
    return f"both hold images of {', '.join(sorted(shared))}" if shared else ""


def pretraining_checks(
    study: Study,
    extractors: Sequence[Extractor],
    collections: Sequence[str],
    source_column: str | None = None,
    *,
    weights: Sequence[str] = (),
) -> list[Check]:
    """Ask of each extractor whether its weights were trained on the collection it is scored on.

    Parameters
    ----------
    collections : sequence of str
        What the images are of, as the user says.
    source_column : str, optional
        Whose values are taken for names of collections, too.
    weights : sequence of str
        Where the files of weights are, as for `extract`.
    """
    names = [*collections]
    if source_column is not None:
        values = list(dict.fromkeys(study.meta[source_column].tolist()))
        names += [value for value in values if value] if len(values) <= MOST_SOURCES else []
    names = list(dict.fromkeys(names))
    return [_check(one, names, weights) for one in extractors if not one.widths]


def _check(extractor: Extractor, names: Sequence[str], weights: Sequence[str]) -> Check:
    code = f"pretraining:{extractor.name}"
    question = f"Were the weights of {extractor.name} trained on these images?"
    stated = _stated(extractor.spec, weights)
    if stated is None:
        return Check(
            code, Section.PRETRAINING, question, Verdict.UNTESTED,
            "nothing states what these weights were trained on: a list \"pretraining\" in the"
            " sidecar of their file is needed, and --weights FILE where it is; of imported"
            " embeddings, cxrfeat import --pretraining",
        )  # fmt: skip
    said = ", ".join(stated) if stated else "nothing (random weights)"
    if not stated:
        return Check(
            code, Section.PRETRAINING, question, Verdict.NOT_FOUND,
            "these weights are random: they were trained on nothing",
        )  # fmt: skip
    if not names:
        return Check(
            code, Section.PRETRAINING, question, Verdict.UNTESTED,
            f"these weights were trained on {said}; which collection the images are of is not"
            " known: name it",
        )  # fmt: skip
    shared = [(a, b, how) for a in names for b in stated if (how := in_common(a, b))]
    if not shared:
        return Check(
            code, Section.PRETRAINING, question, Verdict.NOT_FOUND,
            f"these weights were trained on {said}, as is stated; the images are of"
            f" {', '.join(names)}",
            figures=[Figure("collections in common", 0.0)],
            seen="Only what the sidecar states, and collections that are known to share images.",
        )  # fmt: skip
    told = "; ".join(f"images of {a}, weights trained on {b} ({how})" for a, b, how in shared)
    return Check(
        code, Section.PRETRAINING, question, Verdict.FOUND,
        f"a leak: {told}. No score on these images is one on images that the network has not seen",
        figures=[Figure("collections in common", float(len(shared)))],
        candidates=[
            Candidate([], 1.0, how, {"images of": a, "weights trained on": b})
            for a, b, how in shared
        ],
        remedy="Take other weights, or score on a collection that these were not trained on.",
    )  # fmt: skip


def _stated(spec: Mapping[str, Any], weights: Sequence[str]) -> list[str] | None:
    if made_elsewhere(spec):
        said = spec.get("encoder")
        names = said.get("pretraining") if isinstance(said, Mapping) else None
        return [str(one) for one in names] if isinstance(names, list) and names else None
    of_spec = spec.get("weights")
    name = str(of_spec.get("name", "")) if isinstance(of_spec, Mapping) else ""
    return stated_pretraining(str(spec.get("backbone", "")), name, weights)
