"""Recipes with rows, each a table of the paper: plan -> needs -> run -> gather (with analysis) -> document."""
