"""Folders that tests look for files in."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
# Material beside the project; tests that use it skip where it is absent.
SHARED = ROOT.parent / "shared"
