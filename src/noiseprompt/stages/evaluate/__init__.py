"""Evaluate: methods x prompts x seeds -> planned, drawn, scored images on disk, paired and resumable."""
