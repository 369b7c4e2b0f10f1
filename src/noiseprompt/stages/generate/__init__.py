"""Generate (stage III): prompts, seeds, methods -> pictures; and winning noise for users of diffusers."""
