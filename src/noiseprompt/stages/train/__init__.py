"""Train (stage II): a noise prompt data set -> an NPNet: data, settings, loop, validation, checkpoints."""
