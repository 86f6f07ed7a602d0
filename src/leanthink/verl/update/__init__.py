"""What runs in the training workers: losses, and what they ask of a batch."""
