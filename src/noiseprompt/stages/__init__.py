"""The verbs, a folder each: collect, train, generate, evaluate, report. None imports another.

They meet in the records of `core/types.py` and on disk.
"""
