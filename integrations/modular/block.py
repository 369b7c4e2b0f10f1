"""For a repository on the Hugging Face hub: noiseprompt's block. Needs `pip install noiseprompt`."""

from noiseprompt.modular import NoiseBlock

__all__ = ["NoiseBlock"]
