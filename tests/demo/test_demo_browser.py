"""The demonstration in a browser: it answers, fits, and stays at home."""

import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from places import ROOT

pytest.importorskip("gradio", exc_type=ImportError)
playwright = pytest.importorskip("playwright.sync_api")

_BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(_BROWSER is None, reason="needs Chromium")

# The command, which writes down what it looks up and connects to.
_COMMAND = """
import runpy, sys
told = open(sys.argv.pop(1), "a", buffering=1)
def hook(event, values):
  if event in ("socket.connect", "socket.getaddrinfo"):
    place = values[1] if event == "socket.connect" else values[:1]
    print(place[0] if isinstance(place, tuple) else place, file=told)
sys.addaudithook(hook)
runpy.run_module("rn_jax.demo", run_name="__main__", alter_sys=True)
"""
_SHAPE = "There is a big metal thing that is left of the cyan metal sphere; "
_SHAPE += "what is its shape?"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
  """(address, file of the places that the server connected to)."""
  told = tmp_path_factory.mktemp("server") / "connections"
  with subprocess.Popen(
    [sys.executable, "-c", _COMMAND, str(told)],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    line = process.stdout.readline()
    found = re.fullmatch(r"The page is at (http://127\.0\.0\.1:\d+/)\n", line)
    assert found, line
    yield found[1], told
    process.send_signal(signal.SIGINT)
    assert process.wait(20) is not None


@pytest.fixture(scope="module")
def browser():
  with playwright.sync_playwright() as started:
    yield started.chromium.launch(
      executable_path=_BROWSER, args=["--no-sandbox", "--disable-gpu"]
    )


@pytest.fixture
def visit(server, browser):
  """visit(width, scheme): the page; afterwards, what it asked for and said."""
  address, _ = server
  outside, errors, contexts = [], [], []

  def watch(request):
    if not request.url.startswith((address, "data:", "blob:")):
      outside.append(request.url)

  def visit(width=1280, scheme="light"):
    context = browser.new_context(
      viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    contexts.append(context)
    page = context.new_page()
    page.on("request", watch)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector(".rn-answers", timeout=60_000)
    return page

  yield visit
  for context in contexts:
    context.close()
  assert not outside
  assert not errors


@pytest.mark.parametrize("width", [420, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_with_an_answer_and_fits(visit, width, scheme):
  page = visit(width, scheme)
  assert "That is right" in page.inner_text("#said")
  page.get_by_text(_SHAPE).click()
  page.wait_for_selector(f".rn-asked >> text={_SHAPE}")
  assert page.locator(".rn-answers th").first.inner_text() == "cube"
  assert page.locator("#question textarea").input_value() == _SHAPE
  assert page.evaluate("document.documentElement.scrollWidth") <= width
  # Ink stands out from the paper, as WCAG's AA asks.
  ink, paper = (
    [int(x) for x in re.findall(r"\d+", page.evaluate(of))[:3]]
    for of in (
      "getComputedStyle(document.querySelector('.rn-soft')).color",
      "getComputedStyle(document.body).backgroundColor",
    )
  )
  lighter, darker = sorted(map(_luminance, (ink, paper)), reverse=True)
  assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def _luminance(color):
  linear = [
    c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
    for c in (x / 255 for x in color)
  ]
  return sum(
    w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
  )


def test_questions_of_ones_own_and_other_networks(visit):
  page = visit()
  box = page.locator("#question textarea")
  box.fill("how many Red things are there?")
  box.press("Enter")
  page.wait_for_selector(".rn-asked >> text=how many Red things")
  assert "That is right" in page.inner_text("#said")
  page.get_by_label("found_fp").click()
  page.wait_for_selector(".rn-said")
  box.fill("<img src=x onerror=alert(1)> zebras")
  page.get_by_role("button", name="Ask").click()
  page.wait_for_selector("#said .rn-error")
  said = page.inner_text("#said").strip()
  assert said.startswith("the network does not know '<img'")
  assert "\n" not in said


def _upload(page, name, content):
  with page.expect_file_chooser() as chooser:
    page.get_by_role("button", name="Upload").click()
  chooser.value.set_files(
    [{"name": name, "mimeType": "application/octet-stream", "buffer": content}]
  )


def test_uploads(visit):
  page = visit()
  _upload(page, "notes.txt", b"not a picture")
  page.wait_for_selector("#said .rn-error")
  said = page.inner_text("#said").strip()
  assert said.startswith("notes.txt: not a readable image")
  assert "/" not in said
  _upload(page, "mine.png", (ROOT / "examples/scene.png").read_bytes())
  page.wait_for_selector("figcaption >> text=mine.png", timeout=60_000)
  assert page.get_by_label("found_fp").is_checked()
  assert "nobody described this picture" in page.inner_text("#said")
  scene = json.loads((ROOT / "examples/scene.json").read_text())
  objects = [{**x, "rotation": None} for x in scene["objects"]]  # not drawn
  _upload(page, "mine.json", json.dumps({"objects": objects}).encode())
  page.wait_for_selector("figcaption >> text=mine.json", timeout=60_000)
  assert page.get_by_label("original_sd").is_checked()
  assert "How the right answer is found" in page.inner_text("#said")


def test_a_new_scene(visit):
  page = visit()
  page.get_by_role("button", name="New scene").click()
  page.wait_for_selector("figcaption >> text=made here", timeout=300_000)
  assert "How the right answer is found" in page.inner_text("#said")
  assert page.locator("#suggestions label").count() == 6


def test_nothing_of_the_server_can_be_fetched(server):
  address, _ = server
  for file in ("setup.py", str(ROOT / "setup.py"), "/etc/passwd"):
    with pytest.raises(urllib.error.HTTPError, match="403"):
      urllib.request.urlopen(f"{address}gradio_api/file={file}")
  config = urllib.request.urlopen(f"{address}config").read().decode()
  assert str(ROOT) not in config
  assert json.loads(config)["analytics_enabled"] is False
  api = urllib.request.urlopen(f"{address}gradio_api/info").read()
  assert json.loads(api) == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_the_server_connects_to_nothing_but_itself(server):
  _, told = server
  places = set(told.read_text().split())
  assert places  # it asks itself whether it is there
  assert places <= {"127.0.0.1", "localhost", "::1", "0.0.0.0"}, places
