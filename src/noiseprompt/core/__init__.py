"""The words everything speaks: errors, records, names with options, settings, files, locks, tables, averages, devices.

Imports nothing of this package, and no torch when imported.
"""
