"""Draws a few scenes with questions and answers."""

import dataclasses
import os
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from rn_jax.clevr import RADIUS, RGB, RIGHT
from rn_jax.data.states import attribute_values
from rn_jax.host.atomic import replacing

# On the floor; drawings are turned so that these are right and up.
_RIGHT = np.array(RIGHT[:2], np.float32)
_BEHIND = np.array([-_RIGHT[1], _RIGHT[0]])
_COLUMNS = 3


@dataclasses.dataclass(frozen=True)
class Panel:
  """One scene of a sheet.

  Attributes:
    title: Stands above the picture.
    picture: The image [H, W, 3], uint8 or float in [0, 1], or the rows of a
      state description [N, 7], which are drawn from above.
    questions: Pairs of a question and its answer.
  """

  title: str
  picture: np.ndarray
  questions: Sequence[tuple[str, str]]


def draw_contact_sheet(
  path: str | os.PathLike, panels: Sequence[Panel], title: str
) -> None:
  """Writes a PNG of the panels under a title."""
  rows = -(-len(panels) // _COLUMNS)
  lines = max(1, *(len(panel.questions) for panel in panels))
  text_height = 0.3 + 0.4 * lines  # inches
  figure = Figure(
    (4.2 * _COLUMNS, (3.4 + text_height) * rows + 0.5), layout="constrained"
  )
  FigureCanvasAgg(figure)
  figure.suptitle(title, fontweight="bold")
  axes = figure.subplots(
    2 * rows,
    _COLUMNS,
    squeeze=False,
    height_ratios=[3.4, text_height] * rows,
  )
  for cell in axes.flat:
    cell.set_axis_off()
  for i, panel in enumerate(panels):
    row, column = divmod(i, _COLUMNS)
    picture, text = axes[2 * row : 2 * row + 2, column]
    picture.set_title(panel.title, fontsize=9)
    if panel.picture.ndim == 3:
      picture.imshow(panel.picture)
    else:
      draw_from_above(picture, panel.picture)
    lines = [
      textwrap.fill(f"• {question}  → {answer}", 60, subsequent_indent="   ")
      for question, answer in panel.questions
    ]
    text.text(
      0,
      1,
      "\n".join(lines) or "(no questions)",
      transform=text.transAxes,
      verticalalignment="top",
      fontsize=7.5,
      linespacing=1.3,
    )
  with replacing(path) as temporary:
    figure.savefig(temporary, format="png", dpi=100)


def draw_from_above(axes, rows: np.ndarray) -> None:
  """Draws the rows of a state description [N, 7] on matplotlib axes."""
  axes.set(xlim=(-5.1, 5.1), ylim=(-5.7, 5.1), aspect="equal")
  axes.add_patch(Rectangle((-5, -5), 10, 10, color="0.93"))
  note = "seen from above, camera here; black edge: metal, ring: cylinder"
  axes.text(0, -5.5, note, ha="center", fontsize=6.5, color="0.4")
  rows = rows[rows.any(-1)]
  across, depth = rows[:, :2] @ _RIGHT, rows[:, :2] @ _BEHIND
  for i in np.argsort(-depth):  # the nearer ones on top
    color, material, shape, size = attribute_values(rows[i]).values()
    center, radius = (float(across[i]), float(depth[i])), RADIUS[size]
    style = {
      "facecolor": np.array(RGB[color]) / 255,
      "edgecolor": "black" if material == "metal" else "none",
      "linewidth": 1.5,
    }
    if shape == "cube":
      corner = (center[0] - radius, center[1] - radius)
      axes.add_patch(Rectangle(corner, 2 * radius, 2 * radius, **style))
      continue
    axes.add_patch(Circle(center, radius, **style))
    if shape == "cylinder":  # a rim tells it from a sphere
      rim = {"facecolor": "none", "edgecolor": "white", "linewidth": 1}
      axes.add_patch(Circle(center, 0.75 * radius, **rim))
