"""What one asks about: the example, a scene made anew, or an upload."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import rn_jax
from rn_jax.clevr import HEIGHT, MAX_OBJECTS, WIDTH
from rn_jax.data.images import ImageError, opened, read_image, to_rgb
from rn_jax.data.states import read_objects

EXAMPLES = Path(rn_jax.__file__).parents[1] / "examples"
# Of uploads. Pictures are kept for an hour, so they are made smaller; networks
# read less of them.
MAX_BYTES = 10 * 2**20
MAX_PIXELS = 20_000_000
_KEPT = (4 * WIDTH, 4 * WIDTH)
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_SHOWN = (2 * WIDTH, 2 * HEIGHT)
# For pictures of which nothing is known.
_ALWAYS = (
  "How many cubes are there?",
  "Are there any red things?",
  "Are there more spheres than cubes?",
  "How many large metal things are there?",
)


class SceneTools(NamedTuple):
  """What is known of making scenes; from data_prep, which brings its own.

  Attributes:
    make: A scene in CLEVR's JSON, by a seed.
    complete: Adds relations to a scene that has objects.
    draw: Its picture, [H, W, 3] uint8; ValueError: it cannot be drawn.
    suggest: Questions about it, by a seed.
    right_answer: (scene, question) -> the answer and the steps to it, what
      each does and what it finds; None: it is not known.
  """

  make: Callable[[int], dict]
  complete: Callable[[Mapping], dict]
  draw: Callable[[dict], np.ndarray]
  suggest: Callable[[dict, int], list[str]]
  right_answer: Callable[
    [dict, str], tuple[str, Sequence[tuple[str, str]]] | None
  ]


class Subject(NamedTuple):
  """What is asked about.

  Attributes:
    title: For people.
    scene: In CLEVR's JSON; None: it is not known.
    picture: RGB of any size; None: there is none.
    questions: To suggest.
  """

  title: str
  scene: dict | None
  picture: Image.Image | None
  questions: tuple[str, ...]

  def of_kind(self, inputs: str) -> dict | Image.Image | None:
    """Returns what a network reads of it, by its config.model.inputs."""
    return self.picture if inputs == "pixels" else self.scene


def example() -> Subject:
  """Returns the project's own example."""
  scene = json.loads((EXAMPLES / "scene.json").read_text())
  picture = Image.fromarray(read_image(EXAMPLES / "scene.png"))
  questions = json.loads((EXAMPLES / "questions.json").read_text())
  return Subject("The example", scene, picture, tuple(questions))


def made(tools: SceneTools, seed: int) -> Subject:
  """Returns a scene made anew; every seed gives another."""
  scene = tools.make(seed)
  picture = Image.fromarray(tools.draw(scene))
  questions = tuple(tools.suggest(scene, seed))
  return Subject(f"Scene {seed}, made here", scene, picture, questions)


def uploaded(tools: SceneTools, content: bytes, name: str) -> Subject:
  """Reads a picture, or one scene in CLEVR's JSON.

  Nothing of it is trusted: sizes are limited, of the many formats only some of
  pictures are tried, and nothing is run or unpickled.

  Args:
    tools: For scenes.
    content: Of the file.
    name: Of the file, for people; it is not opened.

  Raises:
    ValueError: It is too large, or neither of the two; the message names it.
  """
  name = Path(name).name[-60:]
  if len(content) > MAX_BYTES:
    raise ValueError(
      f"{name}: has {len(content) / 2**20:.1f} MB; at most "
      f"{MAX_BYTES // 2**20} are read"
    )
  if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
    return _uploaded_scene(tools, content, name)
  with opened(content, name, _FORMATS) as image:
    width, height = image.size
    if width * height > MAX_PIXELS:
      raise ImageError(
        f"{name}: has {width}x{height} pixels; at most "
        f"{MAX_PIXELS // 10**6} million are read"
      )
    picture = to_rgb(image, 0)
    picture.thumbnail(_KEPT)
    return Subject(name, None, picture, _ALWAYS)


def shown(picture: Image.Image) -> Image.Image:
  """Returns a picture no larger than it is shown."""
  if picture.width <= _SHOWN[0] and picture.height <= _SHOWN[1]:
    return picture
  return picture.resize(_SHOWN, Image.Resampling.LANCZOS)


def _uploaded_scene(tools: SceneTools, content: bytes, name: str) -> Subject:
  try:
    scene = json.loads(content.decode("utf-8-sig"))
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{name}: not a picture, and no JSON ({error})") from None
  if isinstance(scene, Mapping) and "scenes" in scene:
    raise ValueError(
      f"{name}: holds a list of scenes; upload a file with one of them"
    )
  try:
    read_objects(scene, MAX_OBJECTS)
    scene = tools.complete(scene)
  except ValueError as error:
    raise ValueError(f"{name}: {error}") from error
  try:
    picture = Image.fromarray(tools.draw(scene))
  except ValueError:  # Networks on states need none.
    picture = None
  return Subject(name, scene, picture, tuple(tools.suggest(scene, 0)))
