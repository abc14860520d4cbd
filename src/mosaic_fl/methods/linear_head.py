"""The frame of methods whose global model is one linear layer on vectors, by formulas from clients' moments."""

from collections.abc import Callable, Sequence

from torch import Tensor

from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.closed_form import NETWORK_NAME, linear_state
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import by_client, upload_size
from mosaic_fl.notes import note
from mosaic_fl.numerics.moments import Moments
from mosaic_fl.numerics.states import State
from mosaic_fl.server.agreement import compatible
from mosaic_fl.server.class_moments import parts_of
from mosaic_fl.storage.journal import Journal

Head = Callable[[Sequence[Moments]], tuple[Tensor, Tensor]]
"""Clients' moments -> weight float32 (C, d) and bias (C,)."""


def closed_form_head(head: Head, federation: Federation, journal: Journal) -> Outcome:
    """The moments of each client that answers, its generator, go up, and the linear layer of `head` goes to all.

    No model of a client is sent or used. Raises UsageError where nobody sent moments.
    """
    contributions = compatible(federation.contribute())
    stage = journal.stage("head", lambda monitor: (linear_state(federation.schema, *head(parts_of(contributions))), {}))
    return linear_outcome(federation, contributions, stage.tensors)


def linear_outcome(federation: Federation, contributions: Sequence[Contribution], state: State) -> Outcome:
    """The global model with the `state` of the network `linear`; only generators went up.

    A note tells of each client that has none, since its vectors have no part in the model.
    """
    for contribution in contributions:
        if contribution.generator is None:
            note(f"client {contribution.client} has no part in the model: {contribution.generator_note}")
    model = GlobalModel(NETWORK_NAME, federation.schema, state)
    sizes = {c.client: upload_size(c, expert=False, generator=True, counts=False) for c in contributions}
    clients = len(federation.architectures)
    return Outcome(model, by_client(sizes, clients), [len(model.to_bytes())] * clients)
