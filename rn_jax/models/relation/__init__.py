"""Heads: from the objects of a scene to what is said of it as a whole."""
