"""The reference's weights: recognised, imported, exported, answering."""

import importlib
import json
import os
import re
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
from PIL import Image
from places import SHARED
from small_network import write_network

from rn_jax.checkpoint import CheckpointError, load_model, write_model
from rn_jax.clevr import tokenize
from rn_jax.evaluate import load_network
from rn_jax.host.exclusive import BusyError, exclusive, writing
from rn_jax.interop.export_torch import export_torch
from rn_jax.interop.import_torch import import_torch
from rn_jax.interop.recognize import recognize
from rn_jax.interop.reference_names import shapes, to_variables
from rn_jax.interop.safetensors_file import (
  read_safetensors,
  write_safetensors,
)
from rn_jax.interop.torch_file import read_state_dict, write_state_dict
from rn_jax.steps import make_model

WEIGHTS = SHARED / "released_weights"
GOLD = SHARED / "clevr_gold" / "rendered"
needs_weights = pytest.mark.skipif(
  not WEIGHTS.is_dir(), reason=f"{WEIGHTS} is absent"
)
NUM_WORDS, NUM_ANSWERS = 9, 5
NETWORKS = {
  "original-fp": "original_fp_reference",
  "original-sd": "original_sd_reference",
  "ir-fp": "ir_fp_reference",
  "ir-sd": "ir_sd_reference",
}
RELEASED = {
  "original-fp": "original_fp_epoch_493.pth",
  "ir-fp": "ir_fp_epoch_312.pth",
}


def config_of(network):
  return importlib.import_module(f"configs.{NETWORKS[network]}").get_config()


def random_tensors(config):
  rng = np.random.default_rng(0)
  return {
    name: rng.normal(size=shape).astype(np.float32)
    for name, shape in shapes(config, NUM_WORDS, NUM_ANSWERS).items()
  }


@pytest.fixture
def vocabulary(tmp_path):
  path = tmp_path / "vocabulary.json"
  words = {
    "questions": {f"word{i}": i for i in range(1, NUM_WORDS + 1)},
    "answers": {f"answer{i}": i for i in range(1, NUM_ANSWERS + 1)},
  }
  path.write_text(json.dumps(words))
  return path


def assert_same(found, expected, *, ordered=True):
  in_order = list if ordered else set
  assert in_order(found) == in_order(expected)
  for name, array in expected.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("network", NETWORKS)
def test_recognizes_each_network_without_the_checkout(network, monkeypatch):
  config = config_of(network)
  tensors = random_tensors(config)
  for module in [name for name in sys.modules if name.startswith("configs")]:
    monkeypatch.setitem(sys.modules, module, None)
  name, found = recognize(tensors)
  assert name == network
  assert found == config


def test_recognizes_other_sizes():
  config = config_of("ir-sd")
  config.model.embedding_size = 5
  config.model.lstm_units = 6
  config.model.g_units = (7, 8, 9)
  config.model.g_dropout = (0.0, 0.0, 0.0)
  config.model.f_units = (10, 11)
  config.model.question_layer = 1
  name, found = recognize(random_tensors(config))
  assert name == "original-sd with the question at g layer 1"
  assert found.model == config.model


