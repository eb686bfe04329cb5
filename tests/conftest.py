"""Settings of all tests."""

import jax

# Compiling is most of the suite's time, and its numbers hold without LLVM's
# optimisations too.
jax.config.update("jax_disable_most_optimizations", True)
