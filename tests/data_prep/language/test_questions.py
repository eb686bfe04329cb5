"""Questions have the answers they say, are fair, and read as English."""

import collections
import dataclasses
import random
import re

import pytest
from degenerate import is_degenerate
from places import SHARED

from data_prep.generation.scenes import sample_scene
from data_prep.language import (
  options,
  programs,
  questions,
  reading,
  search,
  templates,
)
from data_prep.language.templates import Description
from rn_jax.clevr import (
  ANSWERS,
  WORDS_AS_THEY_APPEAR,
  question_type,
  tokenize,
)

# The 82 tokens of CLEVR's questions, which published weights know.


@pytest.fixture(scope="module")
def language():
  return reading.load_language()


@pytest.fixture(scope="module")
def scenes():
  return [sample_scene(1, "val", i) for i in range(60)]


@pytest.fixture(scope="module")
def asked(language, scenes):
  """As many questions as each scene permits, in a list for each scene."""
  return list(questions.ask(scenes, language, random.Random(0), per_scene=90))


def _space(scene):
  return options.OptionSpace(programs.scene_table(scene), random.Random(0))


def test_every_program_gives_its_answer(scenes, asked):
  for scene, about in zip(scenes, asked, strict=True):
    table = programs.scene_table(scene)
    for question in about:
      assert programs.execute(question["program"], table) == question["answer"]


def test_unique_phrases_are_unique(scenes, asked):
  # Not by the executor that the search shares, but by comparing descriptions.
  checked = 0
  for scene, about in zip(scenes, asked, strict=True):
    for question in about:
      program = question["program"]
      if [n["function"] for n in program].count("unique") != 1:
        continue
      words = {}
      for node in program[1:]:
        if node["function"] == "unique":
          fitting = [o for o in scene["objects"] if words.items() <= o.items()]
          assert len(fitting) == 1
          checked += 1
          break
        if not node["function"].startswith("filter_"):
          break  # the phrase starts from other objects than all
        words[node["function"].removeprefix("filter_")] = node["value_inputs"][
          0
        ]
  assert checked > 100


def test_every_template_is_asked(language, asked):
  keys = "question_family_index", "template_filename", "template_index"
  seen = {tuple(q[key] for key in keys) for about in asked for q in about}
  assert seen == {(t.index, t.filename, t.family) for t in language.templates}
  # As in the released data: counted over all files, in the order of names.
  seen = sorted(seen)
  assert [index for index, _, _ in seen] == list(range(90))
  assert seen == sorted(seen, key=lambda family: family[1:])


def test_families_are_counted_over_files_that_are_not_used(language):
  names = ("zero_hop", "one_hop")
  some = reading.load_language(names=names).templates
  assert [t.filename for t in some[:1]] == ["zero_hop.json"]
  assert set(some) < set(language.templates)


def test_one_question_of_a_template_for_a_scene(asked):
  for about in asked:
    families = [q["question_family_index"] for q in about]
    assert len(families) == len(set(families))


def test_every_function_is_used(asked):
  used = {n["function"] for about in asked for q in about for n in q["program"]}
  assert used == set(programs.FUNCTIONS)


def test_text_is_clean(asked):
  for question in (q["question"] for about in asked for q in about):
    assert re.fullmatch(r"[A-Z][a-z]*( [a-z]+;?)* [a-z]+\?", question), question
    assert "a object" not in question
    assert not re.search(r"\b(\w+) \1\b", question), question


def test_vocabulary_is_clevrs(asked):
  text = " ".join(q["question"] for about in asked for q in about)
  assert set(tokenize(text)) == set(WORDS_AS_THEY_APPEAR)


def test_every_answer_can_be_asked_for(language):
  crowd = [
    sample_scene(0, "val", i, min_objects=10, max_objects=10) for i in range(9)
  ]
  for answer in ANSWERS:
    value = {"yes": True, "no": False}.get(answer, answer)
    value = int(answer) if answer.isdigit() else value
    assert any(
      search.find_instance(_space(scene), t, {value}, random.Random(0))
      for scene in crowd
      for t in language.templates
      if value in t.answers() and type(value) is type(t.answers()[0])
    ), answer


def test_relations_matter_where_they_are_checked(scenes, asked):
  checked = 0
  for scene, about in zip(scenes, asked, strict=True):
    table = programs.scene_table(scene)
    for question in about:
      if question["template_filename"] == "single_and.json":
        assert not is_degenerate(question["program"], table)
        checked += 1
  assert checked > 30


