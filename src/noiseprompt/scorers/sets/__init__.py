"""Judges of many images together: feature extractors, Frechet distance, precision and recall, diversity."""
