"""Collection settings for the whole repository."""

# These folders are linked into src/leanthink, where pytest collects their doctests under the right import path.
collect_ignore = ["rewards", "algorithms", "recipes"]