def _fillings(option):
  for _, word, descriptions in option.phrases:
    for i, description in enumerate(options.DESCRIPTIONS):
      if descriptions >> i & 1:
        yield options.Filling(word, description)


def _value(space, template, filled):
  """The value of the last node that is filled, by the plain executor."""
  begun = dataclasses.replace(template, nodes=template.nodes[: len(filled)])
  return programs.run(search.build_program(begun, filled), space.table)[-1]


def _answers_by_brute_force(space, template):
  """Every answer some instance has, found without shortcuts."""
  found = set()

  def extend(filled):
    node = template.nodes[len(filled)]
    fillings = [None]
    if node.slots:
      start = _value(space, template, filled[: node.inputs[0] + 1])
      # One of the descriptions that fit the same objects stands for all.
      fillings = {
        (filling.word, _fitting(space.table, filling.description)): filling
        for option in space.options(node, start)
        for filling in _fillings(option)
      }.values()
    for filling in fillings:
      longer = [*filled, filling]
      try:
        value = _value(space, template, longer)
      except programs.InvalidProgramError:
        continue
      if any(
        value == _value(space, template, longer[: i + 1]) for i in node.differs
      ):
        continue
      if len(longer) < len(template.nodes):
        extend(longer)
      elif not template.relations or not is_degenerate(
        search.build_program(template, longer), space.table
      ):
        found.add(value)

  extend([])
  return found


def _fitting(table, description):
  objects = table.everything
  for name, value in options.named(description).items():
    objects &= table.having[name][value]
  return objects


@pytest.mark.parametrize(
  ("name", "families"),
  [
    ("one_hop", (0, 1, 3)),
    ("compare_integer", (0, 3)),
    ("comparison", (1, 2)),
    ("same_relate", (9, 18)),
    ("single_and", (0, 1)),
    ("single_or", (1,)),
  ],
)
def test_search_finds_what_brute_force_finds(name, families):
  every = reading.load_language(names=(name,)).templates
  for index in range(2):
    scene = sample_scene(2, "val", index, min_objects=3, max_objects=3)
    space = _space(scene)
    for template in (every[i] for i in families):
      reachable = _answers_by_brute_force(space, template)
      for answer in template.answers():
        instance = search.find_instance(
          space, template, {answer}, random.Random(0)
        )
        assert (instance is not None) == (answer in reachable), answer


def test_options_lead_to_the_values_they_say(scenes, language):
  checked = 0
  for scene in scenes[:3]:
    space = _space(scene)
    for template in language.templates:
      node = template.nodes[1]
      if not node.slots:
        continue
      for option in space.options(node, space.table.everything):
        assert option.weight == pytest.approx(
          sum(w * d.bit_count() for w, _, d in option.phrases)
        )
        for filling in _fillings(option):
          program = search.build_program(
            dataclasses.replace(template, nodes=template.nodes[:2]),
            [None, filling],
          )
          assert programs.run(program, space.table)[-1] == option.value
          assert node.empty.isdisjoint(options.named(filling.description))
          checked += 1
  assert checked > 1000


def test_a_tenth_of_the_relations_says_nothing(scenes, language):
  node = next(
    n
    for t in language.templates
    for n in t.nodes
    if n.function == "relate_filter_unique" and not n.empty
  )
  weights = collections.Counter()
  for scene in scenes:
    space = _space(scene)
    for anchor in range(len(scene["objects"])):
      for option in space.options(node, anchor):
        for phrases in option.phrases:
          weight, relation, _ = phrases
          side = space.table.related[relation][anchor]
          alone = option._replace(phrases=[phrases])
          for filling in _fillings(alone):
            fitting = _fitting(space.table, filling.description)
            assert fitting & side == 1 << option.value
            weights[fitting & side == fitting] += weight
  assert weights[True] / weights.total() == pytest.approx(0.1, abs=0.01)


def test_fillings_are_drawn_by_their_weights():
  phrases = [(1.0, "left", 0b1001), (2.0, "right", 0b110)]
  option = options.Option(6.0, 1, None, phrases)
  rng = random.Random(0)
  drawn = collections.Counter(
    options.draw_filling(option, rng) for _ in range(6000)
  )
  expected = {
    options.Filling(word, options.DESCRIPTIONS[i]): times
    for word, i, times in [
      ("left", 0, 1000),
      ("left", 3, 1000),
      ("right", 1, 2000),
      ("right", 2, 2000),
    ]
  }
  assert set(drawn) == set(expected)
  for filling, times in expected.items():
    assert abs(drawn[filling] - times) < 150


