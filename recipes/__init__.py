"""One YAML per published method; read them with ``leanthink.recipe.definition.load_recipe``."""

if __name__ != "leanthink.recipes":  # a second copy of every class would compare unequal
    raise ImportError("import leanthink.recipes, not recipes")
