"""The shapes in signatures are checked while tests run; see conftest.py."""

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from data_prep.rendering import camera
from rn_jax import steps
from rn_jax.models.affine import Weights
from rn_jax.models.relation.pairs import first_layer
from rn_jax.retrieval.describe import pooling, rmac


def test_an_array_of_another_shape_is_refused():
  layer = Weights(jnp.ones((6, 4)), jnp.ones(4))
  assert first_layer(layer, jnp.ones((2, 5, 3))).shape == (2, 5, 5, 4)
  with pytest.raises(TypeCheckError, match=r"objects[\s\S]*\*S N F"):
    first_layer(layer, jnp.ones(3))


def test_sizes_of_one_name_must_agree():
  pairs, mask = jnp.ones((5, 5, 3)), jnp.ones(5, bool)
  assert pooling.pool_vectors(pairs, mask, "avg", False).shape == (3,)
  with pytest.raises(TypeCheckError, match=r"mask[\s\S]* N"):
    pooling.pool_vectors(pairs, mask[:4], "avg", False)


def test_the_check_is_at_work_elsewhere():
  with pytest.raises(TypeCheckError):
    steps._cross_entropy(jnp.ones((2, 3)), {})
  with pytest.raises(TypeCheckError):
    rmac.rmac(jnp.ones((4, 4)))
  with pytest.raises(TypeCheckError):
    camera.project(np.ones((5, 2)), np.ones(3))
