"""The plug-in for verl: the only package here that imports it.

Reward workers return facts (``facts``), the sampler shapes whole groups (``shaping``), our estimator turns rewards into
advantages (``advantage``), a callback keeps the reward's state with the checkpoint (``checkpoint``), and ``launch``
says which of verl's keys a recipe stands for. verl itself stays unmodified.
"""
