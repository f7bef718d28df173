"""Metrics, intervals and tests: what numbers say, and how sure they are.

Imports `study`; imported by everything above it.
"""
