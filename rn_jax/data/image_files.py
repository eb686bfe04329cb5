"""Image files that people name, and those in folders."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from rn_jax.host.paths import local_paths


class ImageFiles(NamedTuple):
  """Image files, in the order of their paths.

  Attributes:
    paths: Absolute ones.
    names: Relative to `root`.
    named: Those of `paths` that were not found in a folder.
    root: The folder that all lie in.
  """

  paths: list[str]
  names: list[str]
  named: set[str]
  root: Path


def find_image_files(arguments: Sequence[str]) -> ImageFiles:
  """Finds image files.

  Args:
    arguments: Files and folders. Of a folder, and the folders in it, all files
      are taken whose suffix Pillow knows as an image's.

  Raises:
    ValueError: There are none.
    OSError: There is no such file or folder.
  """
  arguments = local_paths(arguments)
  named, files = set(), set()
  for argument in map(os.path.abspath, arguments):
    if os.path.isdir(argument):
      files.update(_images_in(argument))
    elif os.path.exists(argument):
      named.add(argument)
    else:
      raise FileNotFoundError(f"{argument}: no such file or folder")
  files |= named
  if not files:
    raise ValueError(f"{', '.join(arguments)}: there are no image files in it")
  folders = [
    path if os.path.isdir(path) else os.path.dirname(path)
    for path in map(os.path.abspath, arguments)
  ]
  root = Path(os.path.commonpath(folders))
  paths = sorted(files, key=lambda path: Path(path).parts)
  names = [Path(path).relative_to(root).as_posix() for path in paths]
  return ImageFiles(paths, names, named, root)


def _images_in(folder: str) -> list[str]:
  Image.init()
  return [
    os.path.join(parent, name)
    for parent, _, names in os.walk(folder)
    for name in names
    if os.path.splitext(name)[1].lower() in Image.EXTENSION
  ]
