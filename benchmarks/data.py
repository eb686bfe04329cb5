"""How fast data are generated and converted; for the rest see input.py.

    python -m benchmarks.data [--scenes=2000] [--workers=2] ...

Works in a temporary folder on generated scenes. Their images are noise of
CLEVR's size, in pixels and about in bytes. "times as fast" compares with the
first line of each stage.
"""

import json
import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from benchmarks import timing
from data_prep.convert_clevr import convert
from data_prep.generate import generate
from data_prep.generation.job import Job


def draw_images(folder: Path, scenes: int) -> None:
  """Writes images; a faint noise on a ramp makes some 90 kB each."""
  folder.mkdir(parents=True)
  ramp = np.linspace(90, 140, 480)[None, :, None] * np.ones((320, 1, 3))
  rng = np.random.default_rng(0)
  for index in range(scenes):
    pixels = ramp + rng.normal(0, 1.1, (320, 480, 1))
    name = f"CLEVR_train_{index:06d}.png"
    Image.fromarray(pixels.astype(np.uint8)).save(folder / name)


def run(scenes: int, workers: int, repeats: int) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below."""
  rows = []

  def compare(stage, variants, num_scenes, num_questions):
    seconds = timing.measure(variants, repeats, stage, 0.0)
    for variant, speed in timing.speeds(seconds, num_scenes).items():
      _, rate, ratio = speed
      asked = rate * num_questions / num_scenes
      rows.append((stage, variant, rate, asked, ratio))

  with tempfile.TemporaryDirectory() as root:

    def new() -> Path:
      return Path(tempfile.mkdtemp(dir=root))

    def processes(function):
      """Variants: alone and with all workers."""
      return {
        f"{n} process" + "es" * (n > 1): partial(function, n)
        for n in sorted({1, workers})
      }

    job = Job("train", scenes)
    clevr = generate(new(), job, workers=workers)
    draw_images(clevr / "images" / "train", scenes)
    asked = json.loads(
      (clevr / "questions" / "CLEVR_train_questions.json").read_text()
    )
    size = scenes, len(asked["questions"])

    alone_and_all = processes(lambda n: generate(new(), job, workers=n))
    compare("generate", alone_and_all, *size)
    for inputs, images in (("states", "no"), ("pixels", "yes")):
      options = {"num_shards": workers, "images": images}
      alone_and_all = processes(
        lambda n, options=options: convert(clevr, new(), workers=n, **options)
      )
      compare(f"convert {inputs}", alone_and_all, *size)
  print(f"{size[0]} scenes, {size[1]} questions\n")
  header = "stage", "variant", "scenes/s", "questions/s", "times as fast"
  timing.print_table(header, rows)
  return rows


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_integer("scenes", 2000, "Scenes to make."),
      flags.DEFINE_integer("workers", os.cpu_count(), "Processes."),
      flags.DEFINE_integer("repeats", 3, "Rounds of measuring."),
    ],
  )
