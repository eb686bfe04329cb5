"""The gallery in a browser: nothing sticks out, and pictures enlarge."""

import html
import re
import shutil
import subprocess

import pytest
from PIL import Image

from rn_jax.retrieval.pages.gallery_page import html_page
from rn_jax.retrieval.pages.gallery_sheets import Row, Sheet, Tile

_BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
_LOOK = """<iframe width="{width}" height="700" srcdoc="{page}"></iframe>
<script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  const wide = page.documentElement.scrollWidth;
  const open = () => page.querySelectorAll(":popover-open").length;
  const button = page.querySelector("figure button");
  button.focus();
  const focused = page.activeElement === button;
  button.click();
  const opened = open();
  const at_close = page.activeElement.closest(".large") !== null;
  page.activeElement.click();
  document.body.textContent = `wide ${{wide}} focused ` +
    `${{focused && at_close}} opened ${{opened}} left ${{open()}}`;
}};
</script>"""


@pytest.mark.skipif(_BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [420, 1280])
def test_a_browser_shows_all_and_enlarges(tmp_path, width):
  name = "a_folder_of_a_long_name/CLEVR_val_000001.png"
  row = Row("A descriptor, imported", [Tile(1, name, 0.1, True)] * 12)
  page = html_page(
    [Sheet(0, 7, name, [row])], {i: Image.new("RGB", (48, 32)) for i in (0, 1)}
  )
  file = tmp_path / "look.html"
  file.write_text(_LOOK.format(width=width, page=html.escape(page)))
  done = subprocess.run(
    [
      *(_BROWSER, "--headless", "--no-sandbox", "--disable-gpu"),
      *(f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()),
    ],
    capture_output=True,
    text=True,
    timeout=60,
  )
  found = re.search(
    r"wide (\d+) focused (\w+) opened (\d) left (\d)", done.stdout
  )
  assert found, done.stderr
  assert int(found[1]) <= width
  # The focus goes to the button that closes, so Enter does it.
  assert found.groups()[1:] == ("true", "1", "0")
