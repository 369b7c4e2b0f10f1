"""Judges of many images together: Frechet distance, precision and recall, diversity, and the features they need."""
