"""The audit of a study: pictures, embeddings and columns put together, every question asked.

Imports what several commands share, and all below; imported by `commands`. The detectors
themselves are in `evaluation.audit` (numbers) and `images` (pictures). To read: `opening` (what is
audited), `audit` (which questions, in which order), `steps`, `columns`, `audit_folder` (what is
written).
"""
