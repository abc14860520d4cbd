"""The meta model: fuses the experts' outputs into one prediction (docs/method.md, lesson 2).

It reads log-probabilities and the class-count prior only, so architectures and feature spaces do not matter. It adds a
learned correction to the class-weighted ensemble, which is what it is before any training.
"""

import torch
from torch import Tensor, nn

from mosaic_fl.config import MetaConfig
from mosaic_fl.server.experts import at_once, class_weighted_of, readers

MAPS = 4  # of `width` values a token that exist at once
FLOOR = -10.0  # log-probabilities below this say the same: "certainly not"


class MetaTransformer(nn.Module):
    """A Transformer encoder over one token an expert; the tokens' votes are summed (Mosaic, section on the meta model).

    `weights` is the class-count prior (K, C); input expert logits (n, K, C); output logits (n, C). Without gradients it
    takes the samples in parts: the attention of all of them would fill the memory where there are many experts. The
    tokens of a sample are those of the experts that can read it. Where it is not `partial` all can, which is not looked
    at then: a look would wait for the device.
    """

    prior: Tensor
    partial = True

    def __init__(self, weights: Tensor, config: MetaConfig) -> None:
        super().__init__()
        experts, classes = weights.shape
        self.bytes_each = 4 * experts * (config.heads * experts + classes + MAPS * config.width)
        self.register_buffer("prior", weights)
        self.embed = nn.Linear(classes, config.width)
        self.embed_prior = nn.Linear(classes, config.width, bias=False)
        self.who = nn.Parameter(0.02 * torch.randn(experts, config.width))
        layer = nn.TransformerEncoderLayer(
            config.width, config.heads, 2 * config.width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.vote = nn.Linear(config.width, classes)
        nn.init.zeros_(self.vote.weight)
        nn.init.zeros_(self.vote.bias)

    @property
    def can_be_captured(self) -> bool:
        """Whether a step of training can be a CUDA graph."""
        return not self.partial

    def forward(self, outputs: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return self._fuse(outputs)
        return torch.cat([self._fuse(part) for part in outputs.split(at_once(self.bytes_each))])

    def _fuse(self, outputs: Tensor) -> Tensor:
        answers = outputs.log_softmax(2).clamp(min=FLOOR) / -FLOOR
        able = readers(outputs) if self.partial else None
        if able is None:
            tokens = self.embed(answers) + self.embed_prior(self.prior) + self.who
            correction: Tensor = self.vote(self.encoder(tokens)).sum(1)
            return class_weighted_of(outputs, self.prior, able) + correction
        tokens = self.embed(answers.nan_to_num(nan=0.0)) + self.embed_prior(self.prior) + self.who
        hidden = ~able & able.any(1, keepdim=True)  # where nobody can read a sample attention needs somebody
        votes = self.vote(self.encoder(tokens, src_key_padding_mask=hidden)) * able[:, :, None]
        correction = votes.sum(1)
        return class_weighted_of(outputs, self.prior, able) + correction
