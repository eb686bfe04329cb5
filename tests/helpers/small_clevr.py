"""Writes small CLEVR folders, for the tests of what reads them."""

import json


def make_question(index, text, answer, function, split="train", **more):
  return {
    "image_index": index,
    "image_filename": f"CLEVR_{split}_{index:06d}.png",
    "split": split,
    "question": text,
    "answer": answer,
    "question_family_index": 17,
    "program": [
      {"function": "scene", "inputs": [], "value_inputs": []},
      {"function": function, "inputs": [0], "value_inputs": []},
    ],
    **more,
  }


def make_scene(index, split="train"):
  return {
    "image_index": index,
    "image_filename": f"CLEVR_{split}_{index:06d}.png",
    "split": split,
    "objects": [
      {
        "3d_coords": [k + 0.25, -1.5, 0.7],
        "pixel_coords": [100 + k, 50, 9.5],
        "rotation": 30.0 * k,
        "color": "red",
        "material": "metal",
        "shape": "cube",
        "size": "small",
      }
      for k in range(2)
    ],
    "relationships": {
      "left": [[], [0]],
      "right": [[1], []],
      "front": [[1], []],
      "behind": [[], [0]],
    },
  }


def make_questions(num_scenes, split="train"):
  questions = []
  for i in range(num_scenes):
    questions += [
      make_question(i, "How many cubes?", str(i % 3), "count", split),
      make_question(i, "Any red cubes?", "yes", "exist", split),
    ]
  return questions


def write_clevr(root, split, scenes, questions, image=None):
  for kind, values in (("scenes", scenes), ("questions", questions)):
    (root / kind).mkdir(parents=True, exist_ok=True)
    if values is not None:
      path = root / kind / f"CLEVR_{split}_{kind}.json"
      path.write_text(json.dumps({"info": {"split": split}, kind: values}))
  if image:
    folder = root / "images" / split
    folder.mkdir(parents=True, exist_ok=True)
    for item in {q["image_filename"] for q in questions}:
      image.save(folder / item)
  return root
