"""Modules that relate objects to each other."""