@pytest.mark.parametrize("network", ["original-fp", "ir-sd"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_file_to_checkpoint_to_file_loses_nothing(
  tmp_path, vocabulary, network, suffix
):
  tensors = random_tensors(config_of(network))
  write = {"pth": write_state_dict, "safetensors": write_safetensors}[suffix]
  read = {"pth": read_state_dict, "safetensors": read_safetensors}[suffix]
  source, copy = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
  write(source, {f"module.{k}": v for k, v in tensors.items()})
  name, _ = import_torch(source, vocabulary, tmp_path / "checkpoint")
  assert name == network
  export_torch(tmp_path / "checkpoint", copy)
  # A safetensors file has an order of its own.
  assert_same(read(copy), tensors, ordered=suffix == "pth")
  export_torch(tmp_path / "checkpoint", copy, prefix="module.")
  assert copy.read_bytes() == source.read_bytes()


def test_the_checkpoint_holds_all_that_evaluation_needs(tmp_path, vocabulary):
  config = config_of("original-sd")
  write_state_dict(tmp_path / "a.pth", random_tensors(config))
  import_torch(tmp_path / "a.pth", vocabulary, tmp_path / "checkpoint")
  variables, found, words = load_network(tmp_path / "checkpoint")
  assert words == json.loads(vocabulary.read_text())
  assert json.loads(found.model.to_json()) == json.loads(config.model.to_json())
  assert found.data.max_objects == 12
  assert found.data.max_question_length is None
  model = make_model(found, NUM_WORDS, NUM_ANSWERS)
  batch = {
    "objects": np.ones((1, 12, 7), np.float32),
    "object_mask": np.ones((1, 12), bool),
    "question": np.ones((1, 1, 50), np.int32),
    "question_length": np.full((1, 1), 50),
  }
  logits, _ = jax.jit(model.apply)(variables, batch)
  assert logits.shape == (1, 1, NUM_ANSWERS)


def test_what_the_reference_never_uses_is_left_out():
  config = config_of("ir-sd")
  tensors = random_tensors(config)
  extra = {
    "conv.conv1.weight": np.zeros((24, 3, 3, 3), np.float32),
    "conv.conv1.bias": np.zeros(24, np.float32),
    "conv.batchNorm1.num_batches_tracked": np.array(3),
  }
  assert recognize(tensors | extra)[0] == "ir-sd"
  variables = to_variables(tensors | extra, config, NUM_WORDS, NUM_ANSWERS)
  assert set(variables["params"]) == {
    "question_encoder",
    "relation_core",
    "answer_network",
  }


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"rl.g_layers.1.weight": np.zeros((256, 255))},
      r"rl\.g_layers\.1\.weight: expected \(256, 256\), found \(256, 255\)",
    ),
    (
      # No question anywhere: an RN without one is as near as a 2S-RN.
      {"rl.g_layers.2.weight": np.zeros((256, 256))},
      r"taken for original-fp.*\n  rl\.g_layers\.0\.weight: "
      r"expected \(256, 180\), found \(256, 52\)",
    ),
    (
      {"conv.conv2.weight": np.zeros((24, 24, 5, 5))},
      r"conv\.conv2\.weight: expected \(24, 24, 3, 3\), found \(24, 24, 5, 5\)",
    ),
    (
      {"conv.batchNorm3.running_var": None},
      r"conv\.batchNorm3\.running_var: expected \(24,\), found none",
    ),
    (
      {"text.lstm.weight_hh_l0": None, "rl.f_fc2.weight": None},
      r"weight_hh_l0: expected .* found none\n  rl\.f_fc2\.weight: expected",
    ),
    ({"rl.extra": np.zeros(3)}, r"rl\.extra: not expected, found \(3,\)"),
    ({"rl.f_fc3.bias": np.arange(5)}, r"f_fc3\.bias: expected floats.* int64"),
    ({"rl.f_fc3.bias": np.full(5, np.nan)}, r"rl\.f_fc3\.bias: holds NaN"),
    ({"rl.f_fc1.bias": None}, r"tensor rl\.f_fc1\.bias is missing"),
    ({"rl.g_layers.0.bias": None}, r"rl\.g_layers\.0\.bias is missing"),
    ({"text.wembedding.weight": None}, r"text\.wembedding\.weight is missing"),
    ({"text.wembedding.weight": np.zeros((8, 32))}, "8 rows, but .* 9 words"),
    ({"rl.f_fc3.bias": np.zeros(28)}, "28 rows, but .* 5 answers"),
    (
      {"text.lstm.weight_ih_l0_reverse": np.zeros((512, 32))},
      "bidirectional.*AVF-RN",
    ),
  ],
)
def test_tensors_that_do_not_fit_are_named(
  tmp_path, vocabulary, changes, message
):
  tensors = random_tensors(config_of("ir-fp")) | changes
  tensors = {k: v for k, v in tensors.items() if v is not None}
  write_state_dict(tmp_path / "a.pth", tensors)
  with pytest.raises(ValueError, match=message) as error:
    import_torch(tmp_path / "a.pth", vocabulary, tmp_path / "checkpoint")
  assert str(error.value).startswith(str(tmp_path / "a.pth"))
  assert not (tmp_path / "checkpoint").exists()


