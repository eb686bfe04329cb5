"""The pairs that decided an answer, drawn over the picture."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import (
  Ellipse,
  FancyArrowPatch,
  FancyBboxPatch,
  Patch,
  Rectangle,
)
from matplotlib.patheffects import withStroke

from rn_jax.clevr import HEIGHT, RGB, WIDTH
from rn_jax.why import Why

FOR, AGAINST = "#0072B2", "#D55E00"  # for all kinds of colour vision
NUMBER = 5  # of pairs
_INCHES = 5.3  # width of the picture
_COLUMNS = 80  # of the question, above it
_HEIGHT, _LINE = 3.73, 0.17  # of all, and of a line of the question


def draw_pairs(
  why: Why, question: str, picture: np.ndarray | None = None
) -> Figure:
  """Draws the strongest pairs as lines between their objects, with a key.

  Args:
    why: From Network.why.
    question: What was asked.
    picture: [H, W, 3] uint8; None: the objects' boxes on an empty floor.
  """
  lines = textwrap.wrap(question, _COLUMNS) or [""]
  # The picture and its key are as high whatever is above them.
  height = _HEIGHT + _LINE * len(lines)
  top = 0.9 * 3.9 / height
  figure = Figure((8.5, height), facecolor="white")
  axes = figure.add_axes((0.01, 0.02, _INCHES / 8.5, top))
  _draw_on(axes, why, picture)
  axes.set_title("\n".join(lines), loc="left", size=9)
  legend = figure.add_axes((0.66, 0.02, 0.33, top))
  legend.axis("off")
  legend.set_title(
    f"{why.answer} ({100 * why.probability:.0f} %)", loc="left", weight="bold"
  )
  pairs = why.strongest(NUMBER)
  style: dict[str, Any] = {
    "size": 9,
    "va": "center",
    "transform": legend.transAxes,
  }
  if not pairs:
    legend.text(0, 0.93, "no pair alone decided", **style)
    return figure
  for rank, (i, j) in enumerate(pairs, start=1):
    second = "by itself" if i == j else f"→ {why.names[j]}"
    value = why.contributions[i, j]
    legend.text(
      0.0,
      0.93 - 0.155 * (rank - 1),
      f"{rank}   {value:+.2f}   {why.names[i]}\n      {second}",
      color=color_of(value),
      **style,
    )
  style["size"] = 8
  for row, (color, says) in enumerate([(FOR, "for"), (AGAINST, "against")]):
    height = 0.09 - 0.06 * row
    legend.text(0.0, height, "▬", color=color, weight="bold", **style)
    legend.text(
      0.07,
      height,
      f"speaks {says} the answer, by so many nats",
      color="0.3",
      **style,
    )
  return figure


def draw_on_picture(why: Why, picture: np.ndarray | None = None) -> Figure:
  """Draws the strongest pairs on the picture, with nothing beside it.

  Args:
    why: From Network.why.
    picture: See draw_pairs.
  """
  figure = Figure((_INCHES, _INCHES * HEIGHT / WIDTH))
  axes = figure.add_axes((0, 0, 1, 1))
  axes.set_frame_on(False)
  _draw_on(axes, why, picture)
  return figure


def color_of(contribution: float) -> str:
  """Returns the colour of pairs that speak for, or against, the answer."""
  return FOR if contribution > 0 else AGAINST


def _draw_on(axes: Axes, why: Why, picture: np.ndarray | None) -> None:
  axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0), xticks=[], yticks=[])
  boxes = why.boxes * [WIDTH, HEIGHT, WIDTH, HEIGHT]
  if picture is None:
    axes.set_aspect("equal")
    axes.add_patch(Rectangle((0, 0), WIDTH, HEIGHT, color="#eeeeee"))
    for name, box in zip(why.names, boxes, strict=True):
      if name != "nothing":
        axes.add_patch(_silhouette(name, box))
  else:
    # Whatever its size, it is seen as CLEVR's pictures were drawn.
    axes.imshow(picture, extent=(0, WIDTH, HEIGHT, 0), aspect="equal")
  pairs = why.strongest(NUMBER)
  largest = max((abs(why.contributions[p]) for p in pairs), default=1.0)
  # The strongest on top.
  for rank, (i, j) in reversed([*enumerate(pairs, start=1)]):
    value = why.contributions[i, j]
    color, width = color_of(value), 1.2 + 2.3 * abs(value) / largest
    if i == j:
      center, size = _center(boxes[i]), 1.25 * (boxes[i, 2:] - boxes[i, :2])
      mark = _ellipse(center, size, fill=False, ec=color, lw=width)
      place = center - [0, size[1] / 2]
    else:
      mark, place = _arrow(_center(boxes[i]), _center(boxes[j]), width)
      mark.set_color(color)
    mark.set_path_effects(
      [withStroke(linewidth=width + 1.6, foreground="white")]
    )
    axes.add_patch(mark)
    axes.annotate(
      str(rank),
      (place[0], place[1]),
      ha="center",
      va="center",
      color="white",
      size=8,
      bbox={"boxstyle": "circle,pad=0.25", "fc": color, "ec": "white"},
    )


def _arrow(
  start: np.ndarray, end: np.ndarray, width: float
) -> tuple[FancyArrowPatch, np.ndarray]:
  """Returns an arrow of a width in points, and the place of its number."""
  along = end - start
  length = max(float(np.hypot(*along)), 1.0)
  # The two directions of a pair bend to different sides.
  arrow = FancyArrowPatch(
    tuple(start),
    tuple(end),
    arrowstyle="-|>,head_length=0.9,head_width=0.45",
    connectionstyle="arc3,rad=0.18",
    # The head of a short arrow leaves something of it.
    mutation_scale=min(8 + 3 * width, 0.45 * length),
    shrinkA=2,
    shrinkB=2,
    lw=width,
    joinstyle="miter",
  )
  # On the bend, but beside it where there is hardly any.
  aside = max(0.09 * length, 15.0 if length < 80 else 0.0)
  return arrow, (start + end) / 2 + aside / length * along[::-1] * [-1, 1]


def _center(box: np.ndarray) -> np.ndarray:
  return (box[:2] + box[2:]) / 2


def _ellipse(center: np.ndarray, size: np.ndarray, **style) -> Ellipse:
  (x, y), (width, height) = center, size
  return Ellipse((x, y), width, height, **style)


def _silhouette(name: str, box: np.ndarray) -> Patch:
  """Returns what stands for an object where there is no picture of it."""
  _, color, material, shape = name.split()
  style: dict[str, Any] = {
    "facecolor": np.array(RGB[color]) / 255,
    "edgecolor": "black" if material == "metal" else "none",
  }
  size = box[2:] - box[:2]
  if shape == "sphere":
    return _ellipse(_center(box), size, **style)
  rounding = 0.0 if shape == "cube" else size[0] / 4
  style["boxstyle"] = f"round,pad=0,rounding_size={rounding}"
  x, y, *_ = box
  return FancyBboxPatch((x, y), *size, **style)
