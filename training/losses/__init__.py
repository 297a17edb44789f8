"""Training losses: exact and pruned transducer, CTC."""

from .batch import Reduction, usable
from .ctc import ctc_loss, ctc_usable
from .pruned import pruned_loss, simple_loss
from .ranges import gather, prune_ranges
from .rnnt import rnnt_loss

__all__ = [
    "Reduction",
    "ctc_loss",
    "ctc_usable",
    "gather",
    "prune_ranges",
    "pruned_loss",
    "rnnt_loss",
    "simple_loss",
    "usable",
]
