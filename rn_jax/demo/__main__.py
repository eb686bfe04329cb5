"""Shows a page in the browser to try a network on.

    python -m rn_jax.demo --checkpoint=runs/ir_fp --index=INDEX

Without --checkpoint it has the project's own networks. It needs Gradio:
pip install 'rn_jax[demo]'. The page is for whoever can reach --host, which is
this machine alone unless told otherwise.
"""

import importlib.util
import logging
import threading
from pathlib import Path

from absl import flags

import rn_jax
from rn_jax.host import cli

_PRETRAINED = Path(rn_jax.__file__).parents[1] / "pretrained"
_OWN = ("original_sd", "found_fp")


def _main(
  checkpoint: str | None,
  index: str | None,
  scenes: str | None,
  host: str,
  port: int | None,
  compilation_cache: str | None,
) -> None:
  if importlib.util.find_spec("gradio") is None:
    raise ValueError("the page needs Gradio: pip install 'rn_jax[demo]'")
  if scenes and not index:
    raise ValueError("--scenes says what differs from images of an --index")
  for library in ("faiss", "httpx"):  # They tell what they load and ask for.
    logging.getLogger(library).setLevel(logging.WARNING)
  import jax

  # The one place where rn_jax takes from data_prep: a program puts parts
  # together that do not know each other.
  from data_prep.generation import one_scene
  from data_prep.language.understanding import right_answer
  from rn_jax.demo.desk import Desk
  from rn_jax.demo.page import launch, make_page
  from rn_jax.demo.similar import open_similar
  from rn_jax.demo.subjects import SceneTools
  from rn_jax.host import compile_cache
  from rn_jax.run_log import quiet_backends

  quiet_backends()
  compile_cache.enable(compilation_cache)
  # As exact as asking, see launch.py.
  jax.config.update("jax_default_matmul_precision", "highest")
  tools = SceneTools(
    one_scene.make,
    one_scene.complete,
    one_scene.draw,
    one_scene.suggest,
    right_answer,
  )
  checkpoints = {name: str(_PRETRAINED / name) for name in _OWN}
  if checkpoint:
    checkpoints = {Path(checkpoint).resolve().name: checkpoint}
  desk = Desk(
    checkpoints, tools, open_similar(index, scenes) if index else None
  )
  page = make_page(desk)  # loads the networks, so that mistakes are told here
  # So that the first new scene need not wait for the compiler.
  threading.Thread(
    target=lambda: one_scene.draw(one_scene.make(0)), daemon=True
  ).start()
  print(f"The page is at {launch(page, host, port)}", flush=True)
  page.block_thread()


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag(
      "checkpoint",
      None,
      "The network to ask; not given: the project's own, to choose from.",
    ),
    cli.path_flag("index", None, "Index to show the most alike images of."),
    cli.path_flag(
      "scenes",
      None,
      "Scenes file of the index's images, CLEVR_<split>_scenes.json, to say "
      "what differs; not given: the records that it was made of.",
    ),
    flags.DEFINE_string(
      "host", "127.0.0.1", "Address to listen on; 0.0.0.0: all of this machine."
    ),
    flags.DEFINE_integer(
      "port",
      None,
      "Port to listen on; not given: the first free one from 7860.",
      lower_bound=1,
      upper_bound=65535,
    ),
    cli.path_flag(
      "compilation_cache",
      None,
      "Folder for compiled programs; see launch.py. Empty: they are not kept.",
    ),
  )
