"""Non-local block: every cell of a feature map attends to every other."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float

MODES = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")


class NonLocal(nn.Module):
  """z_i = x_i + W_z sum_j f(x_i, x_j) g(x_j) (Wang et al. 2018).

  W_z starts at zero, so that the block starts as the identity and can be put
  into a trained network. Until W_z has moved, nothing else has a gradient. In
  the softmax modes the bias of phi never has one: it moves all logits of a
  cell alike.

  The attention, float32 of [B, H W, keys], is in "intermediates" under
  "attention" where apply is given mutable=["intermediates"]. It is a large
  array: 64 x 64 cells make 67 MB an image; subsample, or use small maps.

  Attributes:
    mode: f. "embedded_gaussian": softmax over j of theta_i . phi_j / sqrt(C').
      "gaussian": softmax of x_i . x_j, whose size grows with C: normalise the
      input. "dot_product": theta_i . phi_j / keys. "concatenation":
      ReLU(w . [theta_i, phi_j]) / keys.
    features: C', width of theta, phi and g; None: half of x's.
    subsample: Keys are 2x2 maxima of phi and g (after these layers; Facebook's
      code takes maxima of x instead, which is not the same).
    kernel_init: Of theta, phi, g and w; the published networks were started
      with normal(0.01).
    dtype: Type of the layers; logits and softmax are in float32.
  """

  mode: str = "embedded_gaussian"
  features: int | None = None
  subsample: bool = False
  kernel_init: Initializer = nn.initializers.lecun_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Adds to each cell what it gathers from all cells.

    Raises:
      ValueError: The mode is unknown.
    """
    if self.mode not in MODES:
      raise ValueError(f"mode is {self.mode!r}, not one of {MODES}")
    b, c = len(x), x.shape[-1]
    width = self.features or max(c // 2, 1)
    x = x.astype(self.dtype)

    def project(name):
      return nn.Dense(
        width, kernel_init=self.kernel_init, dtype=self.dtype, name=name
      )(x)

    theta, phi, g = x, x, project("g")
    if self.mode != "gaussian":
      theta, phi = project("theta"), project("phi")
    if self.subsample:
      phi, g = (nn.max_pool(t, (2, 2), (2, 2)) for t in (phi, g))
    theta, phi, g = (t.reshape(b, -1, t.shape[-1]) for t in (theta, phi, g))

    if self.mode == "concatenation":
      # w . [theta_i, phi_j] is a sum of a part for each.
      kernel = self.param("w", self.kernel_init, (2 * width, 1))[:, 0]
      of_query = theta.astype(jnp.float32) @ kernel[:width]
      of_key = phi.astype(jnp.float32) @ kernel[width:]
      logits = nn.relu(of_query[:, :, None] + of_key[:, None])
    else:
      logits = jnp.einsum(
        "bic,bjc->bij", theta, phi, preferred_element_type=jnp.float32
      )
    if self.mode == "embedded_gaussian":
      logits *= width**-0.5
    if self.mode in ("embedded_gaussian", "gaussian"):
      attention = jax.nn.softmax(logits, -1)
    else:
      attention = logits / logits.shape[-1]
    self.sow("intermediates", "attention", attention)

    y = jnp.einsum("bij,bjc->bic", attention.astype(self.dtype), g)
    z = nn.Dense(
      c,
      kernel_init=nn.initializers.zeros,
      dtype=self.dtype,
      name="z",
    )(y)
    return x + z.reshape(x.shape)
