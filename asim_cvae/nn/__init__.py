"""Networks and distributions as plain torch modules."""

from asim_cvae.nn.likelihood import BetaLikelihood
from asim_cvae.nn.network import ThesisNetwork

__all__ = ["BetaLikelihood", "ThesisNetwork"]
