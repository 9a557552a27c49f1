"""A search over recipe, depth and width of a network: trained by turns, the hopeless ones not to the end."""
