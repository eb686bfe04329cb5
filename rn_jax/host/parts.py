"""Finished parts of a job, kept in a folder until the job is done."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from rn_jax.host.atomic import replacing
from rn_jax.host.paths import remove_folder


def encode_arrays(**arrays: np.ndarray) -> bytes:
  """Returns the content of a part that is arrays."""
  content = io.BytesIO()
  named: dict[str, Any] = arrays
  np.savez(content, **named)
  return content.getvalue()


class Parts:
  """Keeps the parts that an interrupted job has finished.

      parts = Parts(folder, {"seed": 0, "size": 250})
      content = parts.read(3)  # of this job and whole, or None
      parts.write(3, b"...")
      parts.remove()  # all of them

  A file is a line of JSON with the job's key and a hash of the content, then
  the content.
  """

  def __init__(self, folder: Path, job):
    """Names a folder, made when the first part is written.

    Args:
      folder: Holds nothing but parts.
      job: JSON value; differs whenever a part would.
    """
    self.folder = folder.absolute()  # wherever a worker is
    text = json.dumps(job, sort_keys=True)
    self._key = hashlib.sha256(text.encode()).hexdigest()

  def path(self, part: int) -> Path:
    """Returns where a part is kept."""
    return self.folder / f"{part:06d}.part"

  def read(self, part: int) -> bytes | None:
    """Returns the content of a part; None unless it is whole and of the job."""
    try:
      head, _, content = self.path(part).read_bytes().partition(b"\n")
    except FileNotFoundError:
      return None
    if head == self._head(content):
      return content
    logging.warning(
      "%s is damaged or of another job: made again", self.path(part)
    )
    return None

  def write(self, part: int, content: bytes) -> None:
    """Keeps a part, whole or not at all."""
    self.folder.mkdir(parents=True, exist_ok=True)
    with replacing(self.path(part)) as temporary:
      temporary.write_bytes(self._head(content) + b"\n" + content)

  def read_arrays(self, part: int) -> dict[str, np.ndarray] | None:
    """Returns a part that is arrays; None as `read` does.

    Raises:
      ValueError: It is whole, but what was written are no arrays.
    """
    content = self.read(part)
    return None if content is None else self.decode_arrays(part, content)

  def decode_arrays(self, part: int, content: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays that are the content of a part; see read_arrays."""
    try:
      with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)
    except Exception as error:  # the header of an array can raise nearly any
      raise ValueError(
        f"{self.path(part)}: does not hold arrays ({error or repr(error)}); "
        "remove it, and it is made again"
      ) from error

  def write_arrays(self, part: int, **arrays: np.ndarray) -> None:
    """Keeps a part that is arrays."""
    self.write(part, encode_arrays(**arrays))

  def remove(self) -> None:
    """Removes the folder, with parts of other jobs that are in it."""
    remove_folder(self.folder, ignore_errors=True)

  def _head(self, content: bytes) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    return json.dumps({"key": self._key, "sha256": digest}).encode()
