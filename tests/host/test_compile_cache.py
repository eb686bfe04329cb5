"""What one process compiled, the next one does not."""

import os
import subprocess
import sys
import types

import jax
import pytest

from rn_jax.host import compile_cache

PROGRAM = """
import jax
from rn_jax.host import compile_cache

events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
compile_cache.enable(None)
jax.jit(lambda x: x * 3 + 1)(2.0)
print(sum(event.endswith("cache_hits") for event in events))
"""


def count_hits(cache):
  environment = dict(os.environ, XDG_CACHE_HOME=str(cache), JAX_PLATFORMS="cpu")
  del environment["JAX_COMPILATION_CACHE_DIR"]
  return int(
    subprocess.run(
      [sys.executable, "-c", PROGRAM],
      env=environment,
      check=True,
      stdout=subprocess.PIPE,
    ).stdout
  )


def test_a_second_process_finds_the_program(tmp_path):
  assert count_hits(tmp_path) == 0
  kept = list(tmp_path.glob("rn_jax/xla/*/jit*"))
  assert kept
  assert count_hits(tmp_path) == 1
  # A damaged program is compiled again.
  for path in kept:
    path.write_bytes(path.read_bytes()[:100])
  assert count_hits(tmp_path) == 0


@pytest.fixture
def settings(monkeypatch):
  found = {"jax_compilation_cache_dir": None}
  monkeypatch.setattr(jax.config, "update", found.__setitem__)
  return found


def test_what_jax_was_told_stands(settings):
  assert jax.config.jax_compilation_cache_dir  # by conftest.py
  compile_cache.enable(None)
  assert settings == {"jax_compilation_cache_dir": None}


def test_a_user_without_a_home_compiles_again(monkeypatch, caplog):
  found = {}
  config = types.SimpleNamespace(
    jax_compilation_cache_dir=None, update=found.__setitem__
  )

  def no_home():
    raise RuntimeError("Could not determine home directory.")

  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  monkeypatch.setattr("pathlib.Path.home", no_home)
  monkeypatch.setattr(
    compile_cache, "jax", types.SimpleNamespace(config=config)
  )
  compile_cache.enable(None)
  assert found == {"jax_compilation_cache_dir": None}
  assert "Compiled programs are not kept: no place for a cache" in caplog.text


@pytest.mark.parametrize(("folder", "found"), [("here", "here"), ("", None)])
def test_a_folder_or_none(folder, found, settings):
  settings.clear()
  compile_cache.enable(folder)
  assert settings == {"jax_compilation_cache_dir": found}
