"""The live view of a run: a page for this machine only."""
