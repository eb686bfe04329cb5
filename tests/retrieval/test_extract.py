"""Descriptors: what is pooled, for every scene, whatever the batches are."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from places import SHARED
from small_network import write_network

from rn_jax import parallel
from rn_jax.data.records import read_scenes
from rn_jax.host.exclusive import BusyError, writing
from rn_jax.interop.import_torch import import_torch
from rn_jax.models.affine import Weights
from rn_jax.models.relation.pairs import pair_inputs
from rn_jax.retrieval import extract as extract_module
from rn_jax.retrieval.describe.descriptors import (
  default_descriptors,
  parse_descriptor,
)
from rn_jax.retrieval.describe.extractor import (
  load_extractor,
  make_extract_step,
)
from rn_jax.retrieval.describe.features import load_features
from rn_jax.retrieval.describe.pooling import pool_vectors
from rn_jax.retrieval.describe.sources import image_source, split_source
from rn_jax.retrieval.extract import extract, extract_command

WEIGHTS = SHARED / "released_weights"
N = 5  # scenes of the val split, see conftest


@pytest.fixture
def make_network(make_config, tmp_path):
  """make_network("ir_sd"): a checkpoint with random weights, and its config."""

  def make(name, **changes):
    config = make_config(name, **changes)
    path = tmp_path / f"network{len(list(tmp_path.iterdir()))}"
    return path, config, *write_network(path, config)

  return make


def scene_batch(config, count, questions=1):
  inputs, data = config.model.inputs, config.data
  batch = dict(split_source(data, inputs, "val").read(0, count).arrays)
  rng = np.random.default_rng(questions)
  batch["question"] = rng.integers(1, 9, (count, questions, 6)).astype(np.int32)
  batch["question_length"] = np.full((count, questions), 6, np.int32)
  return jax.tree.map(jnp.asarray, batch)


def loop_over_pairs(params, objects, layer):
  """The inputs of a layer of g_theta by the book, [N * N, D]."""
  rows = []
  for o_p in objects:
    for o_q in objects:
      x = np.concatenate([o_q, o_p])
      for index in range(layer):
        kernel = params[f"g_{index}"]["kernel"]
        x = np.maximum(x @ kernel[: len(x)] + params[f"g_{index}"]["bias"], 0)
      rows.append(x)
  return np.array(rows)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_pairs_are_those_of_a_double_loop(layer):
  rng = np.random.default_rng(0)
  objects = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
  params = {
    "g_0": {"kernel": rng.normal(size=(6, 5)), "bias": rng.normal(size=5)},
    "g_1": {"kernel": rng.normal(size=(5, 7)), "bias": rng.normal(size=7)},
  }
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  layers = [Weights(**params[f"g_{index}"]) for index in range(2)]
  found = np.asarray(pair_inputs(layers, objects)[layer])
  flat = found.reshape(16, -1)
  expected = loop_over_pairs(params, objects, layer)
  np.testing.assert_allclose(flat, expected, rtol=1e-5, atol=1e-6)
  if layer == 0:
    np.testing.assert_array_equal(flat[2 * 4 + 1][:3], objects[1])
    np.testing.assert_array_equal(flat[2 * 4 + 1][3:], objects[2])


@pytest.mark.parametrize("name", ["ir_fp", "ir_sd"])
def test_pairs_lead_to_the_sums_of_the_network(make_network, name):
  _, config, model, variables = make_network(name)
  batch = scene_batch(config, 2)
  variables = jax.tree.map(jnp.asarray, variables)
  _, outputs = model.apply(variables, batch)
  params = variables["params"]["relation_core"]
  scene = model.apply(variables, batch, method="encode_scenes")
  described = model.apply(variables, scene, method="describe")
  assert list(described) == ["g0", "g1", "g2"]
  for row in range(2):
    pairs = described["g2"][row]
    x = np.asarray(pairs).reshape(-1, pairs.shape[-1])
    asked = np.broadcast_to(outputs["question"][row, 0], (len(x), 16))
    x = np.concatenate([x, asked], -1)
    for index in (2, 3):
      layer = params[f"g_{index}"]
      x = np.maximum(x @ layer["kernel"] + layer["bias"], 0)
    if name == "ir_sd":
      there = batch["object_mask"][row]
      assert not there.all()
      x = x[np.outer(there, there).reshape(-1)]
    pool = {"sum": np.sum, "mean": np.mean}[config.model.aggregation]
    np.testing.assert_allclose(
      pool(x, 0), outputs["relations"][row, 0], rtol=2e-4, atol=1e-4
    )


def test_pools_unit_pairs_and_leaves_out_padding():
  pairs = np.array([[[3, 4], [0, 0]], [[0, 2], [9, 9]]], np.float32)
  pool = jax.jit(pool_vectors, static_argnums=(2, 3))
  everything = None
  np.testing.assert_allclose(pool(pairs, everything, "avg", False), [3, 3.75])
  np.testing.assert_allclose(pool(pairs, everything, "max", False), [9, 9])
  half = 0.5**0.5
  np.testing.assert_allclose(
    pool(pairs, everything, "avg", True),
    [(0.6 + half) / 4, (0.8 + 1 + half) / 4],
    rtol=1e-6,
  )
  np.testing.assert_allclose(
    pool(pairs, everything, "max", True), [half, 1], rtol=1e-6
  )
  np.testing.assert_allclose(
    pool(pairs, everything, "sum", True),
    4 * pool(pairs, everything, "avg", True),
    rtol=1e-6,
  )
  first = np.array([True, False])
  for pooling in ("avg", "max", "sum"):
    np.testing.assert_allclose(
      pool(-pairs, first, pooling, True), [-0.6, -0.8], rtol=1e-6
    )
    nothing = pool(pairs, ~first & first, pooling, False)  # an empty picture
    np.testing.assert_array_equal(nothing, [0, 0])


@pytest.mark.parametrize("mask_objects", [True, False])
def test_masks_as_the_network_does(make_network, mask_objects):
  """Padding rows count where the reference counts them, else not at all."""
  path, config, *_ = make_network(
    "ir_sd", **{"model.mask_objects": mask_objects}
  )
  scenes = split_source(config.data, "states", "val").read(0, N).arrays
  fewer = {name: x[:, :6] for name, x in scenes.items()}
  describe = load_extractor(path, ["g0_avg_raw", "g2_avg"])
  ten, six = describe(scenes), describe(fewer)
  for name in ("g0_avg_raw", "g2_avg"):
    same = np.allclose(six[name], ten[name], rtol=1e-5, atol=1e-6)
    assert same == mask_objects


@pytest.mark.parametrize("name", ["ir_fp", "avf_sd"])
def test_questions_play_no_part(make_network, name):
  _, config, model, variables = make_network(name)
  names = default_descriptors(config.model)
  descriptors = [parse_descriptor(n, config.model) for n in names]
  step = parallel.pmap_predict_step(make_extract_step(model, descriptors))
  results = []
  for questions in (1, 2):
    batch = scene_batch(config, 4, questions)
    results.append(
      step(
        parallel.replicate(variables), {}, parallel.split_over_devices(batch)
      )
    )
  for n in names:
    np.testing.assert_array_equal(results[0][n], results[1][n])


@pytest.mark.parametrize("name", ["original_fp", "ir_sd"])
def test_as_many_rows_as_scenes_for_any_batch(make_network, name):
  path, config, *_ = make_network(name)
  scenes = split_source(config.data, config.model.inputs, "val").read(0, N)
  describe = load_extractor(path)
  whole = describe(scenes.arrays, N)
  for batch_size in (3, N + 2):
    found = describe(scenes.arrays, batch_size)
    assert list(found) == list(whole)
    for n, x in found.items():
      assert x.shape == whole[n].shape == (N, whole[n].shape[1])
      np.testing.assert_allclose(x, whole[n], rtol=1e-5, atol=1e-6)
  # Rows differ, and in the same way as the scenes do.
  name = next(iter(whole))
  alone = describe({n: x[3:4] for n, x in scenes.arrays.items()})[name]
  np.testing.assert_allclose(alone[0], whole[name][3], rtol=1e-5, atol=1e-6)
  assert len(np.unique(whole[name].round(5), axis=0)) == N


@pytest.mark.parametrize(
  ("changes", "names"),
  [
    ({"head.kind": "object_relation"}, "o0_sum"),
    ({"head.kind": "object_relation", "question_layer": 1}, "o1_sum"),
    ({"head.kind": "object_relation", "question_layer": 2}, "aggregate"),
    ({"head.kind": "object_relation_pairwise"}, "g0_avg g0_avg_raw"),
    ({"inputs": "pixels", "objects": "found"}, "g0_avg g0_avg_raw"),
    ({"inputs": "pixels", "objects": "regions"}, "g0_avg g0_avg_raw"),
  ],
)
def test_other_heads_and_objects_describe_scenes(make_network, changes, names):
  changes = {f"model.{name}": value for name, value in changes.items()}
  path, config, *_ = make_network("original_sd", **changes)
  scenes = split_source(config.data, config.model.inputs, "val").read(0, N)
  found = load_extractor(path)(scenes.arrays)
  assert list(found) == names.split()
  for x in found.values():
    assert len(np.unique(x.round(5), axis=0)) == N


def test_published_descriptors_have_their_bounds(make_network):
  path, config, *_ = make_network("ir_fp")
  scenes = split_source(config.data, "pixels", "val").read(0, N).arrays
  found = load_extractor(path)(scenes)
  for name in ("g2_avg", "g2_max"):
    assert (found[name] >= 0).all()
    assert (found[name] <= 1 + 1e-6).all()
  assert (np.linalg.norm(found["g2_avg"], axis=1) <= 1 + 1e-6).all()
  norms = np.linalg.norm(found["conv_rmac"], axis=1)
  np.testing.assert_allclose(norms, 1, rtol=1e-5)


def test_aggregate_is_the_networks_weighted_sum(make_network):
  path, config, _, variables = make_network("avf_fp")
  scenes = split_source(config.data, "pixels", "val").read(0, 2).arrays
  describe = load_extractor(path, ["aggregate", "g4_avg_raw"])
  core = variables["params"]["relation_core"]
  for weight, factor in ((1 / 256, 1), (1.0, 256)):
    core["position_weights"] = np.full(256, weight, np.float32)
    found = describe.step(
      parallel.replicate(variables),
      {},
      parallel.split_over_devices(
        {**scene_batch(config, 2), "image": scenes["image"]}
      ),
    )
    np.testing.assert_allclose(
      found["aggregate"], factor * found["g4_avg_raw"], rtol=1e-4
    )


@pytest.mark.parametrize(
  ("config_name", "names"),
  [
    ("original_fp", "g0_avg g0_avg_raw conv_avg conv_max conv_rmac"),
    ("ir_fp", "g2_avg g2_max conv_avg conv_max conv_rmac"),
    ("avf_fp", "aggregate conv_avg conv_max conv_rmac"),
    ("ir_sd", "g2_avg g2_max g2_sum"),
    ("ir_sd_reference", "g2_avg g2_max"),
  ],
)
def test_every_network_has_its_usual_descriptors(
  make_config, config_name, names
):
  model = make_config(config_name).model
  assert default_descriptors(model) == names.split()
  labels = [parse_descriptor(n, model).label for n in names.split()]
  assert len(set(labels)) == len(labels)
  assert "R-MAC" not in labels


@pytest.mark.parametrize(
  ("config_name", "name", "message"),
  [
    ("found_fp", "conv_avg", "objects='found' says, not its cells"),
    ("ir_fp", "g3_avg", "knows before the question only g0 to g2.*: g2_avg"),
    ("original_fp", "g1_max", "only g0 to g0"),
    ("avf_fp", "g5_avg", "only g0 to g4"),
    ("ir_sd", "conv_avg", "no convolutions"),
    ("ir_fp", "aggregate", "only an AVF-RN"),
    ("ir_fp", "avg", "usual for this 2S-RN: g2_avg"),
  ],
)
def test_descriptors_that_a_network_cannot_give(
  make_config, config_name, name, message
):
  with pytest.raises(ValueError, match=message):
    parse_descriptor(name, make_config(config_name).model)


def test_records_and_their_files_give_the_same(
  make_network, clevr_dir, records_dir, tmp_path
):
  path, *_ = make_network("ir_fp")
  images = tmp_path / "images" / "deep" / "er"
  shutil.copytree(clevr_dir / "images" / "val", images)
  (images / "notes.txt").write_text("no image")
  (images / "CLEVR_val_000001b.png").write_bytes(b"broken")
  ours = load_features(extract_command(path, tmp_path))
  theirs = load_features(
    extract_command(path, tmp_path, images=[str(tmp_path / "images")])
  )
  assert len(ours) == len(theirs) == N
  assert list(theirs.image_filename) == [
    f"deep/er/{name}" for name in ours.image_filename
  ]
  assert theirs.image_index.tolist() == [0, 1, 3, 4, 5]
  assert len(theirs.metadata["skipped"]) == 1
  assert "000001b.png" in theirs.metadata["skipped"][0]
  assert theirs.metadata["source"] == {"folder": str(tmp_path / "images")}
  for name, x in ours.descriptors.items():
    np.testing.assert_array_equal(theirs.descriptors[name], x)
  assert not list(tmp_path.glob("*.parts"))
  # What it was made of.
  scenes = list(read_scenes(records_dir, "val"))
  indices = [scene["image_index"] for scene in scenes]
  assert ours.image_index.tolist() == indices
  assert ours.metadata["source"]["split"] == "val"
  network = ours.metadata["network"]
  assert len(network["checkpoint_sha256"]) == 64
  assert network["config"]["question_layer"] == 2
  assert ours.metadata["preprocessing"]["size"] == 32
  assert ours.about("conv_rmac")["metric"] == "cosine"


def test_mistakes_are_named(make_network, tmp_path):
  path, *_ = make_network("ir_fp")
  broken = tmp_path / "broken.png"
  broken.write_bytes(b"broken")
  with pytest.raises(ValueError, match=r"broken\.png: not a readable image"):
    extract_command(path, tmp_path, images=[str(broken)])
  with pytest.raises(FileNotFoundError, match=r"none\.png: no such file"):
    extract_command(path, tmp_path, images=[str(tmp_path / "none.png")])
  empty = tmp_path / "empty"
  empty.mkdir()
  with pytest.raises(ValueError, match="no image files"):
    extract_command(path, tmp_path, images=[str(empty)])
  broken.rename(empty / "broken.png")
  with pytest.raises(ValueError, match="none of the 1 files"):
    extract_command(path, tmp_path, images=[str(empty)])
  with pytest.raises(ValueError, match=r"--config\.data\.dir=RECORDS"):
    extract_command(path, tmp_path, overrides={"data.dir": ""})
  states, *_ = make_network("ir_sd")
  with pytest.raises(ValueError, match="state descriptions, not images"):
    extract_command(states, tmp_path, images=[str(empty)])


def test_named_files_are_relative_to_their_common_folder(tmp_path):
  for name in ("a/1.png", "b/2.png", "b/c/3.jpg"):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (9, 7)).save(tmp_path / name)
  named = [str(tmp_path / name) for name in ("b/2.png", "a/1.png", "b")]
  found = image_source(named, 16).read(0, 9)
  assert found.image_filename.tolist() == ["a/1.png", "b/2.png", "b/c/3.jpg"]
  assert found.arrays["image"].shape == (3, 16, 16, 3)


def test_two_runs_do_not_meet_in_a_file(make_network, tmp_path):
  path, *_ = make_network("ir_sd")
  with (
    writing(tmp_path / "features_val.npz"),
    pytest.raises(BusyError, match=r"features_val\.npz: another run"),
  ):
    extract_command(path, tmp_path)
  assert [p.name for p in tmp_path.glob("*feat*")] == []


def test_goes_on_after_a_crash(make_network, tmp_path, monkeypatch):
  monkeypatch.setattr(extract_module, "IMAGES_PER_PART", 2)
  path, config, *_ = make_network("ir_sd")
  describe = load_extractor(path)
  whole = extract(describe, _val(config), tmp_path / "whole.npz")
  target = tmp_path / "features.npz"
  calls = []

  class Crash(Exception):
    pass

  class Counting(type(describe)):
    def __call__(self, scenes):
      calls.append(len(scenes["objects"]))
      if len(calls) == crash_at:
        raise Crash
      return super().__call__(scenes)

  counting = Counting(**vars(describe))
  crash_at = 3
  with pytest.raises(Crash):
    extract(counting, _val(config), target)
  assert not target.exists()
  parts = sorted((tmp_path / "features.parts").iterdir())
  assert [part.name for part in parts] == ["000000.part", "000001.part"]
  # One of the two is damaged meanwhile.
  parts[0].write_bytes(parts[0].read_bytes()[:-9])
  # What an earlier version left does no harm.
  (tmp_path / "features.parts" / "000000004.npz").write_bytes(b"older")
  crash_at = 0
  calls.clear()
  resumed = extract(counting, _val(config), target)
  assert calls == [2, 1]
  for name, x in whole.descriptors.items():
    np.testing.assert_array_equal(resumed.descriptors[name], x)
  np.testing.assert_array_equal(resumed.image_index, whole.image_index)
  # Parts of other descriptors are no parts of this.
  crash_at = 5
  with pytest.raises(Crash):
    extract(counting, _val(config), target)
  crash_at = 0
  calls.clear()
  other = Counting(**vars(load_extractor(path, ["g1_avg"])))
  found = extract(other, _val(config), target)
  assert calls == [2, 2, 1]
  assert list(found.descriptors) == ["g1_avg"]


def _val(config):
  return split_source(config.data, "states", "val")


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"{WEIGHTS} is absent")
def test_published_weights_describe_images(tmp_path):
  import_torch(
    WEIGHTS / "ir_fp_epoch_312.pth",
    WEIGHTS / "vocabulary.json",
    tmp_path / "ir_fp",
  )
  image = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
  found = load_extractor(tmp_path / "ir_fp")({"image": image}, batch_size=2)
  shapes = {name: x.shape for name, x in found.items()}
  assert shapes == {
    "g2_avg": (2, 256),
    "g2_max": (2, 256),
    "conv_avg": (2, 24),
    "conv_max": (2, 24),
    "conv_rmac": (2, 24),
  }
  unit = found["g2_avg"], found["g2_max"]
  assert all((x >= 0).all() and (x <= 1 + 1e-6).all() for x in unit)
  assert (np.linalg.norm(found["g2_avg"], axis=1) <= 1 + 1e-6).all()
