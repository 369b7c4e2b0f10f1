"""Several processes for one stage: on the GPUs of one machine or of many."""
