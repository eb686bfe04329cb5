r"""Explains the distance of two scenes: matched objects and what differs.

    python -m rn_jax.retrieval.explain --images=0,7 \
        --scenes=CLEVR_v1.0/scenes/CLEVR_val_scenes.json

prints which object became which, what that costs, and the relations that are
the other way round; --output=FILE.json writes the same for a program. The
scenes may also come from --records_dir and --split, or from --ground_truth.
The distance is v2 or exact: v1 is a matter of ties.
"""

import json

from absl import flags

from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.retrieval.scene_graphs.bipartite import MATCHES
from rn_jax.retrieval.scene_graphs.explanation import METHODS, explain
from rn_jax.retrieval.scene_graphs.ground_truth_file import load_ground_truth
from rn_jax.retrieval.scene_graphs.scene_graph import SceneError, load_scenes

_SAYS = {
  "right": ("is right of", "is left of"),
  "front": ("is in front of", "is behind"),
}


def as_text(explained: dict) -> str:
  """Writes what `explain` returns down for people."""
  one, other = (image["filename"] for image in explained["images"])
  rule = f"{explained['method']} {explained['match']}"
  rule += " (quirk)" if explained["quirk"] else ""
  lines = [f"{one} -> {other}: {rule} distance {explained['distance']:g}", ""]
  names = [{}, {}]
  for pair in explained["matched"]:
    for known, number, name in zip(
      names, pair["objects"], pair["names"], strict=True
    ):
      known[number] = f"{number} {name}"
    line = f"{names[0][pair['objects'][0]]} -> {names[1][pair['objects'][1]]}"
    changes = [f"{x} to {y}" for x, y in pair["differences"].values()]
    costs = (
      [f"{pair['attributes']:g} for {', '.join(changes)}"] if changes else []
    )
    if pair.get("relations"):
      costs.append(f"{pair['relations']:g} for relations")
    lines.append(f"{line}: {'; '.join(costs) or 'alike'}")
  for key in ("deleted", "inserted"):
    lines += [f"{key}: {o['object']} {o['name']}" for o in explained[key]]
  if explained["inverted"]:
    lines += ["", "The other way round:"]
  for relation in explained["inverted"]:
    i, k = relation["objects"]
    x, y = relation["matches"]
    says, opposite = _SAYS[relation["relation"]]
    lines.append(
      f"{names[0][i]} {says} {names[0][k]}, but {names[1][x]} {opposite} "
      f"{names[1][y]}"
    )
  lines += ["", "Terms:"]
  lines += [
    f"{term['cost']:8.2f}  {term['what']}" for term in explained["terms"]
  ]
  lines.append(f"{explained['distance']:8.2f}  in all")
  return "\n".join(lines)


def _main(
  images: list[str],
  scenes: str | None,
  records_dir: str | None,
  split: str,
  ground_truth: str | None,
  output: str | None,
  **rule,
) -> None:
  if len(images) != 2 or not all(image.isdigit() for image in images):
    raise SceneError("--images wants two image indices, such as 0,7")
  if ground_truth:
    graphs = load_ground_truth(ground_truth).scenes
  else:
    graphs = load_scenes(scenes, records_dir, split)
  image, other = map(int, images)
  explained = explain(graphs, image, other, **rule)
  if output:
    with replacing(output) as temporary:
      temporary.write_text(json.dumps(explained, indent=1) + "\n")
  print(as_text(explained))


if __name__ == "__main__":
  cli.run(
    _main,
    flags.DEFINE_list("images", None, "Two image indices.", required=True),
    cli.path_flag(
      "scenes",
      None,
      "Scenes file, CLEVR_<split>_scenes.json.",
      addresses=True,
    ),
    cli.path_flag(
      "records_dir",
      None,
      "Records folder with the scenes, in place of --scenes.",
      addresses=True,
    ),
    flags.DEFINE_string("split", "val", "Split of the records to read."),
    cli.path_flag(
      "ground_truth",
      None,
      "Ground-truth file with the scenes, in place of --scenes.",
    ),
    flags.DEFINE_enum("method", "v2", METHODS, "Rule of the distance."),
    flags.DEFINE_enum(
      "match",
      "soft",
      MATCHES,
      "What unlike objects cost: soft a quarter per attribute, hard 1.",
    ),
    flags.DEFINE_bool(
      "quirk", False, "Compute v2 as its published code did, by accident."
    ),
    cli.path_flag("output", None, "File to write the same to, .json."),
  )
