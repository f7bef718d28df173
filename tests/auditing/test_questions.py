"""What an audit asks of pictures."""

from __future__ import annotations

import numpy as np

from cxrfeat.auditing import questions
from cxrfeat.images import fingerprints


def test_the_hash_is_that_of_the_small_picture() -> None:
    picture = np.random.default_rng(0).uniform(size=(90, 120)).astype(np.float32)
    whole = fingerprints.fingerprint(picture)
    assert questions.fingerprint(picture) == (whole.pixels, whole.hash)
