"""Scores of frozen embeddings against simple baselines, with intervals by group."""
