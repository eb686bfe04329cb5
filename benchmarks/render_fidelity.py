r"""How faithful the renderer is to Blender's pictures of CLEVR scenes.

    python -m benchmarks.render_fidelity --gold_dir=DIR [--weights_dir=DIR] \
        [--output_dir=DIR]

Draws the scenes of a CLEVR folder again, 128x128, and compares with its images
resized as the networks read them: once with the lamps where CLEVR's generator
had put them, once with nominal lamps. With the published weights it also
compares the answers, and, as a yardstick, those on the images with a little
noise. Drawn at the images' own size, it counts isolated bright pixels, which no
resized picture shows. Gold images are for measuring, not for fitting.

The generator does not store where its lamps were. The gold images were made
one at a time with known seeds, so its random numbers can be drawn again here.
"""

import json
import random
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import timing
from benchmarks.image_measures import bright_pixels, psnr, ssim
from data_prep.convert_clevr import convert
from data_prep.rendering.engine import render
from data_prep.rendering.lamps import JITTER, POSITIONS
from rn_jax.data.images import read_image
from rn_jax.evaluate import predict_split, score
from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.host.progress import progress_bar
from rn_jax.interop.import_torch import import_torch

_SIZE = 128
_SPLIT = "val"
_BATCH = 16
_NOISE = 0.01  # standard deviation of the control's noise, of [0, 1]
_SEED, _STRIDE = 2024, 10_000_019  # of the gold images: image i has its own
_ROWS = 8  # of a sheet


def replay_lamps(index: int) -> dict[str, list[float]]:
  """Where the generator put the lamps of a gold image."""
  rng = random.Random(_SEED * _STRIDE + index)
  rng.randint(3, 10)  # the number of objects
  [rng.random() for _ in range(3)]  # the camera
  return {
    name: [p + 2 * JITTER * (rng.random() - 0.5) for p in POSITIONS[name]]
    for name in ("key", "back", "fill")
  }


def run(gold_dir: str, weights_dir: str | None, output_dir: str | None) -> dict:
  """Prints the tables; returns their rows. Arguments: see the flags below."""
  gold_dir = Path(gold_dir)
  path = gold_dir / "scenes" / f"CLEVR_{_SPLIT}_scenes.json"
  scenes = json.loads(path.read_text())["scenes"]
  images = {"gold": _gold_images(gold_dir, scenes)}
  lamps = [replay_lamps(scene["image_index"]) for scene in scenes]
  for name, positions in (("replayed", lamps), ("nominal", None)):
    images[f"{name} lamps"] = _draw(scenes, positions, name)
  rows = []
  for name, pictures in list(images.items())[1:]:
    ratios, likeness = (f(images["gold"], pictures) for f in (psnr, ssim))
    rows.append((name, ratios.mean(), ratios.min(), likeness.mean()))
    if output_dir:
      order = np.argsort(ratios)
      for title, some in (("worst", order), ("first", range(len(order)))):
        _sheet(
          Path(output_dir) / f"{title}_{name.split()[0]}.png",
          images["gold"],
          pictures,
          list(some)[:_ROWS],
        )
  print(f"\n{len(scenes)} scenes, {_SIZE}x{_SIZE}, against Blender's images\n")
  timing.print_table(("lamps", "PSNR dB", "worst", "SSIM"), rows)
  result = {"images": rows, "bright": _compare_bright(gold_dir, scenes, lamps)}
  if weights_dir:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 255 * _NOISE, images["gold"].shape)
    noisy = np.clip(np.rint(images["gold"] + noise), 0, 255).astype(np.uint8)
    images["gold with noise"] = noisy
    result["answers"], result["classes"] = _compare_answers(
      gold_dir, Path(weights_dir), scenes, images
    )
  return result


def _gold_images(
  gold_dir: Path, scenes: list[dict], size: int = _SIZE
) -> np.ndarray:
  folder = gold_dir / "images" / _SPLIT
  files = [folder / scene["image_filename"] for scene in scenes]
  return np.stack([read_image(file, size) for file in files])


