"""Stage III: prompts, seeds, methods -> pictures."""
