"""Networks to ask, and scenes that are drawn in no time."""

import numpy as np
import pytest
from places import ROOT
from small_network import write_network

from configs import tiny
from data_prep.generation import one_scene
from data_prep.language.understanding import right_answer
from rn_jax.demo.desk import Desk
from rn_jax.demo.subjects import SceneTools


def draw_quickly(scene):
  """A stand-in for the renderer."""
  if any("rotation" not in thing for thing in scene["objects"]):
    raise ValueError("how objects are turned is not known")
  return np.full((32, 48, 3), len(scene["objects"]), np.uint8)


@pytest.fixture(scope="session")
def tools():
  return SceneTools(
    one_scene.make,
    one_scene.complete,
    draw_quickly,
    one_scene.suggest,
    right_answer,
  )


@pytest.fixture(scope="session")
def checkpoints(records_dir, tmp_path_factory):
  """Paths by name: of states, of pixels, and of one without pairs."""
  root = tmp_path_factory.mktemp("networks")
  changes = {
    "pixels": ("original_fp", {"model.conv_channels": (8, 8, 8, 8)}),
    "no_pairs": ("original_sd", {"model.head.kind": "object_relation"}),
  }
  for name, (kind, change) in changes.items():
    config = tiny.get_config(kind)
    config.data.dir = str(records_dir)
    config.update_from_flattened_dict(change)
    write_network(root / name, config)
  states = {"states": str(ROOT / "pretrained/original_sd")}
  return states | {name: str(root / name) for name in changes}


@pytest.fixture(scope="session")
def desk(checkpoints, tools):
  return Desk(checkpoints, tools)
