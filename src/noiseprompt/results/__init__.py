"""What an evaluation leaves on disk, its figures, their words."""
