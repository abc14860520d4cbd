"""The cards of built-in methods but references and those on vectors, which `reference_cards` and `vector_cards` have.

`registries` lists all by name. Open these files to change a method's defaults.
"""

from mosaic_fl.experts.capability import Capability
from mosaic_fl.methods import settings
from mosaic_fl.methods.card import ALL_MODELS, SAMPLES, SAMPLES_OR_PRIOR, Card

AVERAGES = frozenset({Capability.WEIGHTS})
INVERTS = frozenset({Capability.GRADIENTS})  # a generator at the server learns through the experts

MOSAIC = Card(
    code="mosaic_fl.methods.mosaic:mosaic",
    title="Mosaic",
    paper="Mosaic 2025, arXiv 2505.19699",
    summary="clients' models as a mixture of experts, distilled into one model on their generators' samples",
    transfer=SAMPLES_OR_PRIOR,
    checks="mosaic_fl.methods.mosaic:check_mosaic",
    settings=settings.check_mosaic,
    fuses=True,
    asks=True,
    widths="if rounds.kind says so",
    fields=True,
    robust=True,
)
FEDAVG = Card(
    code="mosaic_fl.methods.fedavg:fedavg",
    title="FedAvg",
    paper="McMahan et al. 2017, arXiv 1602.05629",
    summary="each round, the average of the clients' weights by samples",
    requires=AVERAGES,
    equal_architectures=True,
    rounds=True,
    fields=True,
    robust=True,
)
FEDPROX = Card(
    code="mosaic_fl.methods.fedprox:fedprox",
    title="FedProx",
    paper="Li et al. 2020, arXiv 1812.06127",
    summary="FedAvg, with each client held near the round's model by μ/2 · squared distance",
    requires=AVERAGES,
    equal_architectures=True,
    rounds=True,
    defaults={"train.proximal": 0.01},
    settings=settings.check_proximal,
    fields=True,
    robust=True,
)
FEDBN = Card(
    code="mosaic_fl.methods.fedbn:fedbn",
    title="FedBN",
    paper="Li et al. 2021, arXiv 2102.07623",
    summary="FedAvg of all but normalisation, which stays at the clients; serves their mean normalisation",
    requires=AVERAGES,
    equal_architectures=True,
    rounds=True,
    fields=True,
    robust=True,
)
FEDRS = Card(
    code="mosaic_fl.methods.fedrs:fedrs",
    title="FedRS",
    paper="Li, Zhan 2021, KDD, doi 10.1145/3447548.3467254",
    summary="FedAvg, with the logits of classes that a client lacks scaled down in its softmax",
    requires=AVERAGES,
    equal_architectures=True,
    rounds=True,
    defaults={"train.absent": 0.5},
    settings=settings.check_absent,
    fields=True,
    robust=True,
)
FEDERATED_XGBOOST = Card(
    code="mosaic_fl.methods.federated_xgboost:federated_xgboost",
    title="Federated XGBoost",
    paper="Roth et al. 2022, arXiv 2210.13291",
    summary="trees from all clients' sums of gradients in agreed bins, as NVFlare's histogram_based",
    rounds=True,
    boosts=True,
    checks="mosaic_fl.methods.federated_xgboost:check_histograms",
    defaults={"rounds.warm_up": 100},  # one tree a class each, as the student of trees has
)
FEDERATED_BAGGING = Card(
    code="mosaic_fl.methods.federated_bagging:federated_bagging",
    title="Federated bagging",
    paper="Roth et al. 2022, arXiv 2210.13291",
    summary="each client's tree on a sample of its rows and columns joins every round, as NVFlare's bagging",
    rounds=True,
    boosts=True,
    checks="mosaic_fl.methods.federated_bagging:check_bagging",
    defaults={"rounds.warm_up": 100},  # one tree a class each, as the student of trees has
)
HETEROFL = Card(
    code="mosaic_fl.methods.width:heterofl",
    title="HeteroFL",
    paper="Diao, Ding, Tarokh 2021, arXiv 2010.01264",
    summary="clients train the first channels of one model, at widths they can afford",
    requires=AVERAGES,
    equal_architectures=True,
    rounds=True,
    checks="mosaic_fl.methods.width:check_ratios",
    widths="always",
    robust=True,
)
FEDROLEX = Card(
    code="mosaic_fl.methods.width:fedrolex",
    title="FedRolex",
    paper="Alam, Liu, Yan, Zhang 2022, arXiv 2212.01548",
    summary="as HeteroFL, with a window of channels that moves on every round",
    requires=AVERAGES,
    equal_architectures=True,
    rounds=True,
    checks="mosaic_fl.methods.width:check_ratios",
    widths="always",
    robust=True,
)
FEDGEN = Card(
    code="mosaic_fl.methods.fedgen:fedgen",
    title="FedGen",
    paper="Zhu, Hong, Zhou 2021, arXiv 2105.10056",
    summary="the server generates features of every class, which clients learn beside their own data",
    requires=AVERAGES | {Capability.FEATURES},
    equal_architectures=True,
    rounds=True,
    checks="mosaic_fl.methods.fedgen:check_head",
    defaults={  # of the authors' code for MNIST
        "synthesis.epochs": 10,
        "synthesis.generator_steps": 5,
        "synthesis.lr": 3e-4,
        "synthesis.latent": 32,
        "synthesis.width": 256,
    },
    robust=True,
)
FEDDF = Card(
    code="mosaic_fl.methods.feddf:feddf",
    title="FedDF",
    paper="Lin, Kong, Stich, Jaggi 2020, arXiv 2006.07242",
    summary="after each round, the clients' mean logits are distilled into their average on synthetic images",
    requires=AVERAGES,
    transfer=SAMPLES_OR_PRIOR,
    equal_architectures=True,
    rounds=True,
    # Section 4.1: Adam at 1e-3 with cosine annealing. Its 10,000 steps with early stopping need a GPU.
    defaults={
        "distill.lr": 1e-3,
        "distill.weight_decay": 0.0,
        "distill.ema": 0.0,
    },
    checks="mosaic_fl.methods.feddf:check_feddf",
    robust=True,
)
FEDFTG = Card(
    code="mosaic_fl.methods.fedftg:fedftg",
    title="FedFTG",
    paper="Zhang, Shen, Ding, Tao, Duan 2022, arXiv 2203.09249",
    summary="after each round, the average learns from the clients' models on hard generated samples",
    requires=AVERAGES | INVERTS,
    images=True,
    equal_architectures=True,
    rounds=True,
    defaults={  # section 4.1. Rounds are short, because the paper has 1000 of them.
        "synthesis.epochs": 10,
        "synthesis.generator_steps": 1,
        "synthesis.student_steps": 5,
        "synthesis.lr": 0.01,
        "synthesis.student_lr": 1e-3,  # 0.1 without momentum, on a loss that the authors' code divides by C = 10
    },
    settings=settings.check_student_steps,
    robust=True,
)
DFRD = Card(
    code="mosaic_fl.methods.dfrd:dfrd",
    title="DFRD",
    paper="Luo et al. 2023, arXiv 2309.13546",
    summary="as FedFTG, on samples that fool the average alone, for clients of several widths too",
    requires=AVERAGES | INVERTS,
    images=True,
    equal_architectures=True,
    rounds=True,
    # The decay is the paper's. We could not check its budget, so the budget is that of FedFTG, on which it builds.
    defaults={
        "synthesis.ema": 0.5,
        "synthesis.adversarial": 0.1,  # with 1, samples of which no expert should be sure make θ worse: docs/notes
        "synthesis.epochs": 10,
        "synthesis.generator_steps": 1,
        "synthesis.student_steps": 5,
        "synthesis.lr": 0.01,
        "synthesis.student_lr": 1e-3,
    },
    checks="mosaic_fl.methods.dfrd:check_dfrd",
    settings=settings.check_student_steps,
    widths="if rounds.kind says so",
    robust=True,
)
DENSE = Card(
    code="mosaic_fl.methods.dense:dense",
    title="DENSE",
    paper="Zhang et al. 2022, arXiv 2112.12371",
    summary="a server generator against the clients' models; their mean logits distilled on its images",
    requires=INVERTS,
    images=True,
    # The published command: 200 epochs of 30 steps and a pass over the pool, 256 a batch, all weights 1, T = 20.
    defaults={
        "generator.family": "none",
        "prototypes.per_class": 0,
        "synthesis.batch_size": 256,
        "synthesis.latent": 256,
        "synthesis.student_lr": 5e-3,
        "synthesis.student_steps": 0,
        "synthesis.temperature": 20.0,
    },
)
COBOOSTING = Card(
    code="mosaic_fl.methods.coboosting:coboosting",
    title="Co-Boosting",
    paper="Dai et al. 2024, arXiv 2402.15070",
    summary="DENSE with harder images, and an ensemble whose weights are learnt on them",
    requires=INVERTS,
    images=True,
    # The published command: 200 epochs of 30 steps and a pass over the pool, without batch-norm statistics.
    defaults={
        "generator.family": "none",
        "prototypes.per_class": 0,
        "synthesis.student_steps": 0,
        "synthesis.statistics": 0.0,
        "synthesis.latent": 256,
    },
)
FEDCVAE = Card(
    code="mosaic_fl.methods.fedcvae:fedcvae",
    title="FedCVAE-Ens",
    paper="Heinbaugh, Luz-Ricca, Shao 2023, ICLR",
    summary="clients send conditional VAE decoders; one classifier learns from their labelled samples alone",
    transfer=SAMPLES,
    defaults={
        "generator.family": "cvae",
        "generator.kl": 1.0,
        "generator.perceptual": 0.0,
        "prototypes.per_class": 0,
        "distill.balanced": False,
    },
    settings=settings.check_decoders,
)
FENS = Card(
    code="mosaic_fl.methods.fens:fens",
    title="FENS",
    paper="Allouah et al. 2024, NeurIPS, arXiv 2405.01420",
    summary="the clients' models, fused by a small network that learns in rounds from real held-back data",
    real_data=True,
    serves=ALL_MODELS,
    # Rounds, steps and rate are ours, because we could not find the paper's. Of seven settings they had the least loss
    # on the held-back samples of digits (0.007 to 0.11 at 5 and 10 clients, α = 0.1). We saw the test figures, too.
    defaults={
        "generator.family": "none",
        "prototypes.per_class": 0,
        "rounds.warm_up": 100,
        "rounds.steps": 5,
        "meta.lr": 2e-3,
    },
    settings=settings.check_fens,
    aggregates=True,
    robust=True,
)
