"""What runs where responses are sampled and judged: agent loops, probes, facts."""