def test_degenerate_instances_are_refused():
  # Two objects: whatever is right of the left one is all there else is.
  scene = {
    "objects": [
      {"size": s, "color": "red", "material": "metal", "shape": "cube"}
      for s in ("large", "small")
    ],
    "relationships": {
      "right": [[1], []],
      "left": [[], [0]],
      "behind": [[1], []],
      "front": [[], [0]],
    },
  }
  raw = {
    "text": ["How many <Z2> things are <R> the <Z> thing?"],
    "params": [
      {"name": "<R>", "type": "Relation"},
      {"name": "<Z>", "type": "Size"},
      {"name": "<Z2>", "type": "Size"},
    ],
    "nodes": [
      {"type": "scene", "inputs": []},
      {"type": "filter_size", "inputs": [0], "side_inputs": ["<Z>"]},
      {"type": "unique", "inputs": [1]},
      {"type": "relate", "inputs": [2], "side_inputs": ["<R>"]},
      {"type": "filter_size", "inputs": [3], "side_inputs": ["<Z2>"]},
      {"type": "count", "inputs": [4]},
    ],
    "constraints": [],
  }
  template = reading.parse_template(raw, "x.json", 0, 0)
  # "How many small things are right of the large one": 1 with or without.
  assert (
    search.find_instance(_space(scene), template, {1}, random.Random(0)) is None
  )
  assert search.find_instance(_space(scene), template, {0}, random.Random(0))


def test_the_example_of_templates(language):
  things = ("small red cube", "large blue sphere", "large green cylinder")
  keys = ("size", "color", "shape")
  scene = {
    "objects": [
      {**dict(zip(keys, thing.split(), strict=True)), "material": "metal"}
      for thing in things
    ],
    "relationships": {
      "right": [[1], [], [0, 1]],
      "left": [[2], [0, 2], []],
      "front": [[], [0], [0, 1]],
      "behind": [[1, 2], [2], []],
    },
  }
  (template,) = (
    t
    for t in language.templates
    if (t.filename, t.family) == ("one_hop.json", 3)
  )
  expected = search.Instance(
    "blue",
    [
      None,
      options.Filling(None, Description(None, "red", None, "cube")),
      options.Filling("right", Description("large", None, None, None)),
      None,
    ],
  )
  rng = random.Random(0)
  found = [
    search.find_instance(_space(scene), template, {"blue"}, rng)
    for _ in range(500)
  ]
  assert expected in found
  program = search.build_program(template, expected.fillings)
  steps = [" ".join([n["function"], *n["value_inputs"]]) for n in program]
  text = "What color is the big thing right of the red block?"
  words = questions._slot_words(template, expected)
  assert text in {
    questions.describe(template, words, language.synonyms, rng)
    for _ in range(2000)
  }
  for example in (", ".join(steps), text):
    assert example in " ".join(templates.__doc__.split())


def test_allowed_answers_by_hand():
  allowed = questions.allowed_answers
  assert allowed({True: 0, False: 0}) == {True, False}
  assert allowed({True: 1, False: 0}) == {False}
  assert allowed({True: 11, False: 10}) == {True, False}
  assert allowed({True: 12, False: 10}) == {False}
  # None beyond five times the median, which counts as five at least.
  assert allowed({0: 26, 1: 26, 2: 1, 3: 0, 4: 0}) == {2, 3, 4}


def test_answers_and_types_are_balanced(language):
  scenes = [sample_scene(5, "train", i) for i in range(200)]
  about = list(questions.ask(scenes, language, random.Random(1)))
  assert all(len(a) == 10 for a in about)
  flat = [q for a in about for q in a]
  families = collections.Counter(q["question_family_index"] for q in flat)
  assert max(families.values()) <= 1.2 * len(flat) / len(families)
  kinds = collections.Counter(
    question_type(q["program"][-1]["function"]) for q in flat
  )
  shares = {k: n / len(flat) for k, n in kinds.items()}
  assert shares == pytest.approx(  # of CLEVR's public generator
    {
      "query_attribute": 0.362,
      "count": 0.236,
      "compare_attribute": 0.176,
      "exist": 0.137,
      "compare_number": 0.088,
    },
    abs=0.03,
  )
  answers = collections.Counter(q["answer"] for q in flat)
  assert answers["yes"] / answers["no"] == pytest.approx(1, abs=0.15)
  assert answers["small"] / answers["large"] == pytest.approx(1, abs=0.15)
  assert answers["1"] > answers["2"] > answers["3"]


