"""From YAML to objects, and one training step through them."""
