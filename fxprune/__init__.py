"""fxprune: a compiler from sparsity plans to small super-resolution networks."""

__version__ = "0.1.0"
