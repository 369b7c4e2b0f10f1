"""Stage IV: methods compared on the same prompts and seeds."""
