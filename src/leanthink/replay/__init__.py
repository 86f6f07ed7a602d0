"""Stored rollouts through recipes, as training would score them."""
