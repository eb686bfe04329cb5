"""Distances and descriptors that Beam's workers make are those made here."""

import numpy as np
import pytest
from small_network import write_network
from small_scenes import generated

from rn_jax.retrieval import extract as extract_module
from rn_jax.retrieval import ground_truth
from rn_jax.retrieval.describe import part
from rn_jax.retrieval.describe.features import load_features
from rn_jax.retrieval.extract import extract_command

pytest.importorskip("apache_beam")

BEAM = {"beam_options": "--runner=DirectRunner"}


def test_distances(tmp_path, capsys):
  scenes = generated(20)
  for name, how in (("here", {"workers": 1}), ("beam", BEAM)):
    ground_truth.compute(scenes, tmp_path / f"{name}.npz", **how)
  assert (tmp_path / "here.npz").read_bytes() == (
    tmp_path / "beam.npz"
  ).read_bytes()
  assert f"Beam: {20 * 20} pairs\n" in capsys.readouterr().out
  assert len(list(tmp_path.iterdir())) == 2


def test_descriptors(make_config, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(extract_module, "IMAGES_PER_PART", 2)
  write_network(tmp_path / "network", make_config("ir_sd"))
  found = []
  for name, how in (("here", {}), ("beam", BEAM)):
    path = extract_command(tmp_path / "network", tmp_path / name, **how)
    found.append(load_features(path))
    assert [p.name for p in path.parent.iterdir()] == ["features_val.npz"]
  here, beam = found
  assert beam.descriptors.keys() == here.descriptors.keys()
  for name, x in here.descriptors.items():
    np.testing.assert_array_equal(beam.descriptors[name], x)
  np.testing.assert_array_equal(beam.image_filename, here.image_filename)
  for features in found:
    features.metadata.pop("created")
  assert beam.metadata == here.metadata
  assert "Beam: 5 described scenes, 0 refusals\n" in capsys.readouterr().out


def test_workers_of_other_versions_are_refused(
  make_config, tmp_path, monkeypatch
):
  write_network(tmp_path / "network", make_config("ir_sd"))

  def load_other(*arguments):
    extractor = load(*arguments)
    extractor.metadata["versions"]["jax"] = "0.0"
    return extractor

  load = part.load_extractor
  monkeypatch.setattr(part, "load_extractor", load_other)
  with pytest.raises(ValueError, match=r"a worker finds .*'jax': '0\.0'"):
    extract_command(tmp_path / "network", tmp_path / "out", **BEAM)
