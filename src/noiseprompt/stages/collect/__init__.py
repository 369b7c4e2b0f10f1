"""Stage I: prompts -> a noise prompt data set."""
