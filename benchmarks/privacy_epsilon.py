"""Accuracy and attacks by ε: class moments of `gabor` on MNIST with noise, as cells, two tables and a picture.

    OMP_NUM_THREADS=1 python benchmarks/privacy_epsilon.py MNIST-TRAIN.parquet MNIST-TEST.parquet [--images 10000]
        [--samples 200,1000,5000] [--epsilons 0.3,1,3,10,inf] [--seeds 0] [--out benchmarks/out/privacy-epsilon]
        [--picture docs/privacy-epsilon.svg]

A cell of accuracy is a run of `mosaic run --preset encoder --encoder gabor` with 5 clients, α = 0.5, so many training
images and all test images. A cell of attacks is one contribution of `samples` training images with all attacks of
`mosaic audit`; strangers are up to 1,000 other training images, classes as often. A cell is a JSON file in `--out`, and
one that is there is not made again. Noise comes from the system's secure source, so cells are not alike to the last digit.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.client.audit_gate import trainer
from mosaic_fl.client.contribute import Site, split
from mosaic_fl.config import Config
from mosaic_fl.data import sources
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.encoders.encoding import encode
from mosaic_fl.encoders.naming import encoder_of
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.audit import audit
from mosaic_fl.privacy.audit.finding import Audit
from mosaic_fl.privacy.audit.matching import matched

CPU = torch.device("cpu")
STRANGERS = 1000
DELTA = 1e-5
