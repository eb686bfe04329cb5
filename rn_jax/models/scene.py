"""What encoders hand on: the objects of scenes, and where they are."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float


class Scene(NamedTuple):
  """S scenes of N objects.

  Attributes:
    objects: Features, [S, N, F].
    mask: Which objects there are, [S, N] bool; None: all.
    boxes: Left, upper, right and lower edge in units of the picture's width
      and height, [S, N, 4], or [1, N, 4] for all scenes; None: unknown.
  """

  objects: Float[Array, "S N F"]
  mask: Bool[Array, "S N"] | None = None
  boxes: Float[Array, "#S N 4"] | None = None
