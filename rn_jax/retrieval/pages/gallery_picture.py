"""The gallery as one picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from rn_jax.retrieval.pages.gallery_page import caption, legend
from rn_jax.retrieval.pages.gallery_sheets import Sheet

# In pixels.
_TILE = 112
_GAP = 8
_TEXT = 16
_LABEL = 108
_MARGIN = 16
_FRAME = 4
_GREEN = (18, 161, 80)
# Legible on light pages and on dark ones, as the picture has no paper.
_INK = (118, 118, 118)


def draw_sheets(
  sheets: Sequence[Sheet], pictures: Mapping[int, Image.Image]
) -> Image.Image:
  """Draws sheets one below the other, on nothing: RGBA.

  Args:
    sheets: A query and its rows each; the rows are of equal length.
    pictures: By the numbers in the sheets, all of the first one's proportion.
  """
  first = next(iter(pictures.values()))
  tile = (_TILE, round(_TILE * first.height / first.width))
  large = (round(1.5 * tile[0]), round(1.5 * tile[1]))
  most = max(len(row.tiles) for sheet in sheets for row in sheet.rows)
  left = _MARGIN + large[0] + 2 * _GAP  # of the labels
  step = (tile[0] + _GAP, tile[1] + _TEXT + _GAP)
  heights = [
    max(len(s.rows) * step[1], large[1] + _TEXT) + 2 * _GAP for s in sheets
  ]
  width = left + _LABEL + most * step[0] + _MARGIN
  size = (width, sum(heights) + 2 * _MARGIN + _TEXT)
  sheet_image = Image.new("RGBA", size, (*_INK, 0))
  draw = ImageDraw.Draw(sheet_image)
  regular, bold = _font("DejaVuSans"), _font("DejaVuSans-Bold")
  draw.text((_MARGIN, _MARGIN - 4), legend(sheets), _INK, regular)
  top = _MARGIN + _TEXT
  for sheet, height in zip(sheets, heights, strict=True):
    draw.line((_MARGIN, top, width - _MARGIN, top), (*_INK, 110))
    y = top + _GAP
    sheet_image.paste(_fit(pictures[sheet.image], large), (_MARGIN, y))
    label = f"query {sheet.image_index}"
    draw.text((_MARGIN, y + large[1] + 2), label, _INK, bold)
    for row in sheet.rows:
      for line, text in enumerate(_lines(row.label, bold)):
        draw.text((left, y + 4 + line * _TEXT), text, _INK, bold)
      for rank, result in enumerate(row.tiles, start=1):
        x = left + _LABEL + (rank - 1) * step[0]
        sheet_image.paste(_fit(pictures[result.image], tile), (x, y))
        if result.hit:
          corner = (x + tile[0] - 1, y + tile[1] - 1)
          draw.rectangle((x, y, *corner), outline=_GREEN, width=_FRAME)
        font = bold if result.hit else regular
        text = caption(rank, result)
        draw.text((x, y + tile[1] + 1), text, _INK, font)
      y += step[1]
    top += height
  return sheet_image


def _font(name: str) -> ImageFont.FreeTypeFont:
  folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
  return ImageFont.truetype(str(folder / f"{name}.ttf"), 11)


def _fit(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
  return picture.resize(size, Image.Resampling.LANCZOS)


def _lines(text: str, font: ImageFont.FreeTypeFont) -> list[str]:
  """Breaks a label into lines that fit beside the tiles."""
  lines = [""]
  for word in text.split():
    longer = f"{lines[-1]} {word}".strip()
    if lines[-1] and font.getlength(longer) > _LABEL - _GAP:
      lines.append(word)
    else:
      lines[-1] = longer
  return lines
