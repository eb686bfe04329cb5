"""The pairs that decided an answer, drawn over the picture."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from rn_jax.why import Why

_FOR, _AGAINST = "#0072B2", "#D55E00"  # for all kinds of colour vision
_WIDTH, _HEIGHT = 480, 320  # of CLEVR's pictures, whatever size they have now


def draw_pairs(
  why: Why, question: str, picture: np.ndarray | None = None, number: int = 5
) -> Figure:
  """Draws the strongest pairs as lines between their objects.

  Args:
    why: From Network.why.
    question: What was asked.
    picture: [H, W, 3] uint8; None: the objects' boxes on an empty floor.
    number: How many pairs.
  """
  figure = Figure((8.5, 3.6), facecolor="white")
  axes = figure.add_axes((0.01, 0.02, 0.62, 0.88))
  legend = figure.add_axes((0.66, 0.02, 0.33, 0.88))
  axes.set(xlim=(0, _WIDTH), ylim=(_HEIGHT, 0), xticks=[], yticks=[])
  if picture is not None:
    axes.imshow(picture, extent=(0, _WIDTH, _HEIGHT, 0), aspect="equal")
  else:
    axes.set_facecolor("#eeeeee")
    axes.set_aspect("equal")
  boxes = why.boxes * [_WIDTH, _HEIGHT, _WIDTH, _HEIGHT]
  centers = (boxes[:, :2] + boxes[:, 2:]) / 2
  pairs = why.strongest(number)
  if picture is None:
    for name, center, box in zip(why.names, centers, boxes, strict=True):
      if name != "nothing":
        size = box[2:] - box[:2]
        axes.add_patch(Ellipse(center, *size, color="#bbbbbb"))
        axes.annotate(name.replace(" ", "\n", 1), center, ha="center", size=6)
  largest = max((abs(why.contributions[p]) for p in pairs), default=1.0)
  legend.axis("off")
  legend.set_title(
    f"{why.answer} ({100 * why.probability:.0f} %)", loc="left", weight="bold"
  )
  if not pairs:
    legend.text(0, 0.9, "no pair alone decided", transform=legend.transAxes)
  for rank, (i, j) in enumerate(pairs, start=1):
    value = why.contributions[i, j]
    color = _FOR if value > 0 else _AGAINST
    width = 1 + 4 * abs(value) / largest
    if i == j:
      size = 1.25 * (boxes[i, 2:] - boxes[i, :2])
      ring = Ellipse(centers[i], *size, fill=False, ec=color, lw=width)
      axes.add_patch(ring)
      place = centers[i] - [0, size[1] / 2]
    else:
      # The two directions of a pair bend to different sides.
      axes.annotate(
        "",
        centers[j],
        centers[i],
        arrowprops={
          "arrowstyle": "-|>",
          "connectionstyle": "arc3,rad=0.18",
          "color": color,
          "lw": width,
        },
      )
      across = (centers[j] - centers[i])[::-1] * [-0.09, 0.09]
      place = (centers[i] + centers[j]) / 2 + across
    axes.annotate(
      str(rank),
      place,
      ha="center",
      va="center",
      color="white",
      size=8,
      bbox={"boxstyle": "circle,pad=0.25", "fc": color, "ec": "white"},
    )
    second = "by itself" if i == j else f"→ {why.names[j]}"
    legend.text(
      0.0,
      1.0 - 0.19 * (rank - 0.4),
      f"{rank}   {value:+.2f}   {why.names[i]}\n      {second}",
      color=color,
      size=9,
      va="center",
      transform=legend.transAxes,
    )
  axes.set_title(question, loc="left", size=9)
  return figure
