"""(to be written)"""

if __name__ != "leanthink.algorithms":  # a second copy of every class would compare unequal
    raise ImportError("import leanthink.algorithms, not algorithms")
