"""Collect (stage I): prompts -> pairs of source and target noise, both images drawn and scored."""