def _compare_bright(
  gold_dir: Path, scenes: list[dict], lamps: list
) -> list[tuple]:
  """Prints and returns the numbers of isolated bright pixels."""
  gold = _gold_images(gold_dir, scenes, 0)
  height, width = gold.shape[1:3]
  drawn = _draw(scenes, lamps, "replayed", (width, height))
  counts = [("gold", gold), ("replayed lamps", drawn)]
  counts = [(name, bright_pixels(images)) for name, images in counts]
  rows = [(name, n.mean(), np.median(n), int(n.max())) for name, n in counts]
  print(f"\nIsolated bright pixels of a picture, {width}x{height}\n")
  timing.print_table(("images", "mean", "median", "most"), rows)
  return rows


def _draw(
  scenes: list[dict],
  lamps: list | None,
  name: str,
  size: tuple[int, int] = (_SIZE, _SIZE),
) -> np.ndarray:
  pictures = []
  for start in progress_bar(
    range(0, len(scenes), _BATCH), desc=f"drawing, {name} lamps"
  ):
    part = slice(start, start + _BATCH)
    positions = lamps and lamps[part]
    pictures.append(render(scenes[part], *size, lamps=positions))
  return np.concatenate(pictures)


def _compare_answers(
  gold_dir: Path, weights_dir: Path, scenes: list[dict], images: dict
) -> tuple[list, list]:
  overall, by_class = [], []
  words = weights_dir / "vocabulary.json"
  with tempfile.TemporaryDirectory() as root:
    root = Path(root)
    for number, (name, pictures) in enumerate(images.items()):
      clevr = root / f"clevr{number}"
      folder = clevr / "images" / _SPLIT
      folder.mkdir(parents=True)
      for scene, pixels in zip(scenes, pictures, strict=True):
        Image.fromarray(pixels).save(folder / scene["image_filename"])
      for kind in ("scenes", "questions"):
        (clevr / kind).symlink_to((gold_dir / kind).resolve())
      convert(clevr, root / name, vocabulary=words, workers=1)
    for weights in sorted(weights_dir.glob("*_fp_*.pth")):
      network, _ = import_torch(weights, words, root / weights.stem)
      truth = None
      for name in images:
        dataset, found = predict_split(
          root / weights.stem, _SPLIT, {"data.dir": str(root / name)}
        )
        scores = score(dataset, found)
        classes = scores["by_answer_class"]
        if truth is None:
          truth = found["answer"], classes
        same = (found["answer"] == truth[0]).mean()
        overall.append((network, name, 100 * scores["accuracy"], 100 * same))
        by_class += [
          (
            network,
            name,
            kind,
            row["count"],
            100 * row["accuracy"],
            100 * (row["accuracy"] - truth[1][kind]["accuracy"]),
          )
          for kind, row in classes.items()
        ]
  print("\nThe published weights' answers; same: as on the gold images\n")
  timing.print_table(("network", "images", "accuracy %", "same %"), overall)
  print()
  timing.print_table(
    ("network", "images", "answers", "number", "accuracy %", "points more"),
    by_class,
  )
  return overall, by_class


def _sheet(path: Path, gold, ours, indices: list[int]) -> None:
  """Draws gold, ours and four times the difference, a row for each image."""
  difference = np.clip(128 + 4 * (ours.astype(int) - gold), 0, 255)
  rows = [
    np.concatenate([gold[i], ours[i], difference[i].astype(np.uint8)], 1)
    for i in indices
  ]
  sheet = Image.fromarray(np.concatenate(rows))
  path.parent.mkdir(parents=True, exist_ok=True)
  with replacing(path) as temporary:
    sheet.resize((2 * sheet.width, 2 * sheet.height)).save(
      temporary, format="PNG"
    )


if __name__ == "__main__":
  timing.main(
    run,
    [
      cli.path_flag(
        "gold_dir",
        None,
        "CLEVR folder of images made with the original generator.",
        required=True,
      ),
      cli.path_flag(
        "weights_dir",
        None,
        "Folder of published weights from pixels (*_fp_*.pth) and their "
        "vocabulary.json; not given: the images alone are compared.",
      ),
      cli.path_flag(
        "output_dir", None, "Where to put sheets to look at; not given: none."
      ),
    ],
  )
