"""Stage II: a noise prompt data set -> an NPNet."""
