"""From a folder of recordings or stays to a recipe that fits it, and the demonstration that walks this road."""

from counterpoint.start.demonstration import demo
from counterpoint.start.folder import describe, recipe_for, write_recipe

__all__ = ["demo", "describe", "recipe_for", "write_recipe"]
