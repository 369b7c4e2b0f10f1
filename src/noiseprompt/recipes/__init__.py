"""Recipes with rows: a table of the paper as one YAML file. plan -> needs -> stages -> gather (and analysis) -> document."""
