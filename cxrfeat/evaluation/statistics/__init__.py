"""Metrics, intervals and tests: what numbers say, and how sure they are.

`metrics` comes first; then intervals (`patient_influence`, `intervals`, `patient_bootstrap`), then
pairs (`paired_tests`, `extractor_comparison`). Imports `study`; imported by everything above it.
"""
