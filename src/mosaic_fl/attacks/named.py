"""The attacks by name: each is one line of the functions beside this file. Open it to add one."""

from mosaic_fl.attacks import backdoor, copies, counts, generators, moments, replacement
from mosaic_fl.attacks.attack import Attack
from mosaic_fl.attacks.constant import constant_expert, constant_update
from mosaic_fl.attacks.counts import inflate
from mosaic_fl.attacks.labels import agreed_numbering, flip, numbering, pair, rare, relabel, shift, to_target
from mosaic_fl.attacks.loud import loud_expert, loud_update
from mosaic_fl.attacks.parts import expert_alone, generator_alone

NETWORK = frozenset({"network"})
GENERATOR = frozenset({"generator"})
PICTURES = frozenset({"pictures"})
MOMENTS = frozenset({"moments"})
NINE = 9.0
THOUSAND = 1000.0

FLIP = relabel(flip)

LABEL_FLIP = Attack("label_flip", "labels y → C−1−y, expert and generator alike", poison=FLIP)
LABEL_FLIP_INFLATED = Attack(
    "label_flip_inflated", "labels flipped, and class counts a thousandfold", poison=FLIP, forge=inflate(THOUSAND)
)
LABEL_FLIP_NINEFOLD = Attack(
    "label_flip_ninefold", "labels flipped, and class counts ninefold", poison=FLIP, forge=inflate(NINE)
)
LABEL_FLIP_UNDER = Attack(
    "label_flip_under",
    "labels flipped, and as many samples as count, just under five times the median",
    poison=FLIP,
    forge=counts.just_under,
)
LABEL_FLIP_CLAIMS = Attack(
    "label_flip_claims",
    "labels flipped, and every class claimed as the largest holder has it",
    poison=FLIP,
    forge=counts.claim_all,
)
LABEL_FLIP_PAIR = Attack(
    "label_flip_pair", "the client's two largest classes change places, and no other does", poison=relabel(pair)
)
LABEL_FLIP_RARE = Attack(
    "label_flip_rare", "labels flipped of classes alone that few others hold", poison=relabel(rare)
)
CLASS_NUMBERING = Attack(
    "class_numbering", "the client numbers its classes in another order", poison=relabel(numbering)
)
INFLATED = Attack("inflated", "honest data, and class counts a thousandfold", forge=inflate(THOUSAND))
NINEFOLD = Attack("ninefold", "honest data, and class counts ninefold", forge=inflate(NINE))
CONSTANT = Attack(
    "constant",
    "a network that says one class always, of huge counts",
    forge=constant_expert,
    update=constant_update,
    needs=NETWORK,
)
LOUD = Attack(
    "loud", "a network of random weights with huge outputs", forge=loud_expert, update=loud_update, needs=NETWORK
)
EXPERT_FLIP = Attack(
    "expert_flip", "the expert's classes are flipped, its generator is honest", forge=expert_alone(flip), needs=NETWORK
)
GENERATOR_FLIP = Attack(
    "generator_flip",
    "the generator's classes are flipped, its expert is honest",
    poison=FLIP,
    forge=generator_alone(flip),
    needs=NETWORK | GENERATOR,
)
GENERATOR_SWAP = Attack(
    "generator_swap",
    "the generator draws another class under each label",
    poison=relabel(shift),
    forge=generator_alone(shift),
    needs=NETWORK | GENERATOR,
)
GENERATOR_NONE = Attack("generator_none", "no generator", forge=generators.absent, needs=GENERATOR)
GENERATOR_BLANK = Attack(
    "generator_blank", "a generator of empty samples", forge=generators.generator_by(generators.blank), needs=GENERATOR
)
GENERATOR_NOISE = Attack(
    "generator_noise", "a generator of random weights", forge=generators.generator_by(generators.noise), needs=GENERATOR
)
GENERATOR_COLLAPSED = Attack(
    "generator_collapsed",
    "a generator with one sample a class",
    forge=generators.generator_by(generators.collapsed),
    needs=GENERATOR,
)
COLLUSION = Attack(
    "collusion", "all attackers number the classes in the same wrong order", poison=relabel(agreed_numbering)
)
COLLUSION_TARGET = Attack(
    "collusion_target", "all attackers call half of their samples the same class", poison=to_target
)
BACKDOOR = Attack("backdoor", "a patch of pixels that means class 0", poison=backdoor.poison(), needs=PICTURES)
BACKDOOR_FAINT = Attack(
    "backdoor_faint", "the same patch on a tenth of the samples", poison=backdoor.poison(backdoor.FAINT), needs=PICTURES
)
COPIED = Attack("copied", "the weights of the largest honest client", forge=copies.copied)
SYBILS = Attack(
    "sybils", "one attacker's flipped contribution under all their numbers", poison=FLIP, forge=copies.sybil
)
SYBILS_HIDDEN = Attack("sybils_hidden", "the same with noise on the weights", poison=FLIP, forge=copies.hidden_sybil)
MOMENTS_SCALED = Attack(
    "moments_scaled", "class moments ten times as large", forge=moments.moments_by(moments.scaled), needs=MOMENTS
)
MOMENTS_FLIP = Attack(
    "moments_flip", "the means of classes in the wrong order", forge=moments.moments_by(moments.flipped), needs=MOMENTS
)
MODEL_REPLACEMENT = Attack(
    "model_replacement", "labels flipped, and the update of a round times N/f", poison=FLIP, update=replacement.boosted
)
REVERSED_UPDATE = Attack(
    "reversed_update", "the opposite of what a round has learned", update=replacement.reversed_update
)
