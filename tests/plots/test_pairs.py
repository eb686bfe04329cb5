"""What decided an answer, as it is drawn."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Text

from rn_jax.plots.pairs import AGAINST, FOR, draw_on_picture, draw_pairs
from rn_jax.why import Why

NAMES = ["small red rubber cube", "large cyan metal sphere", "nothing"]


@pytest.fixture
def why():
  contributions = np.zeros((3, 3))
  contributions[0, 1], contributions[1, 0] = 2.0, -0.5
  boxes = np.array([[0.1, 0.4, 0.2, 0.5], [0.7, 0.5, 0.9, 0.7], [0, 0, 1, 1]])
  return Why("yes", 0.9, contributions, NAMES, boxes)


def _pixels(figure):
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def _has(pixels, color):
  wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
  return (abs(pixels - wanted).sum(-1) < 8).mean()


@pytest.mark.parametrize("picture", [None, np.zeros((8, 12, 3), np.uint8)])
def test_colours_tell_for_from_against(why, picture):
  both = _pixels(draw_on_picture(why, picture))
  assert both.shape[1] / both.shape[0] == pytest.approx(1.5, abs=0.01)
  assert _has(both, FOR) > _has(both, AGAINST) > 0
  none = why._replace(contributions=0 * why.contributions)
  assert not _has(_pixels(draw_on_picture(none, picture)), FOR)


def test_arrows_lead_from_the_first_object_to_the_second(why):
  (axes,) = draw_on_picture(why).axes
  arrows = [x for x in axes.patches if isinstance(x, FancyArrowPatch)]
  ends = [np.array(arrow._posA_posB) / [480, 320] for arrow in arrows]
  np.testing.assert_allclose(ends[-1], [[0.15, 0.45], [0.8, 0.6]])  # on top
  np.testing.assert_allclose(ends[0], ends[-1][::-1])
  # They bend apart, and have heads that can be seen.
  assert arrows[-1].get_mutation_scale() > 3 * arrows[-1].get_linewidth()


def test_the_file_has_a_key_to_the_colours(why):
  for question in "Are there two?", "Is the big thing " * 13:
    figure = draw_pairs(why, question)
    renderer = FigureCanvasAgg(figure).get_renderer()
    whole = figure.bbox
    titles = [
      axes.title if axes.get_title() else axes._left_title  # no public way
      for axes in figure.axes
    ]
    asked, answered = (title.get_window_extent(renderer) for title in titles)
    assert not asked.overlaps(answered)
    assert asked.y1 <= whole.y1
    assert asked.x1 <= whole.x1
  figure = draw_pairs(why, "Are there two?")
  texts = [text.get_text() for text in figure.findobj(Text)]
  assert any("speaks for" in text for text in texts)
  assert any("speaks against" in text for text in texts)
  assert any("+2.00   small red rubber cube" in text for text in texts)
  figure = draw_pairs(why._replace(contributions=np.zeros((3, 3))), "?")
  assert any("no pair" in text.get_text() for text in figure.findobj(Text))
