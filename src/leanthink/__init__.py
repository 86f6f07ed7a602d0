"""leanthink: reward modules and algorithms that make reasoning models think no longer than they need."""

__version__ = "0.1.0"
