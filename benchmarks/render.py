"""How fast scenes are drawn.

    python -m benchmarks.render [--scenes=32] [--sizes=128x128,480x320] ...

Draws generated scenes that obey CLEVR's visibility rule. Images a second are by
the clock, CPU seconds over all threads, compiling aside. Rays: from the camera,
reflected by metal (a mirror ray and two rough ones a sample; those that meet
metal once more are not counted), and towards the four lamps from where either
kind ends. GFLOP is an upper bound for these rays: it counts as if every ray
tried every object of its scene, and what XLA counts for a try and for shading.

--sheet=FILE draws some of the scenes side by side, to look at.
"""

import resource
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from PIL import Image

from benchmarks import timing
from data_prep.generation.scenes import sample_scene
from data_prep.rendering import film, geometry, ground, picture, shade, trace
from data_prep.rendering.engine import render, stage_of
from data_prep.rendering.visibility_rule import shows_every_object
from rn_jax.clevr import MIN_VISIBLE_PIXELS
from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.host.progress import progress_bar

_RAYS_OF_METAL = 3
_SHEET = (240, 160, 4, 3)  # width, height, columns, rows
_LANES = 4096


def run(scenes: int, sizes: list[str], seed: int, sheet: str | None) -> list:
  """Prints and returns the table; for the arguments see the flags below."""
  drawn = [
    sample_scene(
      seed,
      "val",
      index,
      accept=lambda scene: shows_every_object(scene, MIN_VISIBLE_PIXELS),
    )
    for index in range(scenes)
  ]
  rows = []
  for size in sizes:
    width, height = map(int, size.split("x"))
    started = time.perf_counter()
    render(drawn[:1], width, height)
    first = time.perf_counter() - started
    before, started = _cpu_seconds(), time.perf_counter()
    render(drawn, width, height)
    wall = time.perf_counter() - started
    cpu = _cpu_seconds() - before
    camera, metal, lamps, flops = _work(drawn, width, height)
    rows.append(
      (size, scenes / wall, cpu / scenes, camera, metal, lamps, flops, first)
    )
  timing.print_table(
    (
      "size",
      "images/s",
      "CPU s an image",
      "camera rays",
      "reflected",
      "to lamps",
      "GFLOP, at most",
      "first call s",
    ),
    rows,
  )
  if sheet:
    _draw_sheet(drawn, sheet)
  return rows


def _cpu_seconds() -> float:
  usage = resource.getrusage(resource.RUSAGE_SELF)
  return usage.ru_utime + usage.ru_stime


def _work(scenes: list[dict], width: int, height: int) -> tuple:
  """Mean rays of an image, of three kinds, and GFLOP."""
  rows, columns = film.SAMPLES * height, film.SAMPLES * width

  def count(stage):
    index = picture.index_picture(stage, columns, rows, picture.SMALL_TILES)
    metal = shade.is_metal(stage, index).sum()
    return metal, (index < trace.NOTHING).sum()

  count = jax.jit(count)
  per_try, per_hit = _flops_per_lane()
  totals = []
  for scene in progress_bar(scenes, desc="counting rays", leave=False):
    stage = stage_of(scene)
    metal, surfaces = map(int, count(stage))
    reflected = _RAYS_OF_METAL * metal
    lamps = trace.NUM_LAMPS * (surfaces + reflected)
    kinds = np.asarray(stage.objects.shape)[: int(stage.count)]
    tries = (rows * columns + reflected + lamps) * sum(
      per_try[k] for k in kinds
    )
    flops = tries + (rows * columns + reflected) * per_hit
    totals.append((rows * columns, reflected, lamps, flops / 1e9))
  camera, reflected, lamps, flops = np.mean(totals, 0)
  return round(camera), round(reflected), round(lamps), float(flops)


def _flops_per_lane() -> tuple[list[float], float]:
  """Of trying each shape, and of all that is done once for a ray's end."""

  def flops(function):
    ray = (jnp.ones(_LANES),) * 3
    compiled = jax.jit(function).lower(ray, ray).compile()
    return compiled.cost_analysis()["flops"] / _LANES

  tries = [flops(lambda o, d, f=f: f(o, d, jnp)) for f in geometry.ENTER]

  def end(origin, direction):
    return ground.enter(origin, direction), ground.slope(direction)

  stage = jax.tree.map(jnp.asarray, stage_of(_ONE))

  def light(point, normal):
    index = jnp.zeros(_LANES, jnp.int32)
    hit = trace.Hits(index, point[0], point, normal, point, normal)
    return shade.matte(stage, hit, jnp.zeros((trace.NUM_LAMPS, _LANES), bool))

  # XLA counts a loop once: that over the lamps is the larger part of it.
  return tries, flops(end) + trace.NUM_LAMPS * flops(light)


_ONE = sample_scene(0, "val", 0)


def _draw_sheet(scenes: list[dict], path: str) -> None:
  width, height, columns, rows = _SHEET
  pictures = render(scenes[: columns * rows], 2 * width, 2 * height)
  sheet = Image.new("RGB", (width * columns, height * rows))
  for i, pixels in enumerate(pictures):
    small = Image.fromarray(pixels).resize((width, height))
    sheet.paste(small, (width * (i % columns), height * (i // columns)))
  with replacing(path) as temporary:
    sheet.save(temporary, format="PNG", optimize=True)


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_integer("scenes", 32, "How many scenes.", lower_bound=1),
      flags.DEFINE_list("sizes", ["128x128", "480x320"], "Sizes of images."),
      flags.DEFINE_integer("seed", 0, "Of the scenes."),
      cli.path_flag("sheet", None, "PNG file of some of the scenes."),
    ],
  )