def test_a_bad_vocabulary_is_refused(tmp_path, vocabulary):
  write_state_dict(tmp_path / "a.pth", random_tensors(config_of("ir-sd")))
  vocabulary.write_text('{"questions": {"a": 0}}')
  with pytest.raises(ValueError, match=r"vocabulary\.json: not a vocabulary"):
    import_torch(tmp_path / "a.pth", vocabulary, tmp_path / "checkpoint")


def test_an_existing_checkpoint_is_kept(tmp_path, vocabulary):
  write_state_dict(tmp_path / "a.pth", random_tensors(config_of("ir-sd")))
  import_torch(tmp_path / "a.pth", vocabulary, tmp_path / "checkpoint")
  with pytest.raises(CheckpointError, match="already holds"):
    import_torch(tmp_path / "a.pth", vocabulary, tmp_path / "checkpoint")
  variables, meta = load_model(tmp_path / "checkpoint")
  with pytest.raises(CheckpointError, match="of step 0"):  # nor beside it
    write_model(
      tmp_path / "checkpoint",
      variables,
      config=meta["config"],
      vocabulary=meta["vocabulary"],
      step=7,
    )


def test_imports_and_exports_write_alone(tmp_path, vocabulary):
  write_state_dict(tmp_path / "a.pth", random_tensors(config_of("ir-sd")))
  folder, output = tmp_path / "checkpoint", tmp_path / "b.pth"
  busy = r"another run is writing here \(process \d+ on"
  with (
    exclusive(folder / ".import.lock"),
    pytest.raises(BusyError, match=f"{folder}: {busy}"),
  ):
    import_torch(tmp_path / "a.pth", vocabulary, folder)
  import_torch(tmp_path / "a.pth", vocabulary, folder)
  with writing(output), pytest.raises(BusyError, match=f"{output}: {busy}"):
    export_torch(folder, output)
  assert not output.exists()


def test_an_avf_rn_is_not_exported(tmp_path):
  config = importlib.import_module("configs.avf_fp").get_config()
  variables = {"params": {"a": np.zeros(1)}}
  write_model(
    tmp_path / "checkpoint", variables, config=config.to_dict(), vocabulary={}
  )
  with pytest.raises(ValueError, match="AVF-RN has no known PyTorch"):
    export_torch(tmp_path / "checkpoint", tmp_path / "x.pth")
  assert not (tmp_path / "x.pth").exists()


@pytest.mark.parametrize(
  ("name", "changes", "part"),
  [
    ("found_fp", {}, "object_finder"),
    (
      "original_fp",
      {
        "model.encoder.context.kind": "se",
        "model.encoder.context.stages": (2,),
      },
      "conv_encoder",
    ),
    ("original_fp", {"model.objects": "regions"}, "region_features"),
    ("original_sd", {"model.head.kind": "object_relation"}, "relation_core"),
  ],
)
def test_what_the_reference_does_not_have_is_not_exported(
  make_config, tmp_path, name, changes, part
):
  config = make_config(name, **{"model.aggregation": "sum"} | changes)
  write_network(tmp_path / "network", config)
  with pytest.raises(ValueError, match=f"another way .*{part}"):
    export_torch(tmp_path / "network", tmp_path / "x.pth")
  assert not (tmp_path / "x.pth").exists()


@pytest.mark.parametrize(
  ("name", "changes", "told"),
  [
    ("ir_fp_reference", {}, []),
    ("ir_fp_reference", {"model.mask_objects": True}, []),  # states only
    ("ir_sd_reference", {}, []),
    ("ir_fp_reference", {"model.padding": "absent"}, ["model.padding"]),
    (
      "ir_sd_reference",
      {"model.reverse_question": False, "model.mask_objects": True},
      ["model.reverse_question", "model.mask_objects"],
    ),
    ("ir_fp_reference", {"data.punctuation": "keep"}, ["data.punctuation"]),
  ],
)
def test_what_the_reference_would_read_otherwise_is_told(
  make_config, tmp_path, caplog, name, changes, told
):
  write_network(tmp_path / "network", make_config(name, **changes))
  export_torch(tmp_path / "network", tmp_path / "x.pth")
  assert re.findall("its ([a-z_.]+) is", caplog.text) == told


