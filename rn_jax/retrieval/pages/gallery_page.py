"""The gallery as one HTML page, with all its pictures in itself."""

import base64
import html
import io
from collections.abc import Mapping, Sequence

from PIL import Image

from rn_jax.retrieval.pages.gallery_sheets import Row, Sheet

# Shown at half of it, for screens of high resolution.
_WIDTH = 240
_QUALITY = 85
_STYLE = """
:root { color-scheme: light; }
body { margin: 2rem; font: 14px/1.4 system-ui, sans-serif; color: #222;
  background: #fff; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; }
p { margin: 0 0 1.5rem; color: #555; }
section { display: flex; gap: 1.5rem; align-items: flex-start;
  padding: 1rem 0; border-top: 1px solid #ddd; break-inside: avoid; }
figure { margin: 0; }
figcaption { font-size: 12px; color: #555; padding-top: 2px;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.query { flex: 0 0 190px; }
.query .picture { width: 190px; }
.results { display: grid; gap: .6rem; min-width: 0; }
.row { display: grid; grid-template-columns: 110px 1fr; gap: .8rem; }
.row h2 { font-size: 13px; font-weight: 600; margin: .3rem 0 0; }
.tiles { display: flex; flex-wrap: wrap; gap: 6px; }
.tiles figure { width: 96px; }
.picture { background-size: cover; border-radius: 3px;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.hit .picture { outline: 3px solid #12a150; outline-offset: -1px; }
.hit figcaption { color: #0b6b35; font-weight: 600; }
"""


def html_page(
  sheets: Sequence[Sheet], pictures: Mapping[int, Image.Image]
) -> str:
  """Returns the page.

  Args:
    sheets: A section each.
    pictures: By the numbers in the sheets. Each is in the page once, however
      often it is shown.
  """
  sections = "\n".join(map(_section, sheets))
  return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Image retrieval</title>
<style>{_STYLE}{"".join(_rule(n, p) for n, p in pictures.items())}</style>
</head>
<body>
<h1>Image retrieval</h1>
<p>{html.escape(legend(sheets))}</p>
{sections}
</body>
</html>
"""


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


def _rule(number: int, picture: Image.Image) -> str:
  """Returns the CSS class of a picture."""
  width = min(_WIDTH, picture.width)
  height = round(picture.height * width / picture.width)
  content = io.BytesIO()
  picture.resize((width, height), Image.Resampling.LANCZOS).save(
    content, "jpeg", quality=_QUALITY
  )
  data = base64.b64encode(content.getvalue()).decode()
  return (
    f".p{number} {{ aspect-ratio: {width} / {height}; "
    f"background-image: url(data:image/jpeg;base64,{data}); }}\n"
  )


def _section(sheet: Sheet) -> str:
  rows = "\n".join(map(_row, sheet.rows))
  return f"""<section>
<figure class="query">{_picture(sheet.image, sheet.name)}
<figcaption>query {sheet.image_index}: {html.escape(sheet.name)}</figcaption>
</figure>
<div class="results">
{rows}
</div>
</section>"""


def _row(row: Row) -> str:
  tiles = "".join(
    f"<figure{' class=hit' if tile.hit else ''}>"
    f"{_picture(tile.image, tile.name)}"
    f"<figcaption>{caption(rank, tile.distance)}</figcaption></figure>"
    for rank, tile in enumerate(row.tiles, start=1)
  )
  return (
    f'<div class="row"><h2>{html.escape(row.label)}</h2>'
    f'<div class="tiles">{tiles}</div></div>'
  )


def _picture(number: int, name: str) -> str:
  name = html.escape(name, quote=True)
  return (
    f'<div class="picture p{number}" role="img" aria-label="{name}" '
    f'title="{name}"></div>'
  )
