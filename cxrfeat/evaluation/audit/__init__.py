"""Whether scores come from where they should: detectors on numbers, each with a known error rate.

Images are not opened here: what is read of them comes in as matrices and columns. `subject` is
what is audited; one module answers each question, as functions from a ``Subject`` to ``Check``.
Imports all of `evaluation`; imported by `auditing`.
"""
