"""The control ladder of an audit: from what was seen of pictures to scores and answers.

Every rung takes the place of the embeddings, with the same folds and the same head:

============================  =================  =============================================
rung                          sees               what it is
============================  =================  =============================================
majority                      nothing            the share of each class
file metadata                 no lungs           bytes, size, bits, format, DICOM columns that
                                                 are no person's
outer frame, 32 x 32 pixels   no lungs           what lies outside the middle 80 % of the width
                                                 and of the height
outer frame through E         no lungs           the same, black inside, embedded anew
centre masked, 32 x 32        edges of the       the middle 60 % of the width and of the height
pixels; through E             lungs              taken out
grey mean and spread          the whole image    two numbers
8 x 8, 32 x 32 pixels         the whole image    grey values
random weights of E           the whole image    the same network, never trained
E                             the whole image    the audited embeddings
============================  =================  =============================================

Sex and age stand in DICOM files, too, but are the patient's: they are asked about as attributes.
Masks are put on the picture at the network's input size, before it is normalised, as
`cxrfeat.images.masking` says. Two thirds of what a rung through a network takes is the network, and
`--quick` leaves those rungs out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cxrfeat import features
from cxrfeat.arrays import Matrix32
from cxrfeat.auditing.asked_of_pictures import WHOLE
from cxrfeat.auditing.networks import Networks
from cxrfeat.auditing.pictures import READING
from cxrfeat.auditing.seen import SMALL, FileFacts, Seen
from cxrfeat.evaluation.audit.control_checks import control_checks_of, untested
from cxrfeat.evaluation.audit.controls import (
    EDGES,
    NO_LUNGS,
    Control,
    Ladder,
    climb,
)
from cxrfeat.evaluation.audit.controls import WHOLE as WHOLE_IMAGE
from cxrfeat.evaluation.audit.predictions import teaches
from cxrfeat.evaluation.audit.subject import Subject
from cxrfeat.images.masking import CENTRE_MASKED, MARGINS, OUTER_FRAME, outside
from cxrfeat.results.audit import Check

RANDOM = "random weights of "
"""What the random twin of an extractor is called; its name follows."""

SEES = {OUTER_FRAME: NO_LUNGS, CENTRE_MASKED: EDGES}

FEWEST = 10
"""Pictures of which controls are scored."""

MOST_LEVELS = 20
"""Of a column of the metadata that get a column of their own; the rest share one."""


def shown_for_ladder(networks: Networks) -> dict[str, dict[str, features.Extractor]]:
    """Say what the rungs have networks shown: `pictures.Asked.shown`."""
    masked = {mask: dict(networks.audited) for mask in MARGINS}
    twins = {RANDOM + name: extractor for name, extractor in networks.random.items()}
    return {**masked, **({WHOLE: twins} if twins else {})}


def ladders(subject: Subject, seen: Seen, extractors: Sequence[str]) -> list[Ladder]:
    """Score all rungs of some extractors, on the images whose pictures were seen.

    Too few of these cannot be scored, and there is no ladder.

    Parameters
    ----------
    subject
        All of its images, in the order of `seen`.
    extractors
        Names of those of the study.
    """
    here = _taught(subject.of(seen.rows))
    if len(here.study) < FEWEST or len(here.design.folds) < 2:
        return []
    return [climb(here, name, controls_of(seen, name)) for name in extractors]


def _taught(subject: Subject) -> Subject:
    """Leave out folds that lost so many images that nothing can be learned in them."""
    exclusive = subject.exclusive
    folds = [f for f in subject.design.folds if teaches(subject.study.labels[f.train], exclusive)]
    return replace(subject, design=replace(subject.design, folds=folds))


def control_checks(
    subject: Subject, seen: Seen, extractors: Sequence[str]
) -> tuple[list[Check], list[Ladder]]:
    """Climb the ladder of some extractors and ask what it says."""
    climbed = ladders(subject, seen, extractors)
    if not climbed:
        why = (
            f"too few pictures: {len(seen.rows)} of {len(subject.study)} could be looked at, and"
            " the folds leave nothing to learn from; --images has to name those that were extracted"
        )
        return [check for name in extractors for check in untested(name, why)], []
    return [check for ladder in climbed for check in control_checks_of(ladder)], climbed


def controls_of(seen: Seen, extractor: str) -> list[Control]:
    """List the controls of an extractor, of the images that were seen, with what each took.

    Reading is shared; each rung that needs nothing but reading has a part of it.
    """
    rows = seen.rows
    small, tiny = seen.small[rows], seen.tiny[rows]
    without_network = [
        ("file metadata", NO_LUNGS, file_matrix([f for f in seen.files if f is not None])),
        ("outer frame, 32 x 32 pixels", NO_LUNGS, _outer_pixels(seen, OUTER_FRAME)),
        ("centre masked, 32 x 32 pixels", EDGES, _outer_pixels(seen, CENTRE_MASKED)),
        ("grey mean and spread", WHOLE_IMAGE, seen.grey[rows].astype(np.float32)),
        ("8 x 8 pixels", WHOLE_IMAGE, tiny.reshape(len(rows), -1)),
        ("32 x 32 pixels", WHOLE_IMAGE, small.reshape(len(rows), -1)),
    ]
    reading = seen.seconds.get(READING, 0.0) / len(without_network)
    controls = [Control(name, sees, X, reading) for name, sees, X in without_network]
    for what, name, called in (
        *((mask, extractor, f"{mask} through {extractor}") for mask in MARGINS),
        (WHOLE, RANDOM + extractor, RANDOM + extractor),
    ):
        if (what, name) in seen.X:
            seconds = seen.seconds.get(f"{what} {name}", 0.0)
            sees = SEES.get(what, WHOLE_IMAGE)
            controls.append(Control(called, sees, seen.X[what, name][rows], seconds))
    order = (NO_LUNGS, EDGES, WHOLE_IMAGE)
    return sorted(controls, key=lambda control: order.index(control.sees))


def _outer_pixels(seen: Seen, mask: str) -> Matrix32:
    """Give the pixels outside the centre; black where a smaller picture was mixed further."""
    margin = MARGINS[mask]
    kept = outside(SMALL, margin)
    X = seen.small[seen.rows][:, kept]
    for place, (height, width) in enumerate(seen.shapes[seen.rows].tolist()):
        if min(height, width) < 2**6:
            X[place, ~outside(SMALL, margin, (height, width))[kept]] = 0.0
    return X


def file_matrix(files: Sequence[FileFacts]) -> Matrix32:
    """Turn what files say of themselves into numbers; what they do not say is a level of its own.

    Numbers are taken as logarithms, with bytes per pixel and the aspect beside them; of words each
    frequent level has a column. Columns that say the same of every image are left out.

    Returns
    -------
    ndarray of float32, shape (n, D), D at least 1
    """
    columns = []
    numbers = {
        name: np.log2(np.array([max(one.numbers[name], 1.0) for one in files]))
        for name in ("bytes", "height", "width", "bits")
    }
    columns += [
        *numbers.values(),
        numbers["bytes"] - numbers["height"] - numbers["width"],
        numbers["width"] - numbers["height"],
    ]
    for name in dict.fromkeys(name for one in files for name in one.words):
        words = [one.words.get(name, "") for one in files]
        levels = [level for level, _ in Counter(words).most_common(MOST_LEVELS)]
        columns += [np.array([word == level for word in words], float) for level in levels]
    varied = [column for column in columns if np.ptp(column) > 0]
    if not varied:
        return np.zeros((len(files), 1), np.float32)
    return np.stack(varied, axis=1).astype(np.float32)


def costs(ladder: Ladder) -> Mapping[str, float]:
    """Say how many seconds each rung took, the full image last."""
    return {rung.name: rung.seconds for rung in (*ladder.rungs, ladder.full)}
