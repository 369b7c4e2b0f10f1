"""What an evaluation leaves on disk, its figures (pairs, intervals, tests, sets), and their words and tables."""
