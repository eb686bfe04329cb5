"""Every key of a config, with its meaning and its default.

Experiments start from it by way of configs/common.py, and so do the configs of
imported networks.

Values computed from others are computed in code, never here, so that an
override on the command line reaches all that depends on it. Values that may be
"auto" or None are of type object; settings.py says what they stand for.
"""

import ml_collections
from ml_collections.config_dict import FieldReference

# Widths of the convolutions that find objects; see train_finder.py.
FINDER_CHANNELS = (16, 32, 64, 64, 64, 64, 64)


def get_config() -> ml_collections.ConfigDict:
  """Returns the defaults: an RN with corrected semantics, no data yet."""
  config = ml_collections.ConfigDict()

  # Root of every random stream: parameters, data order, dropout, augmentation.
  config.seed = 0

  config.model = model = ml_collections.ConfigDict()
  # "pixels" or "states".
  model.inputs = "states"
  # Width of each convolution; from pixels only.
  model.conv_channels = (24, 24, 24, 24)
  # A block behind some convolutions, counted from 0, in which each cell learns
  # of others: "none", "se", "ese", "gc", "snl", "nl" or "lr"; see
  # docs/relations.md. The ratio is the width of what "se", "gc" and "nl"
  # compute with, by that of the convolution.
  model.encoder = ml_collections.ConfigDict()
  model.encoder.context = context = ml_collections.ConfigDict()
  context.kind = "none"
  context.stages = (2, 3)
  context.ratio = 0.25
  # What is related, from pixels: "cells", all of them; "regions", a coarser
  # grid with so many on each side, of learned features; "found", the objects
  # that rn_jax/train_finder.py teaches cells to find, for which only the first
  # three convolutions halve the picture.
  model.objects = "cells"
  model.regions = 4
  # One-hot attributes; False: the reference's raw indices. States only.
  model.one_hot_objects = True
  # Leave out pairs with a padding row; False: the reference counts them.
  model.mask_objects = True
  model.embedding_size = 32
  model.lstm_units = 128
  model.bidirectional = False
  # Read questions from their last word to their first.
  model.reverse_question = True
  # Read a question's words alone, "absent", or the padding as well: before
  # them, "front", as the reference does, or "behind".
  model.padding = "absent"
  # g_theta: width and dropout rate of each layer.
  model.g_units = (256, 256, 256, 256)
  model.g_dropout = (0.0, 0.0, 0.0, 0.0)
  # From the objects of a scene to its vector: "pairwise", g_theta over pairs;
  # "object_relation", layers of object relations; "object_relation_pairwise",
  # such layers and then pairs.
  model.head = head = ml_collections.ConfigDict()
  head.kind = "pairwise"
  # Object relations: how many layers, and their objects' features.
  head.layers = 2
  head.width = 256
  # Relations of a layer, which divide the width, and the width of their keys.
  head.num_relations = 16
  head.key_width = 16
  # How boxes of objects are compared: "log_abs", "signed" or "none".
  head.geometry = "log_abs"
  # Whose size distances are measured in: "query" or "key".
  head.denominator = "query"
  # "sum" or "mean" over objects; without pairs only.
  head.pooling = "sum"
  # Start as if there were no object relations.
  head.zero_init = False
  # f_phi: width and dropout rate of each hidden layer.
  model.f_units = (256, 256)
  model.f_dropout = (0.0, 0.5)
  # Logits beside those of the answers, for none: Santoro et al. 2017 have 29
  # where CLEVR has 28 answers. They share in the softmax and are never given.
  model.spare_answers = 0
  # The layer at whose input the question joins, counted through g (or object
  # relations without pairs) and f.
  model.question_layer = 0
  # "sum", "mean" or "weighted" (one learned scalar per pair position). The sum
  # over the 4,096 pairs of 64 cells is so large that a fresh network's loss is
  # hundreds of nats; the mean starts as a guess does, at the logarithm of 28.
  model.aggregation = "sum"
  # Scenes related at a time. None: all at once; "auto": on a CPU as many as its
  # cache holds, all elsewhere.
  model.scenes_per_block = FieldReference("auto", field_type=object)
  # Type of the products; parameters and reductions stay in float32.
  model.dtype = "float32"

  config.data = data = ml_collections.ConfigDict()
  # Records folder made by data_prep.convert_clevr.
  data.dir = ""
  # CoGenT: "trainA" and "valA".
  data.train_split = "train"
  data.eval_split = "val"
  # Side of the square images, from pixels only; records of another size are
  # refused.
  data.image_size = 128
  # Rows of a state description. CLEVR has at most 10 objects.
  data.max_objects = 10
  # Read the boxes of objects from annotated records, in place of where CLEVR's
  # camera would see them; for heads that compare boxes, states only.
  data.boxes = False
  # Columns of a question array; None: the longest question of the split.
  data.max_question_length = FieldReference(None, field_type=object)
  # Marks of a question: "split", words of their own; "keep", part of the word
  # before them ("color?"); "drop", left out.
  data.punctuation = "split"
  # Questions about a scene that share a training batch, and with it the
  # question-free layers' work; 1 draws all questions independently.
  data.questions_per_scene = 1
  # Stages that come before the mixture of all questions, for example
  # ("zero_hop: 250000", "zero_hop comparison: 2000000 or 0.98"): template files
  # or types of questions, how many questions are read, and the training
  # accuracy at which the stage ends earlier.
  data.curriculum = ()
  # Draw training questions so that all answers are alike often, rare ones
  # repeatedly; with questions_per_scene = 1.
  data.balance_answers = False
  # Keep the data in device memory and send indices. False: the host gathers
  # each batch, for data that do not fit there.
  data.on_device = True
  # Let each of several processes read, decode and train on its part of the
  # shards only, in an order of its own; with on_device = False and a
  # max_question_length. See docs/scale.md.
  data.own_shards = False
  # Keep decoded arrays in a file beside the records, or else in the user's
  # cache folder, and map it into memory; False: decode at every start, into
  # memory. 70,000 images of 128x128 take 3.5 GB.
  data.cache = True
  # Random crop and rotation of training images.
  data.augment = False
  # Exchanges of training scenes and their questions: "colors" (from states),
  # each with another, and "mirror", left with right.
  data.symmetries = ()

  # Built-in data, made when data.dir is empty; 0 scenes: none. From pixels
  # there are pictures of data.image_size. See data_prep/generate.py for each
  # key.
  config.generate = generate = ml_collections.ConfigDict()
  generate.num_train_scenes = 0
  generate.num_val_scenes = 0
  generate.seed = 0
  generate.templates = ()
  generate.min_objects = 3
  generate.max_objects = 10
  generate.min_visible_pixels = 0
  generate.language_dir = ""

  config.optimizer = optimizer = ml_collections.ConfigDict()
  # "adam", "nadam", "lion", "muon", "rmsprop" or "sgd" (with momentum).
  optimizer.name = "adam"
  optimizer.momentum = 0.9
  # "doubling", "constant", "cosine" (linear warm-up, a hold, then cosine),
  # "restarts" (cosine again and again), "exponential", "step", or "plateau"
  # (as the validation loss says).
  optimizer.schedule = "doubling"
  optimizer.learning_rate = 5e-4
  # Doubling: where it starts, and epochs between doublings.
  optimizer.initial_learning_rate = 5e-6
  optimizer.double_every = 20.0
  # Stop at exactly learning_rate; False: at the first doubling that reaches
  # it, as the reference does (6.4e-4 in place of 5e-4).
  optimizer.clamp = False
  # Cosine: epochs of linear warm-up.
  optimizer.warmup_epochs = 1.0
  # Cosine: epochs at the full rate between warm-up and fall.
  optimizer.hold_epochs = 0.0
  # Restarts: epochs of each cosine. Exponential, step: epochs in which the rate
  # is multiplied by decay_rate, little by little or in their end.
  optimizer.decay_epochs = 20.0
  # Plateau: multiplied when the validation loss has not fallen, by at least a
  # ten-thousandth, for so many evaluations; see train.eval_every.
  optimizer.patience = 10
  optimizer.decay_rate = 0.5
  # Cosine, restarts: the rate at the end. Plateau: the lowest.
  optimizer.final_learning_rate = 0.0
  # L2 added to the gradient; with decoupled_weight_decay, AdamW's decay.
  optimizer.weight_decay = 1e-4
  optimizer.decoupled_weight_decay = False
  # Global norm to which gradients are clipped, before the L2; None: not.
  optimizer.clip_norm = FieldReference(50.0, field_type=object)

  config.train = train = ml_collections.ConfigDict()
  # Questions per update, over all devices.
  train.batch_size = 640
  # Epochs between doublings of batch_size, up to max_batch_size; 0: it stays.
  train.double_batch_every = 0.0
  train.max_batch_size = 640
  # Devices into which launch.py divides a CPU; "auto": one for each core, which
  # doubles the speed of small networks and costs large ones some.
  train.cpu_devices = FieldReference(1, field_type=object)
  # Updates of one call of the compiled step; "auto": one on a CPU, several on
  # accelerators that hold the data.
  train.updates_per_call = FieldReference("auto", field_type=object)
  train.num_epochs = 350.0
  # Minutes that training may take; None: as long as it does. Where a trial at
  # its start says that it would be longer, epochs, schedule and curriculum are
  # made shorter, all in the same proportion.
  train.max_minutes = FieldReference(None, field_type=object)
  # Run or checkpoint whose layers a fresh run begins with; several with commas
  # between.
  train.init_from = ""
  # "question_free": what is made of pairs before the question joins; "all":
  # whatever fits, words and answers by their names.
  train.init_parts = "question_free"
  # Epochs between evaluations on the validation split; each is followed by a
  # checkpoint.
  train.eval_every = 1.0
  # Minutes between checkpoints besides those, looked at with each log line.
  train.checkpoint_minutes = 10.0
  # Updates between log lines.
  train.log_every = 100

  config.eval = evaluation = ml_collections.ConfigDict()
  # Scenes per step over all devices, rounded up to a multiple of them; each
  # comes with ten questions.
  evaluation.batch_size = 64
  return config


def use_reference_semantics(config: ml_collections.ConfigDict) -> None:
  """Makes the networks read their input as the reference implementation does.

  Raw attribute indices, twelve rows that all count as objects, sums over pairs,
  and questions read together with the padding before them, to the longest one
  of the split.
  Published weights need all of it. Without any padding their accuracy falls
  from 92.6 to 84 % (rendered images), so a split of a few short questions wants
  more: data.max_question_length=50, the longest one that CLEVR's templates
  allow. Of 100 questions it changes no answer, and no probability by .004.
  """
  config.model.aggregation = "sum"
  config.model.one_hot_objects = False
  config.model.mask_objects = False
  config.model.padding = "front"
  config.data.max_objects = 12
