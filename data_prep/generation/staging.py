"""How scenes are set up besides their objects: camera, lamps, ground."""

import math
import re
from typing import NamedTuple

from data_prep.rendering import camera, lamps

_DISTANCE = math.hypot(*camera.POSITION[:2])
# Nearer or lower, the camera could stand in the midst of the objects; from
# farther away small objects could not show 200 pixels.
_LIMITS = {
  "camera_height": (2.0, 12.0),
  "camera_distance": (7.5, 14.0),
  "camera_jitter": (0.0, 1.5),
  "lamp_jitter": (0.0, 1.5),
}


class Staging(NamedTuple):
  """The setting of all scenes; CLEVR's unless told otherwise.

  Lengths are in world units: objects stand up to 3 from the origin.

  Attributes:
    camera_height: Of the camera, before jitter.
    camera_distance: From the vertical axis through the origin, before jitter.
      The camera stands on CLEVR's side of the scene, so that left and right
      are CLEVR's.
    camera_jitter: How far each coordinate of the camera is moved at most.
    lamp_jitter: How far each coordinate of each lamp is.
    background: RGB of the ground, which is all that there is behind the
      objects; as bytes that are taken as linear, as CLEVR takes those of
      objects. None: CLEVR's gray, 204 of each.
  """

  camera_height: float = camera.POSITION[2]
  camera_distance: float = _DISTANCE
  camera_jitter: float = camera.JITTER
  lamp_jitter: float = lamps.JITTER
  background: tuple[int, int, int] | None = None

  @property
  def camera_position(self) -> tuple[float, float, float]:
    """Where the camera is before jitter."""
    share = self.camera_distance / _DISTANCE
    x, y, _ = camera.POSITION
    return share * x, share * y, self.camera_height

  def check(self) -> None:
    """Checks the values.

    Raises:
      ValueError: One is out of its limits.
    """
    for name, (low, high) in _LIMITS.items():
      if not low <= getattr(self, name) <= high:
        raise ValueError(
          f"{name} is {getattr(self, name)}, must be from {low} to {high}"
        )
    color = self.background
    if color is not None and (
      len(color) != 3 or not all(type(c) is int and 0 <= c < 256 for c in color)
    ):
      raise ValueError(
        f"background is {color}, must be three whole numbers from 0 to 255"
      )

  def changes(self) -> dict:
    """Returns what is not as in CLEVR, for the description of data."""
    return {
      # A list, as JSON gives it back.
      name: list(value) if isinstance(value, tuple) else value
      for name, value in self._asdict().items()
      if value != Staging._field_defaults[name]
    }


CLEVR = Staging()


def background_of(text: str | None) -> tuple[int, int, int] | None:
  """Reads a colour such as "204,204,204".

  Raises:
    ValueError: It is none.
  """
  if text is None:
    return None
  if not re.fullmatch(r"\d{1,3},\d{1,3},\d{1,3}", text):
    raise ValueError(
      f"background is {text!r}, must be three numbers such as 90,120,90"
    )
  red, green, blue = map(int, text.split(","))
  return red, green, blue
