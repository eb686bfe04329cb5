"""Blocks that relate the cells of a feature map to one another."""
