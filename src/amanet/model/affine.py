"""BN as it is applied, where some bodies of a batch stand for several equal ones."""

from jaxtyping import Float
from torch import Tensor

Copies = Float[Tensor, " clip_body"]
"""How many equal bodies of a batch each body stands for."""


class Affine:
    """BN as one product and one sum a channel, and its gradient."""

    def __init__(self, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float) -> None:
        self.mean = mean
        self.deviation = (variance + eps).rsqrt()
        self.scale = weight * self.deviation
        self.shift = bias - mean * self.scale

    def backward(self, first: Tensor, second: Tensor, rows: float) -> tuple[Tensor, Tensor]:
        """Offset and factor of the input in the gradient of one of so many ``rows`` of training, beside ``scale`` times the output's.

        ``first`` is the sum of the output's gradient, and ``second`` that of its product with the centred input.
        """
        factor = -self.scale * self.deviation.square() * second / rows
        return -self.scale * first / rows - factor * self.mean, factor
