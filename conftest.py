"""Collection settings for the whole repository."""

from importlib.util import find_spec

# These folders are linked into src/leanthink, where pytest collects their doctests under the right import path.
collect_ignore = ["rewards", "algorithms", "recipes"]
if find_spec("vllm") is None:  # verl's worker of vLLM, which it extends, is not to be imported without
    collect_ignore.append("src/leanthink/verl/cpu/vllm_worker.py")
