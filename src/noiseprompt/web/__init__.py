"""A page in the browser: draw, compare and look at the noise with the models it was started with."""
