"""Whole stories and the paper's tables from YAML: plan, check needs, run stages, gather figures, write the document."""
