"""The words: errors, records, names, settings, files. Imports nothing of this package, and no torch when imported."""
