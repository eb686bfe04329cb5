"""Damages files at random and reads them: right, or one clear error.

    python -m benchmarks.fuzz --minutes=10 [--seed=0]
    python -m benchmarks.fuzz --count=200

For each reader of files that others made (weights, archives of features, the
scenes, questions and programs of a CLEVR folder) a small file is made and
damaged again and again: bytes are changed, cut out, put in; in JSON values
become others. Prints how often each reader took a file, refused it with the
error it promises, or did anything else, with one example each; that is a fault,
and ends with status 1.
"""

import collections
import functools
import hashlib
import json
import random
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks import timing
from data_prep.conversion.clevr_source import load_split, read_scenes
from data_prep.conversion.growing_vocabulary import Vocabulary
from data_prep.conversion.scene_record import build_scene
from data_prep.generation.job import Job, make_part
from data_prep.language.programs import (
  InvalidProgramError,
  SceneTable,
  execute,
  scene_table,
)
from rn_jax.data.clevr_json import SourceError
from rn_jax.interop.torch_file import (
  TorchFileError,
  read_state_dict,
  write_state_dict,
)
from rn_jax.retrieval.describe.features import (
  Features,
  FeaturesError,
  load_features,
  save_features,
)

_OUTCOMES = ("taken", "refused", "fault")
_VALUES = (
  *(None, True, -1, 0, 1, 0.5, 1e300, 2**70),
  *("", "a", "1.5", [], [0], {}),
)


def run(minutes: float, count: int, seed: int) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below.

  Raises:
    SystemExit: There was a fault.
  """
  rng = random.Random(seed)
  end = time.monotonic() + 60 * minutes
  faults = {}
  with tempfile.TemporaryDirectory() as folder:
    targets = _targets(Path(folder))
    outcomes = {name: collections.Counter() for name in targets}
    done = 0
    while done < count or time.monotonic() < end:
      done += 1
      for name, (path, whole, read, expected, damage) in targets.items():
        path.write_bytes(damage(whole, rng))
        try:
          read(path)
          outcome = "taken"
        except expected:
          outcome = "refused"
        except Exception as error:
          outcome = "fault"
          kind = f"{name}: {type(error).__name__}"
          faults.setdefault(kind, f"{kind}: {error} (seed {seed}, {done})")
        outcomes[name][outcome] += 1
  rows = [(n, *(c[o] for o in _OUTCOMES)) for n, c in outcomes.items()]
  timing.print_table(("reader", *_OUTCOMES), rows)
  if faults:
    raise SystemExit("\n".join(faults.values()))
  return rows


def _targets(folder: Path) -> dict[str, tuple]:
  """(path, content, reader, its error, how to damage it) of each reader."""
  numbers = np.arange(12, dtype=np.float32).reshape(4, 3)
  weights, archive = folder / "a.pth", folder / "a.npz"
  write_state_dict(weights, {"a.weight": numbers, "a.bias": numbers[0]})
  names = np.array(["a.png", "b.png", "c.png", "d.png"])
  save_features(archive, Features({"x": numbers}, np.arange(4), names, {}))
  (made, asked), _ = make_part(Job("train", 3, min_visible_pixels=0), 0)
  longest = max((q["program"] for q in asked[:10]), key=len)  # of scene 0
  scenes = _write(folder / "CLEVR_train_scenes.json", {"scenes": made})
  program = _write(folder / "program.json", longest)
  # Damaged questions are about whole scenes.
  _write(folder / "scenes" / scenes.name, {"scenes": made})
  questions = folder / "questions" / "CLEVR_train_questions.json"
  _write(questions, {"questions": asked})
  answer = functools.partial(_answer, scene_table(made[0]))
  readers = {
    "weights": (weights, read_state_dict, TorchFileError, _damage_bytes),
    "archives": (archive, load_features, FeaturesError, _damage_bytes),
    "scenes, bytes": (scenes, _read_scenes, SourceError, _damage_bytes),
    "scenes, values": (scenes, _read_scenes, SourceError, _damage_json),
    "questions, bytes": (questions, _ask, SourceError, _damage_bytes),
    "questions, values": (questions, _ask, SourceError, _damage_json),
    "programs": (program, answer, InvalidProgramError, _damage_json),
  }
  return {
    name: (path, path.read_bytes(), *rest)
    for name, (path, *rest) in readers.items()
  }


def _write(path: Path, content) -> Path:
  path.parent.mkdir(exist_ok=True)
  path.write_text(json.dumps(content))
  return path


def _read_scenes(path: Path) -> None:
  for source in read_scenes(path, hashlib.sha256(), "train", {}).values():
    build_scene(source)


def _ask(path: Path) -> None:
  load_split(path.parent.parent, "train", Vocabulary())


def _answer(table: SceneTable, path: Path) -> None:
  execute(json.loads(path.read_text()), table)


def _damage_bytes(whole: bytes, rng: random.Random) -> bytes:
  content = bytearray(whole)
  for _ in range(rng.choice((1, 1, 2, 5))):
    at = rng.randrange(len(content) + 1)
    length = rng.choice((0, 1, 1, 8, 64))
    put = rng.randbytes(rng.choice((0, length, 4)))
    content[at : at + length] = put
  return bytes(content)


def _damage_json(whole: bytes, rng: random.Random) -> bytes:
  content = json.loads(whole)
  place: dict | list = content
  while True:
    keys = list(place) if isinstance(place, dict) else range(len(place))
    key = rng.choice(keys)
    deeper = place[key]
    if not isinstance(deeper, dict | list) or not deeper or rng.random() < 0.15:
      break
    place = deeper
  if rng.random() < 0.2:
    del place[key]
  else:
    place[key] = rng.choice(_VALUES)
  return json.dumps(content).encode()


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_float("minutes", 0.0, "How long, at least.", lower_bound=0),
      flags.DEFINE_integer(
        "count", 100, "Damages of each reader, at least.", lower_bound=1
      ),
      flags.DEFINE_integer("seed", 0, "Another one, other damages."),
    ],
  )
