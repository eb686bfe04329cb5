"""An update of a whole network moves every part that a config chooses."""

import jax
import numpy as np
import pytest

from benchmarks.workload import random_dataset
from configs import tiny
from rn_jax import parallel
from rn_jax.data.input_pipeline import make_batch
from rn_jax.optimizer import make_optimizer, make_schedule
from rn_jax.steps import init_state, make_model, make_train_step

BEHIND = {"encoder.context.stages": (1, 2)}
PAIRS = {"head.kind": "object_relation_pairwise"}
# What is chosen, and the parts of the parameters that are then there.
CHOICES = {
  "gc": (
    BEHIND | {"encoder.context.kind": "gc"},
    ("conv_encoder/context_1", "conv_encoder/context_2"),
  ),
  "lr": (
    BEHIND | {"encoder.context.kind": "lr"},
    ("conv_encoder/context_1", "conv_encoder/context_2"),
  ),
  "object relation": (
    {"head.kind": "object_relation"},
    ("relation_core/dense_0", "relation_core/layers_1"),
  ),
  "in blocks": (
    PAIRS | {"scenes_per_block": 1},
    ("relation_core/layers_0", "relation_core/pairs"),
  ),
  "regions": (
    {"objects": "regions", "regions": 2},
    ("region_features", "relation_core"),
  ),
}


@pytest.mark.parametrize("name", CHOICES)
def test_an_update_moves_what_is_chosen(name):
  config = tiny.get_config("original_fp")
  config.data.augment = False
  changes, parts = CHOICES[name]
  config.model.update_from_flattened_dict(changes)
  scenes = 2 * jax.device_count()
  dataset = random_dataset(config, scenes, 1)
  batch = make_batch(dataset, np.arange(scenes)[:, None])
  model = make_model(config, 82, 28)
  schedule = make_schedule(config.optimizer, 10.0, 100)
  optimizer = make_optimizer(config.optimizer, schedule)
  state = jax.jit(lambda: init_state(model, optimizer, batch, 0))()
  before = jax.device_get(state.params)
  step = make_train_step(model, optimizer, schedule, config)
  state, metrics = parallel.pmap_train_step(step)(
    parallel.replicate(state), {}, parallel.split_over_devices(batch)
  )
  assert np.isfinite(metrics["loss"]).all()
  after = jax.device_get(state.params)
  for part in parts:
    old, new = before, after
    for key in part.split("/"):
      old, new = old[key], new[key]
    pairs = zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)
    assert any(not np.array_equal(x, y[0]) for x, y in pairs), part
