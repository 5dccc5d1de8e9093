"""The optimizer of the network, made so that it does not import torch's compiler."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam [1]_, equal bit for bit to ``torch.optim.Adam`` and ``torch.optim.AdamW``.

    Parameters
    ----------
    parameters : iterable of Tensor
        The tensors to optimize, on the device where they will stay.
    learning_rate : float
    fused : bool
        Whether one kernel updates all parameters. torch offers it on
        processors and on CUDA devices.
    decay_rates : tuple of float, optional
        Of the running means of the gradients and of their squares.
    weight_decay : float, optional
        Share of each parameter, in units of the learning rate, that a step takes away
        from it, apart from the gradient (AdamW [2]_).

    Attributes
    ----------
    learning_rate : float
        May be set between two steps.

    Notes
    -----
    The class ``torch.optim.Adam`` imports ``torch._dynamo``, which imports
    triton where that is installed. The library of triton 3.7 and later exports
    the symbols of its own LLVM. Where Mesa has loaded another LLVM before, to
    draw a napari window on Linux, the two are mixed up and the process dies
    with a segmentation fault. The function ``torch.optim.adam.adam`` does the
    same arithmetic and imports neither.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization",
       ICLR 2015, arXiv:1412.6980.
    .. [2] I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization",
       ICLR 2019, arXiv:1711.05101.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float,
        *,
        fused: bool,
        decay_rates: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        self._parameters = list(parameters)
        self._fused = fused
        self._decay_rates = decay_rates
        self._weight_decay = weight_decay
        self._means = [torch.zeros_like(p) for p in self._parameters]
        self._squares = [torch.zeros_like(p) for p in self._parameters]
        # The fused kernel reads the counters where the parameters are; the plain loop reads them
        # as numbers, which would halt a GPU once for each of them.
        self._steps = [
            torch.zeros((), dtype=torch.float32, device=p.device if fused else "cpu")
            for p in self._parameters
        ]

    def zero_grad(self) -> None:
        """Drop the gradients and release their memory."""
        for parameter in self._parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update the parameters; every one of them needs a gradient."""
        with torch.no_grad():
            adam(
                self._parameters,
                [p.grad for p in self._parameters if p.grad is not None],
                self._means,
                self._squares,
                [],
                self._steps,
                fused=self._fused,
                decoupled_weight_decay=True,
                amsgrad=False,
                beta1=self._decay_rates[0],
                beta2=self._decay_rates[1],
                lr=self.learning_rate,
                weight_decay=self._weight_decay,
                eps=1e-8,
                maximize=False,
            )
