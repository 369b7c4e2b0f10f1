"""The words everything speaks: errors, records, names with options, settings, fingerprints, files, locks, devices.

Imports nothing of this package, and no torch when imported.
"""
