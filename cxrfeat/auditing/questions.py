"""Each question of an audit, put to what answers it: embeddings, columns and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from cxrfeat.arrays import Picture, RowNumbers
from cxrfeat.auditing.asked_of_pictures import Alteration, Asked
from cxrfeat.auditing.columns import Attribute, attributes_of, of_files
from cxrfeat.auditing.corner_mark import corner_mark_check, deal
from cxrfeat.auditing.ladder import control_checks, shown_for_ladder
from cxrfeat.auditing.networks import Networks, how_read, open_networks
from cxrfeat.auditing.opening import Audited
from cxrfeat.auditing.picture_checks import picture_checks
from cxrfeat.auditing.pictures import look_at_pictures
from cxrfeat.auditing.pretraining import pretraining_checks
from cxrfeat.auditing.seen import Seen
from cxrfeat.auditing.steps import Told
from cxrfeat.errors import CxrfeatError, SpecMismatchError
from cxrfeat.evaluation.audit.attribute_control import CODE as RANDOM_ATTRIBUTE
from cxrfeat.evaluation.audit.attributes import attribute_checks
from cxrfeat.evaluation.audit.control_checks import headline
from cxrfeat.evaluation.audit.duplicates import duplicate_checks
from cxrfeat.evaluation.audit.label_errors import label_checks
from cxrfeat.evaluation.audit.outliers import outlier_checks
from cxrfeat.evaluation.audit.sources import source_checks
from cxrfeat.evaluation.audit.subgroups import subgroup_checks
from cxrfeat.extraction.reading_ahead import reader_count
from cxrfeat.images.altered_copies import KINDS, altered_copy
from cxrfeat.images.fingerprints import SIDE, perceptual_hash, pixel_digest
from cxrfeat.images.resizing import resize
from cxrfeat.results.audit import Check, Section, Verdict

NOT_SEEN = "Whether something other than the lungs could explain the score was not tested."

COPIED_SHARE, FEWEST_COPIED, MOST_COPIED = 0.05, 20, 100
"""Of the images, of each kind of altered copies that are planted."""

SUBGROUPS = ("sex", "gender", "age", "age group", "view", "source")
"""Columns by which scores are told apart, however they are spelt."""


class Questions:
    """The questions of one audit, in the order in which they are asked.

    Attributes
    ----------
    audited : Audited
    headline : str
        Of the control ladder, once it was climbed.
    notes : list of str
    """

    def __init__(self, audited: Audited) -> None:
        self.audited = audited
        self._subject = audited.subject
        self._study = audited.subject.study
        self._seen: Seen | None = None
        self._dealt = deal(audited.subject)
        self._columns = attributes_of(self._study.meta, audited.attributes)
        self.headline = NOT_SEEN
        self.notes: list[str] = []

    def look_at_pictures(self, told: Told) -> list[Check]:
        """Read each picture once, and show it to the networks."""
        networks, why_not = self._networks()
        self._seen = look_at_pictures(
            self._study,
            self.audited.sources,
            networks.reading,
            Asked(
                shown=shown_for_ladder(networks),
                marked=self._dealt.to_mark if networks.audited else np.arange(0),
                copies=copies_to_make(len(self._study), self._subject.seed)
                if networks.audited
                else {},
                embedded=networks.audited,
                fingerprint=fingerprint,
            ),
            workers=reader_count(self._subject.jobs),
            progress=told,
        )
        self.notes += [*networks.notes, *self._seen.notes]
        return [] if networks.audited else [_not_extracted(why_not)]

    def _networks(self) -> tuple[Networks, str]:
        """Open the first extractor again; without it nothing is extracted, and this is said."""
        first = [self._study.extractors[0]]
        without = Networks(how_read([one for one in first if not one.widths]))
        if self.audited.quick:
            return without, "it was not asked for (--quick)"
        if first[0].widths:
            return without, f"{first[0].name} is several extractors side by side: audit one of them"
        try:
            opened = open_networks(first, weights=self.audited.weights, device=self.audited.device)
        except SpecMismatchError as error:
            return without, (
                f"{first[0].name} as it can be opened here makes other embeddings"
                f" ({'; '.join(error.difference)}; 'there' is the file): extract again"
            )
        except CxrfeatError as error:
            return without, str(error)
        return opened, ""

    def controls(self, told: Told) -> list[Check]:
        """Climb the control ladder."""
        if self._seen is None:
            return []
        checks, ladders = control_checks(self._subject, self._seen, [self.audited.extractor])
        self.headline = headline(ladders[0]) if ladders else NOT_SEEN
        return checks

    def corner_mark(self, told: Told) -> list[Check]:
        """Plant a corner mark."""
        if self._seen is None or not len(self._seen.small_marked):
            return []
        check = corner_mark_check(
            self._subject,
            self._seen,
            self._dealt,
            self.audited.extractor,
            partial(attribute_checks, control=False),  # the whole study has one
        )
        return [replace(check, section=Section.PROOFS)]

    def duplicates(self, told: Told) -> list[Check]:
        """Seek the same picture twice."""
        if self._seen is None:
            return duplicate_checks(self._subject, None, [])
        return duplicate_checks(self._subject, self._seen.prints, self._seen.copies)

    def attributes(self, told: Told) -> list[Check]:
        """Ask of each column, and of what files say of themselves, whether the score uses it."""
        of_pictures: Mapping[str, Attribute] = {}
        if self._seen is not None:
            of_pictures = of_files(self._seen.files, self._study.meta)
        checks = attribute_checks(
            self._subject, self.audited.extractor, {**self._columns, **of_pictures}
        )
        return [
            replace(check, section=Section.PROOFS) if check.code == RANDOM_ATTRIBUTE else check
            for check in checks
        ]

    def sources(self, told: Told) -> list[Check]:
        """Leave one source out."""
        if self.audited.source is None:
            return [_no_source()]
        return source_checks(self._subject, self.audited.source)

    def labels(self, told: Told) -> list[Check]:
        """Doubt labels."""
        return label_checks(self._subject)

    def outliers(self, told: Told) -> list[Check]:
        """Seek pictures that are unlike the others, or not what they should be."""
        apart = outlier_checks(self._subject, self.audited.source, {})
        if self._seen is None:
            return apart
        return [*apart, *picture_checks(self._study, self._seen, self._subject.seed)]

    def subgroups(self, told: Told) -> list[Check]:
        """Score parts of the patients."""
        named = {name: of for name, of in self._columns.items() if _plain(name) in SUBGROUPS}
        return subgroup_checks(self._subject, self.audited.extractor, named)

    def pretraining(self, told: Told) -> list[Check]:
        """Ask what the weights were trained on."""
        return pretraining_checks(
            self._study, self._study.extractors, self.audited.collections, self.audited.source,
            weights=self.audited.weights,
        )  # fmt: skip


def copies_to_make(n: int, seed: int) -> dict[str, tuple[RowNumbers, Alteration]]:
    """Say of which of n images altered copies are planted, and how, by kind."""
    count = min(n, MOST_COPIED, max(FEWEST_COPIED, round(COPIED_SHARE * n)))
    random = np.random.default_rng([seed, 3])
    return {
        kind: (np.sort(random.permutation(n)[:count]), partial(_altered, kind, seed))
        for kind in KINDS
    }


def _altered(kind: str, seed: int, picture: Picture, row: int) -> Picture:
    return altered_copy(picture, kind, seed * 1_000_003 + row)


def fingerprint(picture: Picture) -> tuple[str, int]:
    """Give what copies are found by: the digest of all grey values, and the perceptual hash."""
    return pixel_digest(picture), perceptual_hash(resize(picture, SIDE))


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").removeprefix("patient").strip()


def _not_extracted(why: str) -> Check:
    return Check(
        "controls-through-network",
        Section.CONTROLS,
        "Do masked pictures tell the classes apart through the network?",
        Verdict.UNTESTED,
        f"nothing was extracted anew: {why}",
    )


def _no_source() -> Check:
    return Check(
        "leave-source-out",
        Section.SOURCES,
        "Does the score fall on a source that was not learned from?",
        Verdict.UNTESTED,
        "no image says where it comes from: a column 'source' is needed, or another one (--source)",
    )
