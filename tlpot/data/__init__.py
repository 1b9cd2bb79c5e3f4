"""Datasets of QM labels: reading, describing, splitting, batching."""