def _template(text, **changes):
  slots = {"Z": "Size", "C": "Color", "M": "Material", "S": "Shape"}
  first, second = ([f"<{s}{i}>" for s in slots] for i in ("", 2))
  raw = {
    "text": [text],
    "params": [
      {"name": f"<{slot}{i}>", "type": kind}
      for i in ("", 2)
      for slot, kind in slots.items()
    ],
    "nodes": [
      {"type": "scene", "inputs": []},
      {"type": "filter_unique", "inputs": [0], "side_inputs": first},
      {"type": "same_size", "inputs": [1]},
      {"type": "filter_count", "inputs": [2], "side_inputs": second},
    ],
    "constraints": [],
  }
  return reading.parse_template({**raw, **changes}, "x.json", 0, 0)


def test_describe(language):
  template = _template("Is there [really] a <Z> <C> <M> <S>?")
  filled = {"<Z>": "", "<C>": "", "<M>": "", "<S>": "thing"}
  synonyms = {"thing": ["thing", "object"]}
  rng = random.Random(0)
  texts = {
    questions.describe(template, filled, synonyms, rng) for _ in range(50)
  }
  assert texts == {
    "Is there a thing?",
    "Is there an object?",
    "Is there really a thing?",
    "Is there really an object?",
  }


@pytest.mark.parametrize(
  ("first", "second", "text"),
  [
    ("red", "", "Is there another thing than the red thing?"),
    ("red", "red", "Is there another red thing than the red thing?"),
    ("red", "blue", "Is there a blue thing than the red thing?"),
  ],
)
def test_another_only_where_there_can_be_another(first, second, text):
  template = _template("Is there another <C2> <S2> than the <C> <S>?")
  filled = {"<C>": first, "<C2>": second, "<S>": "thing", "<S2>": "thing"}
  assert questions.describe(template, filled, {}, random.Random(0)) == text


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"nodes": [{"type": "sum", "inputs": []}]}, "sum"),
    ({"nodes": [{"type": "scene", "inputs": []}]}, "does not answer"),
    ({"nodes": [{"type": "count", "inputs": [0]}]}, "bad inputs"),
    (
      {
        "nodes": [
          {"type": "scene", "inputs": []},
          {"type": "filter_size", "inputs": [0], "side_inputs": ["<C>"]},
        ]
      },
      "takes",
    ),
    ({"constraints": [{"type": "ODD", "params": []}]}, "ODD"),
    ({"text": "How many <C9>s?"}, "<C9>"),
    ({"params": [{"name": "<X>", "type": "Size"}]}, "<X>"),
  ],
)
def test_malformed_templates(changes, message):
  with pytest.raises(ValueError, match=message):
    _template(**{"text": "How many <S>s?", **changes})


def test_language_folder_errors_name_the_file(tmp_path):
  with pytest.raises(FileNotFoundError, match="no language folder"):
    reading.load_language(tmp_path)
  with pytest.raises(FileNotFoundError, match=r"four_hop\.json"):
    reading.load_language(names=("four_hop",))
  (tmp_path / "templates").mkdir()
  (tmp_path / "synonyms.json").write_text("{}")
  path = tmp_path / "templates" / "odd.json"
  path.write_text("[")
  with pytest.raises(ValueError, match=r"odd\.json is no JSON"):
    reading.load_language(tmp_path)
  path.write_text('[{"params": []}]')
  with pytest.raises(ValueError, match=r"odd\.json, template 0.*nodes"):
    reading.load_language(tmp_path)


def test_clevrs_own_templates(scenes):
  folder = SHARED / "clevr_language"
  if not folder.exists():
    pytest.skip("CLEVR's templates are not here")
  clevr = reading.load_language(folder)
  assert len(clevr.templates) == 90
  about = list(questions.ask(scenes, clevr, random.Random(0), per_scene=90))
  seen = set()
  for scene, asked in zip(scenes, about, strict=True):
    table = programs.scene_table(scene)
    for q in asked:
      seen.add(q["question_family_index"])
      assert programs.execute(q["program"], table) == q["answer"]
      assert set(tokenize(q["question"])) <= set(WORDS_AS_THEY_APPEAR)
  assert len(seen) == 90
