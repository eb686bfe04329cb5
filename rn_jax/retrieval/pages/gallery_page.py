"""The gallery as one HTML page, with all its pictures in itself."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from PIL import Image

from rn_jax.retrieval.pages.gallery_sheets import Sheet

# Shown at half of it, for screens of high resolution.
_WIDTH = 240
_QUALITY = 85


def html_page(
  sheets: Sequence[Sheet], pictures: Mapping[int, Image.Image]
) -> str:
  """Returns the page.

  Args:
    sheets: A section each.
    pictures: By the numbers in the sheets. Each is in the page once, however
      often it is shown.
  """
  template = jinja2.Template(
    Path(__file__).with_name("gallery.html").read_text(encoding="utf-8"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
  )
  return template.render(
    sheets=sheets,
    pictures={number: _encode(image) for number, image in pictures.items()},
    legend=legend(sheets),
    caption=caption,
  )


def legend(sheets: Sequence[Sheet]) -> str:
  """Returns the sentence that explains what is shown."""
  text = "Under each picture: rank and distance to the query on the left."
  hits = any(t.hit for s in sheets for row in s.rows for t in row.tiles)
  if hits:
    text += " Green: among the nearest by the ground truth, too."
  return text


def caption(rank: int, distance: float) -> str:
  """Returns what stands under a picture."""
  return f"{rank} · {f'{distance:#.3g}'.removesuffix('.')}"


def _encode(picture: Image.Image) -> dict:
  width = min(_WIDTH, picture.width)
  height = round(picture.height * width / picture.width)
  content = io.BytesIO()
  picture.resize((width, height), Image.Resampling.LANCZOS).save(
    content, "jpeg", quality=_QUALITY
  )
  jpeg = base64.b64encode(content.getvalue()).decode()
  return {"width": width, "height": height, "jpeg": jpeg}
