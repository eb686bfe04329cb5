"""A report as one page of HTML with all in itself, and as Markdown."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from PIL import Image

from rn_jax.host.atomic import replacing
from rn_jax.host.templates import read_template
from rn_jax.report import vector
from rn_jax.report.blocks import Picture, Report

_PICTURES = "pictures"  # the folder beside report.md


def write_report(report: Report, output: Path) -> list[Path]:
  """Writes report.html, report.md and the latter's pictures.

  Args:
    report: The report.
    output: Folder to make; of an older report its files are replaced.

  Returns:
    The two pages.
  """
  (output / _PICTURES).mkdir(parents=True, exist_ok=True)
  files = {}
  for picture in report.pictures():
    if isinstance(picture.content, Figure):
      files[f"{picture.name}.svg"] = vector.svg_file(picture.content).encode()
    else:
      files[f"{picture.name}.jpg"] = _jpeg(picture.content)
  pages = {"report.html": html_page(report), "report.md": markdown(report)}
  for name, content in files.items():
    with replacing(output / _PICTURES / name) as temporary:
      temporary.write_bytes(content)
  for name, text in pages.items():
    with replacing(output / name) as temporary:
      temporary.write_text(text, encoding="utf-8")
  return [output / name for name in pages]


def html_page(report: Report) -> str:
  """Returns the page, which asks for nothing else and has no script."""
  return _template("page.html", autoescape=True).render(
    report=report,
    colors=vector.COLORS.values(),
    draw=_element,
    breakable=_breakable,
    width=lambda p: (
      vector.natural_width(p.content) if isinstance(p.content, Figure) else 320
    ),
  )


def markdown(report: Report) -> str:
  """Returns the twin in GitHub's Markdown, with pictures in files beside it."""
  return _template("page.md", finalize=_escape).render(
    report=report,
    file=lambda p: (
      f"{_PICTURES}/{p.name}"
      + (".svg" if isinstance(p.content, Figure) else ".jpg")
    ),
  )


def _template(name: str, **options: Any) -> jinja2.Template:
  return read_template(
    Path(__file__).with_name(name),
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
    **options,
  )


def _escape(text: object) -> object:
  """Takes their meaning from the characters that have one in Markdown."""
  if not isinstance(text, str):
    return text
  return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", text)


def _breakable(text: str) -> Markup:
  """Lets names of runs and settings end a line behind a part of them."""
  return Markup(re.sub(r"([_./-])(?=[^\W\d])", r"\1<wbr>", str(escape(text))))


def _element(picture: Picture, number: int) -> Markup:
  label = picture.title
  if isinstance(picture.content, Figure):
    return Markup(
      vector.svg_in_page(
        picture.content, f"p{number}", label, themed=not picture.scene
      )
    )
  data = base64.b64encode(_jpeg(picture.content)).decode()
  return Markup('<img alt="{}" src="data:image/jpeg;base64,{}">').format(
    label, Markup(data)
  )


def _jpeg(pixels: np.ndarray) -> bytes:
  """Encodes pixels, made as wide as CLEVR's pictures are."""
  picture = Image.fromarray(np.asarray(pixels))
  height = picture.height
  content = io.BytesIO()
  picture.resize((round(1.5 * height), height), Image.Resampling.LANCZOS).save(
    content, "jpeg", quality=90
  )
  return content.getvalue()
