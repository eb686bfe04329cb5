"""Finds the image files of a split, which are opened later."""

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from data_prep.conversion.oddities import Oddities, note
from rn_jax.data.clevr_json import SourceError
from rn_jax.host.paths import is_address

if TYPE_CHECKING:
  from rn_jax.host.addresses import Address


def find_images(
  names: Sequence[str], image_dir: Path, skipped: Oddities | None
) -> tuple[dict[str, str], str]:
  """Finds the images of scenes.

  Args:
    names: Of their files, one for each scene.
    image_dir: Holds them.
    skipped: Counts those that are not there; None: they are an error.

  Returns:
    Their paths by name, and a hash of names, sizes and times of change; in an
    object store, of what it says in place of the times.

  Raises:
    SourceError: There is no such folder, or an image is not in it.
  """
  if not image_dir.is_dir():
    raise SourceError(
      f"{image_dir}: no such folder; add the images, or convert without"
      " (--images=no)"
    )
  present = _states_of(image_dir)
  digest, found, missing = hashlib.sha256(), {}, []
  for name in names:
    path = image_dir / name
    try:
      state = present[name]()
    except KeyError:
      missing.append(f"{path}: no such image")
    except OSError as error:
      missing.append(f"{path}: a link to nothing ({error.strerror})")
    else:
      digest.update(f"{name} {state}\n".encode())
      found[name] = str(path)
      continue
    if skipped is not None:
      note(skipped, "missing_images", name)
  if missing and (skipped is None or not found):
    remedy = "leave their scenes out (--skip_missing), " if found else ""
    raise SourceError(
      f"{missing[0]}; {len(missing)} of {len(names)} are missing: add them,"
      f" {remedy}or convert without images (--images=no)"
    )
  return found, digest.hexdigest()


def _states_of(folder: Path) -> dict[str, Callable[[], str]]:
  """Returns of each file what gives size and time of change."""
  if is_address(folder):
    entries = cast("Address", folder).entries()
    return {name: lambda state=state: state for name, state in entries.items()}

  def state_of(entry: os.DirEntry) -> str:
    stat = entry.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"

  with os.scandir(folder) as entries:
    return {entry.name: partial(state_of, entry) for entry in entries}
