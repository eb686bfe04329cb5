"""The parts of the page that change, as HTML with its pictures in itself.

So no file of the server has an address. All text is escaped.
"""

import base64
import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from rn_jax.demo.answering import Answered
from rn_jax.demo.similar import Alike
from rn_jax.demo.subjects import Subject, shown
from rn_jax.host.templates import read_template
from rn_jax.plots.pairs import color_of, draw_on_picture
from rn_jax.why import Why

_DPI = 180
_QUALITY = 88
_THUMBNAIL = (240, 160)


def picture(subject: Subject, why: Why | None = None) -> str:
  """Returns the picture of a subject, with the pairs that decided on it."""
  image = subject.picture and shown(subject.picture)
  if why is not None:
    figure = draw_on_picture(why, None if image is None else np.asarray(image))
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
  pairs = why.strongest() if why else []
  return _parts().picture(subject.title, _address(image), bool(pairs))


def answered(found: Answered, scene_known: bool) -> str:
  """Returns what a network says, what decided, and what is right."""
  return _parts().answered(found, scene_known, color_of)


def alike(hits: list[Alike] | None) -> str:
  """Returns the images of an index; None: its network reads no such subject."""
  small = [
    _address(hit.picture and hit.picture.resize(_THUMBNAIL))
    for hit in hits or ()
  ]
  return _parts().alike(hits, small)


def error(message: str) -> str:
  """Returns one line that says what is wrong."""
  return _parts().error(" ".join(message.split()))


def _address(image: Image.Image | None) -> str | None:
  """Returns a picture as an address that holds it."""
  if image is None:
    return None
  content = io.BytesIO()
  image.convert("RGB").save(content, "JPEG", quality=_QUALITY)
  text = base64.b64encode(content.getvalue()).decode()
  return f"data:image/jpeg;base64,{text}"


@functools.cache
def _parts() -> Any:
  """Returns the template's macros."""
  template = read_template(
    Path(__file__).with_name("parts.html"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  return template.module
