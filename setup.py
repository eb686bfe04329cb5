"""Packaging of rn_jax; the tools' settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

_ROOT = Path(__file__).parent
_VERSION = re.search(
  r'__version__ = "(.+)"', (_ROOT / "rn_jax" / "__init__.py").read_text()
).group(1)

setup(
  name="rn_jax",
  version=_VERSION,
  description="Relation Networks in JAX/Flax: from CLEVR to answers.",
  long_description=(_ROOT / "README.md").read_text(),
  long_description_content_type="text/markdown",
  author="The rn_jax authors",
  license="Apache-2.0",
  license_files=["LICENSE", "NOTICE"],
  keywords=[
    "CLEVR",
    "Flax",
    "JAX",
    "Relation Network",
    "image retrieval",
    "relational reasoning",
    "visual question answering",
  ],
  classifiers=[
    "Development Status :: 4 - Beta",
    "Environment :: GPU :: NVIDIA CUDA",
    "Intended Audience :: Science/Research",
    "Operating System :: POSIX :: Linux",
    "Programming Language :: Python :: 3",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
    "Topic :: Scientific/Engineering :: Image Recognition",
    "Typing :: Typed",
  ],
  python_requires=">=3.11",
  packages=[
    "configs",
    "configs.paper",
    "examples",
    "pretrained",
    *find_packages(include=["rn_jax*", "data_prep*"]),
  ],
  py_modules=["launch"],
  package_data={
    "rn_jax": [
      "py.typed",
      "**/*.css",
      "**/*.html",
      "**/*.json",
      "**/*.md",
    ],
    "data_prep": ["**/*.json"],
    "examples": ["*.json", "*.png"],
    "pretrained": ["**/*"],
  },
  entry_points={"console_scripts": ["rn-jax = launch:run"]},
  install_requires=[
    "absl-py>=2.0",
    "etils[epath]>=1.9.1",
    "faiss-cpu>=1.14.2",
    "filelock>=3.30",
    "flax>=0.12",
    "google-crc32c>=1.5",
    "ijson>=3.2",
    "jax>=0.10",
    "jaxtyping>=0.2.34",
    "jinja2>=3.1",
    "matplotlib>=3.8",
    "ml-collections>=1.0",
    "numpy>=1.26",
    "optax>=0.2.7",
    "orbax-checkpoint>=0.12,<1",
    "pillow>=10.0",
    "protobuf>=5.0",
    "safetensors>=0.5",
    "scipy>=1.11",
    "tensorboardX>=2.6.2",
    "tensorflow-datasets>=4.9.7",
    "tqdm>=4.66",
  ],
  extras_require={
    "demo": ["gradio>=6.31"],
    "cuda": ["jax[cuda13]>=0.10"],
    "tpu": ["jax[tpu]>=0.10"],
    "pytorch": ["torch>=2.4"],
    "oracles": [
      "mmcv-lite>=2.2",
      "mmengine>=0.10.7",
      "timm>=1.0",
      "torch>=2.4",
    ],
    "tfds": ["tensorflow-cpu>=2.16", "importlib_resources"],
    "beam": ["apache-beam>=2.77"],
    "gs": ["gcsfs>=2026.4"],
    "s3": ["s3fs>=2026.4"],
    "retrieval": ["h5py>=3.10"],
    "milvus": ["milvus-lite>=3.2", "pymilvus>=3.0"],
    "test": [
      "basedpyright==1.40.2",
      "beartype>=0.18",
      "networkx>=3.2",
      "pycocotools>=2.0.8",
      "pytest>=8.0",
      "pytest-xdist>=3.5",
      "ruff==0.17.6",
      "scikit-learn>=1.4",
    ],
  },
)
