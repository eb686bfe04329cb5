"""Figures as SVG: files of their own, and parts of a page, light or dark."""

import io
import re

import matplotlib
from matplotlib.figure import Figure

# What the colours of rn_jax.plots are in a page: a variable of its style sheet
# each, with its value on light paper and on dark.
COLORS = {
  "#000000": ("--frame", "#222222", "#e6e6e6"),
  "#222222": ("--ink", "#222222", "#e6e6e6"),
  "#757575": ("--soft", "#666666", "#a8a8a8"),
  "#d9d9d9": ("--faint", "#d9d9d9", "#3a3a3a"),
  "#eeeeee": ("--empty", "#eeeeee", "#262626"),
  "#0072b2": ("--blue", "#0072b2", "#4aa8e0"),
  "#e69f00": ("--orange", "#e69f00", "#f0b22e"),
  "#cc79a7": ("--pink", "#cc79a7", "#dd92bb"),
  "#009e73": ("--green", "#009e73", "#22bd92"),
  "#56b4e9": ("--sky", "#56b4e9", "#7cc6f0"),
  "#d55e00": ("--red", "#d55e00", "#f07f2a"),
}
_IDS = re.compile(r'(?:\bid="|href="#|url\(#)([^")]+)')


def svg_file(figure: Figure) -> str:
  """Returns a figure as a file, on paper of its own."""
  text = io.StringIO()
  # The same figure gives the same bytes.
  with matplotlib.rc_context({"svg.hashsalt": "rn_jax"}):
    figure.savefig(text, format="svg", metadata={"Date": None})
  return text.getvalue()


def svg_in_page(
  figure: Figure, name: str, label: str, themed: bool = True
) -> str:
  """Returns a figure as an element of a page.

  Args:
    figure: The figure.
    name: Makes its identifiers different from those of the page's others.
    label: What is said in place of it to those who do not see.
    themed: Whether it takes on the page's colours, on no paper of its own.
  """
  text = io.StringIO()
  with matplotlib.rc_context({"svg.hashsalt": "rn_jax"}):
    figure.savefig(
      text, format="svg", metadata={"Date": None}, transparent=themed
    )
  content = text.getvalue()
  content = content[content.index("<svg") :]
  content = re.sub(r"<metadata>.*?</metadata>\s*", "", content, flags=re.S)
  # Identifiers that nothing refers to are only there for editors.
  used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', content))
  content = re.sub(
    r' id="([^"]+)"',
    lambda found: found[0] if found[1] in used else "",
    content,
  )
  content = _IDS.sub(
    lambda found: found[0].replace(found[1], f"{name}-{found[1]}"), content
  )
  if themed:
    content = re.sub(
      r"#[0-9a-f]{6}\b",
      lambda found: (
        f"var({COLORS[found[0]][0]})" if found[0] in COLORS else found[0]
      ),
      content,
    )
  # As wide as the page has it, and read aloud as one picture.
  head, rest = content.split(">", 1)
  box = re.search(r'viewBox="[^"]+"', head)
  assert box is not None
  label = label.replace("&", "&amp;").replace('"', "&quot;")
  label = label.replace("<", "&lt;")
  return (
    f'<svg {box[0]} role="img" aria-label="{label}" '
    f'xmlns:xlink="http://www.w3.org/1999/xlink">{rest}'
  )


def natural_width(figure: Figure) -> int:
  """Returns the width in pixels of CSS at which its letters are of body size.

  Letters have some 9 points in figures and 14 pixels in the page.
  """
  return round(float(figure.get_figwidth()) * 72 * 1.5)
