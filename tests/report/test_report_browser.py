"""The page in a browser: nothing sticks out, light or dark, and all unfolds."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.figure import Figure

from rn_jax.report.blocks import (
  Gallery,
  Mistake,
  Mistakes,
  Picture,
  Report,
  Section,
  Table,
  Text,
)
from rn_jax.report.pages import html_page

_BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
_LOOK = """<iframe width="{width}" height="700" src="report.html"></iframe>
<script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  const view = document.querySelector("iframe").contentWindow;
  const fold = page.querySelector("details");
  const folded = fold.querySelector("svg").checkVisibility();
  fold.querySelector("summary").click();
  const opened = fold.querySelector("svg").checkVisibility();
  const color = (element, what) =>
    view.getComputedStyle(element)[what].match(/\\d+/g).slice(0, 3).join("-");
  const line = page.querySelector("svg [style*=stroke-width]");
  document.body.textContent = `wide ${{page.documentElement.scrollWidth}} ` +
    `folded ${{folded}} opened ${{opened}} ` +
    `paper ${{color(page.body, "backgroundColor")}} ` +
    `ink ${{color(page.body, "color")}} line ${{color(line, "stroke")}}`;
}};
</script>"""


def drawing():
  figure = Figure((5, 3))
  axes = figure.add_axes((0, 0, 1, 1))
  axes.plot([0, 1], color="#222222")
  axes.set_axis_off()
  return figure


def page():
  long = "a_folder_of_a_long_name/and-another_one-500000"
  picture = Picture("a", f"Curves of {long}", drawing())
  wide = Picture("b", "Confusion", drawing(), wide=True)
  scene = Picture("c", f"{long}.png", np.zeros((8, 8, 3), np.uint8))
  mistake = Mistake(scene, "How many? " * 9, "1", "2", "99.9 %", f"{long}/3")
  table = Table("Figures", ["run", *[long] * 9], [[long, *["12.3"] * 9]])
  words = Table("Words", ["run", "text"], [[long, "text " * 30]], ["text"])
  blocks = [Text(long), table, words, picture, Gallery([picture] * 3)]
  sections = [
    Section("All", [*blocks, Mistakes([mistake] * 5)]),
    Section(long, [wide], folded=True),
  ]
  return html_page(Report("1 < 2", f"About {long}.", sections))


@pytest.mark.skipif(_BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize(
  ("width", "dark"), [(420, False), (420, True), (1280, False)]
)
def test_a_browser_shows_all(tmp_path, width, dark):
  (tmp_path / "report.html").write_text(page())
  file = tmp_path / "look.html"
  file.write_text(_LOOK.format(width=width))
  done = subprocess.run(
    [
      *(_BROWSER, "--headless", "--no-sandbox", "--disable-gpu"),
      "--allow-file-access-from-files",
      *(["--blink-settings=preferredColorScheme=0"] if dark else []),
      *(f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()),
    ],
    capture_output=True,
    text=True,
    timeout=60,
  )
  found = re.search(
    r"wide (\d+) folded (\w+) opened (\w+) "
    r"paper ([\d-]+) ink ([\d-]+) line ([\d-]+)",
    done.stdout,
  )
  assert found, done.stderr
  assert int(found[1]) <= width
  assert found.groups()[1:3] == ("false", "true")
  paper, ink = (
    ("22-22-22", "230-230-230")
    if dark
    else (
      "255-255-255",
      "34-34-34",
    )
  )
  # The lines of figures have the ink of the text.
  assert found.groups()[3:] == (paper, ink, ink)
