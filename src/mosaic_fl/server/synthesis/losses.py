"""Terms of the generators' losses, as functions of logits or log-probabilities (n, C); one value a sample (n,)."""

from torch import Tensor

from mosaic_fl.server.losses import kl_divergence


def disagree(teacher: Tensor, student: Tensor) -> Tensor:
    """Bool (n,): where teacher and student name different classes (DENSE's ω, eq. 5)."""
    return teacher.argmax(1) != student.argmax(1)


def fools(teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
    """Bool (n,): where the teacher names the label asked for and the student does not (DFRD's ε)."""
    return (teacher.argmax(1) == labels) & (student.argmax(1) != labels)


def masked_divergence(teacher: Tensor, student: Tensor, where: Tensor) -> Tensor:
    """KL(teacher ‖ student) in nats at the samples of `where` (n,), 0 at the others (DENSE's eq. 5 without its sign).

    A generator that is to find samples near the student's decision boundary goes *up* this.
    """
    return kl_divergence(teacher, student) * where
