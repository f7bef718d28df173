"""What the test of attributes makes of attributes whose truth is known, in the user's own data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cxrfeat.evaluation.audit.attribute_figures import beside
from cxrfeat.evaluation.audit.dealing import numbered
from cxrfeat.evaluation.audit.levels import Levels
from cxrfeat.evaluation.audit.partial_confounder import LEVEL
from cxrfeat.evaluation.audit.planting import (
    IMAGES,
    PLANTS,
    STRENGTHS,
    at_random,
    found_at_random,
    found_at_strengths,
)
from cxrfeat.evaluation.audit.predictions import Predicted
from cxrfeat.evaluation.audit.proportions import wilson
from cxrfeat.evaluation.audit.sampling import some_patients
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.results.audit import Check, Figure, Proof, Section, Verdict

CODE = "random-attribute"
RANDOM = 40
"""Attributes that mean nothing."""
ALARM = 0.05
"""Share of them that may be found."""


def control_check(
    subject: Subject,
    extractor: str,
    predicted: Predicted,
    levels: Mapping[str, Levels],
    drawn: str,
) -> tuple[Check, str]:
    """Test attributes that mean nothing and planted ones.

    Parameters
    ----------
    predicted : Predicted
        From the embeddings as they are.
    levels
        Of the attributes that can be tested: the random ones have their counts, in turn.
    drawn : str
        Which images are asked about; "" for all.

    Returns
    -------
    Check
    str
        From which strength on planted attributes were found, as a sentence.
    """
    patient = numbered(subject.design.patients, len(subject.study))
    codes = [of.code for of in levels.values()] or [patient % 2]
    counts = f"the level counts of {', '.join(levels)}" if levels else "two equal levels"
    found = found_at_random(subject, predicted, codes, LEVEL, RANDOM)
    few = subject.of(some_patients(subject, IMAGES))
    strengths = found_at_strengths(few, few.study.extractors[0].X, LEVEL)
    # One of them goes all the way, for the figures that stand beside a verdict.
    code = at_random(codes[0], patient, np.random.default_rng([subject.seed, 2]))
    known = np.flatnonzero(code >= 0)
    whole = predicted if len(known) == len(code) else None
    figures = beside(subject.of(known), code[known], whole)
    proved = _proved(strengths, len(few.study))
    alarm = found > ALARM * RANDOM
    answer = (
        f"{found} of {RANDOM} attributes that mean nothing, with {counts}, were found; at most"
        f" {100 * LEVEL:g} % are expected"
    )
    answer += ": the verdicts on attributes are not to be trusted here." if alarm else "."
    check = Check(
        code=CODE,
        section=Section.ATTRIBUTES,
        question="Is an attribute found that means nothing?",
        verdict=Verdict.FOUND if alarm else Verdict.NOT_FOUND,
        answer=answer + (f" {drawn[0].upper()}{drawn[1:]}." if drawn else ""),
        figures=[
            Figure(
                "share of the attributes that mean nothing that are found", found / RANDOM,
                wilson(found, RANDOM),
            ),
            *figures.figures(subject.metric.title, extractor, "one of them"),
        ],
        seen=proved,
        proofs=[
            Proof("attributes that mean nothing", 0.0, RANDOM, found / RANDOM),
            *(
                Proof("attributes tied to a class and clear in the embeddings", s, PLANTS, share)
                for s, share in strengths.items()
            ),
        ],
    )  # fmt: skip
    return check, proved


def _proved(strengths: Mapping[float, float], images: int) -> str:
    planted = (
        f"Of attributes planted in {images} of these images, tied to a class and clear in the"
        " embeddings,"
    )
    sure = [s for s in STRENGTHS if s and all(strengths[t] == 1 for t in STRENGTHS if t >= s)]
    if not sure:
        return f"{planted} not all were found, even where their correlation with it was 0.8."
    return f"{planted} all were found whose correlation with it was {sure[0]:g} or more."
