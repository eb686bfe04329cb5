"""The documentation names files, commands and flags that exist."""

import ast
import functools
import re
import shlex

import pytest
from places import ROOT

from configs import common

PAGES = sorted(
  path
  for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "pretrained/**/*.md")
  for path in ROOT.glob(pattern)
)
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:python -m ([\w.]+)|python launch\.py|rn-jax)(.*)")
_ROOMS = "benchmarks|configs|data_prep|docs|examples|rn_jax|tests"


def _names(pages):
  return [str(path.relative_to(ROOT)) for path in pages]


@pytest.fixture(params=PAGES, ids=_names(PAGES))
def page(request):
  return request.param


def _prose(text):
  """The lines of a page outside of code."""
  return re.sub(r"^ {4}.*$", "", _FENCE.sub("", text), flags=re.MULTILINE)


def _anchors(path):
  """GitHub's anchors of a page's headings."""
  headings = re.findall(r"^#+ +(.+)$", _prose(path.read_text()), re.MULTILINE)
  return {
    re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    for heading in headings
  }


def _module_file(module):
  path = ROOT / module.replace(".", "/")
  return path / "__main__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def _flags_of(path):
  """All strings in a file that may be names of flags."""
  return {
    node.value
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
  }


def _commands(text):
  """(module or None for launch.py, its arguments) of each command of a page."""
  for module, rest in _COMMAND.findall(re.sub(r"\\\n\s*", "", text)):
    # Within a line of prose the command ends with its backtick.
    yield module, re.split(r"[`#|]|&&", rest)[0]


def test_links_lead_somewhere(page):
  for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
    if re.match(r"https?:", target):
      continue
    file, _, anchor = target.partition("#")
    path = (page.parent / file).resolve() if file else page
    assert path.exists(), target
    assert not anchor or anchor in _anchors(path), target


def test_paths_exist(page):
  if page.name == "CHANGELOG.md":
    return  # It also tells of what went.
  paths = re.findall(
    rf"(?<![\w/.-])(?:{_ROOMS})/[\w/.*-]*[\w*/]", page.read_text()
  )
  for path in paths:
    assert list(ROOT.glob(path)), path


def test_commands_and_their_flags_exist(page):
  overrides = common.get_config()
  for module, arguments in _commands(page.read_text()):
    if module and not re.match(rf"(?:{_ROOMS})\b", module):
      continue  # pytest, pip
    source = _module_file(module) if module else ROOT / "launch.py"
    assert source.exists(), module
    known = _flags_of(source)
    for flag in re.findall(r"(?<!\S)--([\w.]+)", arguments):
      name, _, key = flag.partition(".")
      assert name in known or name.removeprefix("no") in known, (module, flag)
      if key and key != "KEY":
        value = overrides
        for part in key.split("."):
          assert part in value, flag
          value = value[part]
    for config in re.findall(r"--config=([\w/]+\.py)", arguments):
      assert (ROOT / config).exists(), config


def test_flags_named_in_prose_exist(page):
  if page.name == "CHANGELOG.md":
    return
  known = {"help"}.union(
    *map(_flags_of, ROOT.glob("launch.py")),
    *map(_flags_of, ROOT.glob("data_prep/*.py")),
    *map(_flags_of, ROOT.glob("benchmarks/*.py")),
    *map(_flags_of, ROOT.glob("rn_jax/**/*.py")),
  )
  spans = re.findall(r"`(--[^`]+)`", _prose(page.read_text()))
  for flag in re.findall(r"--([a-z]\w*)", " ".join(spans)):
    assert flag in known, flag


def test_shell_blocks_can_be_parsed(page):
  for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
    for line in block.replace("\\\n", " ").splitlines():
      shlex.split(line, comments=True)


def test_prose_is_wrapped(page):
  for line in _prose(page.read_text()).splitlines():
    if not line.lstrip().startswith(("|", "![", "<")):
      assert len(line) <= 100, line


def test_readme_is_short_and_has_the_two_commands():
  lines = (ROOT / "README.md").read_text().splitlines()
  assert len(lines) <= 150
  assert (
    "pip install -e . && python launch.py --config=configs/quickstart.py "
    "--workdir=/tmp/rn_quickstart"
  ) in lines
  assert "pip install -e '.[test]' && python -m pytest" in lines
