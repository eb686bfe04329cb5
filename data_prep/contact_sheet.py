"""Draws a few scenes of a records folder with their questions and answers."""

import io
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from PIL import Image

from data_prep.scenes import DIRECTIONS
from rn_jax.clevr import ATTRIBUTES

_RGB = {
  "cyan": (41, 208, 208),
  "blue": (42, 75, 215),
  "yellow": (255, 238, 51),
  "purple": (129, 38, 192),
  "red": (173, 35, 35),
  "green": (29, 105, 20),
  "gray": (87, 87, 87),
  "brown": (129, 74, 25),
}
_RADIUS = {"large": 0.7, "small": 0.35}
_COLUMNS = 3
_QUESTIONS = 4


def draw_contact_sheet(
  path: Path, scenes: list[dict], answers: list[str], title: str
) -> None:
  """Writes a PNG with the scenes, each above some of its questions.

  Args:
    path: File to write.
    scenes: As `rn_jax.records.decode_scene` returns them. Scenes without an
      image are drawn from above, the camera at the bottom.
    answers: Answers in the order of their ids.
    title: Stands above all.
  """
  rows = -(-len(scenes) // _COLUMNS)
  figure = Figure((4.2 * _COLUMNS, 5.3 * rows + 0.5), layout="constrained")
  FigureCanvasAgg(figure)
  figure.suptitle(title, fontweight="bold")
  panels = figure.subplots(
    2 * rows, _COLUMNS, squeeze=False, height_ratios=[3, 1.6] * rows
  )
  for axes in panels.flat:
    axes.set_axis_off()
  for i, scene in enumerate(scenes):
    row, column = divmod(i, _COLUMNS)
    picture, text = panels[2 * row : 2 * row + 2, column]
    picture.set_title(scene["image_filename"], fontsize=9)
    if scene["image"] is None:
      _draw_from_above(picture, scene["objects"])
    else:
      picture.imshow(np.asarray(Image.open(io.BytesIO(scene["image"]))))
    text.text(
      0,
      1,
      _dialogue(scene["questions"], answers),
      transform=text.transAxes,
      verticalalignment="top",
      fontsize=7.5,
      linespacing=1.3,
    )
  figure.savefig(path, dpi=100)


def _dialogue(questions: dict, answers: list[str]) -> str:
  # Questions of a scene stand in the order of their templates; spread the
  # choice over them.
  count = len(questions["text"])
  chosen = sorted({count * k // _QUESTIONS for k in range(_QUESTIONS)})
  lines = []
  for k in chosen if count else ():
    answer = questions["answer"][k]
    answer = answers[answer] if answer >= 0 else "(no answer)"
    line = f"• {questions['text'][k]}  → {answer}"
    lines.append(textwrap.fill(line, 60, subsequent_indent="   "))
  return "\n".join(lines) or "(no questions)"


def _draw_from_above(axes, objects: dict) -> None:
  axes.set(xlim=(-5.1, 5.1), ylim=(-5.7, 5.1), aspect="equal")
  axes.add_patch(Rectangle((-5, -5), 10, 10, color="0.93"))
  note = "seen from above, camera here; black edge: metal, ring: cylinder"
  axes.text(0, -5.5, note, ha="center", fontsize=6.5, color="0.4")
  # Turned so that "right" is right and "behind" is up.
  across, depth = (
    objects["3d_coords"] @ np.array(DIRECTIONS[name], np.float32)
    for name in ("right", "behind")
  )
  names = {
    name: [values[k] for k in objects[name]]
    for name, values in ATTRIBUTES.items()
  }
  for i in np.argsort(-depth):  # the nearer ones on top
    center, radius = (across[i], depth[i]), _RADIUS[names["size"][i]]
    color = np.array(_RGB[names["color"][i]]) / 255
    shape, metal = names["shape"][i], names["material"][i] == "metal"
    style = {
      "facecolor": color,
      "edgecolor": "black" if metal else "none",
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
