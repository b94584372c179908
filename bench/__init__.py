"""Reproducible measurements: each prints its figures, how it got them, and writes bench/results/<name>.json."""