def test_safetensors_keep_types_shapes_and_order_of_axes(tmp_path):
  path = tmp_path / "x.safetensors"
  numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
  tensors = {
    "a": numbers,
    "transposed": numbers.T,
    "scalar": np.int64(7),
    "half": numbers.astype(ml_dtypes.bfloat16),
    "none": numbers[:0],
  }
  write_safetensors(path, tensors)
  assert_same(read_safetensors(path), tensors, ordered=False)
  content = path.read_bytes()
  with pytest.raises(ValueError, match=r"x\.safetensors: .*complex128"):
    write_safetensors(path, {"b": np.zeros(2, complex)})
  assert path.read_bytes() == content
  assert list(tmp_path.iterdir()) == [path]


def test_damaged_safetensors_are_named(tmp_path):
  path = tmp_path / "x.safetensors"
  write_safetensors(path, {"a": np.zeros(8, ml_dtypes.float8_e4m3fn)})
  unknown = path.read_bytes()
  write_safetensors(path, {"a": np.float32([[1, 2]]), "b": np.int64(7)})
  content = path.read_bytes()
  for damaged in (
    unknown,
    content[:-1],
    content + b"0",
    content[:20],
    b"",
    b"GIF89a" * 9,
    content.replace(b"F32", b"F99"),
  ):
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"x\.safetensors: not a safetensors"):
      read_safetensors(path)


@needs_weights
@pytest.mark.parametrize("network", RELEASED)
def test_published_weights_come_out_bit_for_bit(tmp_path, network):
  source = WEIGHTS / RELEASED[network]
  checkpoint = tmp_path / "checkpoint"
  assert import_torch(source, "clevr", checkpoint) == (network, 484_580)
  export_torch(checkpoint, tmp_path / "x.pth", prefix="module.")
  assert_same(read_state_dict(tmp_path / "x.pth"), read_state_dict(source))
  import_torch(tmp_path / "x.pth", "clevr", tmp_path / "again")
  first, second = load_model(checkpoint), load_model(tmp_path / "again")
  assert first[1]["hashes"] == second[1]["hashes"]


@needs_weights
@pytest.mark.skipif(not GOLD.is_dir(), reason=f"{GOLD} is absent")
@pytest.mark.parametrize("network", RELEASED)
def test_published_weights_answer_as_in_the_reference(tmp_path, network):
  """Equal answers and log-probabilities, from the image files on.

  Of the first images; GOLD_IMAGES=100 in the environment takes all.
  """
  import_torch(WEIGHTS / RELEASED[network], "clevr", tmp_path / "c")
  variables, config, vocabulary = load_network(tmp_path / "c")
  model = make_model(config, 82, 28)
  reference = json.loads((GOLD / "reference_predictions.json").read_text())
  rows = range(10 * int(os.environ.get("GOLD_IMAGES", "30")))
  # The columns that rn_jax.data gives to this split.
  longest = max(len(tokenize(q["question"])) for q in reference["questions"])
  columns = config.data.max_question_length or longest
  questions = np.zeros((len(rows), columns), np.int32)
  images = []
  for row in rows:
    entry = reference["questions"][row]
    words = [vocabulary["questions"][w] for w in tokenize(entry["question"])]
    questions[row, : len(words)] = words
    if row % 10 == 0:
      with Image.open(GOLD / "images/val" / entry["image_filename"]) as image:
        image = image.convert("RGB").resize((128, 128), Image.BILINEAR)
      images.append(np.asarray(image))
  batch = {
    "image": np.stack(images),
    "question": questions.reshape(len(images), 10, -1),
    "question_length": (questions > 0).sum(-1).reshape(len(images), 10),
  }
  logits, _ = jax.jit(model.apply)(variables, batch)
  found = np.asarray(jax.nn.log_softmax(logits)).reshape(-1, 28)
  expected = np.array(reference["log_probabilities"][network])[: len(rows)]
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
  answers = [reference["answers"][i] for i in found.argmax(-1)]
  assert answers == reference["predictions"][network][: len(rows)]
  assert list(vocabulary["answers"]) == reference["answers"]
