"""The verbs, a folder each; they meet in the types and on disk, and none imports another."""
