"""(to be written)"""

if __name__ != "leanthink.rewards":  # a second copy of every class would compare unequal
    raise ImportError("import leanthink.rewards, not rewards")
