"""The gallery as one HTML page, with all its pictures in itself."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from rn_jax.host.templates import read_template
from rn_jax.retrieval.pages.gallery_sheets import Sheet, Tile

_QUALITY = 85
_HIT = "✓"


def html_page(
  sheets: Sequence[Sheet], pictures: Mapping[int, Image.Image]
) -> str:
  """Returns the page, which has no script: the browser enlarges and closes.

  Args:
    sheets: A section each.
    pictures: By the numbers in the sheets. Each is in the page once, however
      often it is shown.
  """
  names = {sheet.image: sheet.name for sheet in sheets} | {
    tile.image: tile.name
    for sheet in sheets
    for row in sheet.rows
    for tile in row.tiles
  }
  template = read_template(
    Path(__file__).with_name("gallery.html"),
    autoescape=True,
    keep_trailing_newline=True,
  )
  return template.render(
    sheets=sheets,
    pictures={
      number: _encode(pictures[number]) | {"name": name}
      for number, name in names.items()
    },
    legend=legend(sheets),
    caption=caption,
  )


def legend(sheets: Sequence[Sheet]) -> str:
  """Returns the sentence that explains what is shown."""
  text = "Under each picture: rank and distance to the query."
  hits = any(t.hit for s in sheets for row in s.rows for t in row.tiles)
  if hits:
    text += f" {_HIT} and a frame: among the nearest by the ground truth, too."
  return text


def caption(rank: int, tile: Tile) -> str:
  """Returns what stands under a picture; a hit has a mark of its own."""
  text = f"{rank} · {f'{tile.distance:#.3g}'.removesuffix('.')}"
  return f"{_HIT} {text}" if tile.hit else text


def _encode(picture: Image.Image) -> dict:
  content = io.BytesIO()
  picture.save(content, "jpeg", quality=_QUALITY)
  jpeg = base64.b64encode(content.getvalue()).decode()
  return {"width": picture.width, "height": picture.height, "jpeg": jpeg}
