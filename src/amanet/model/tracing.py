"""Being traced, where a network is to say all that it does in PyTorch's own operations."""

import torch
from torch import Tensor
from torch._C import DispatchKey, _dispatch_tls_is_dispatch_key_included, _get_dispatch_mode, _is_tracing, _len_torch_dispatch_stack
from torch._C import _TorchDispatchModeKey as Mode
from torch._C._functorch import peek_interpreter_stack

STAND_INS = (Mode.FAKE, Mode.PROXY, Mode.FUNCTIONAL)
"""Modes in which tensors stand for others; a mode that counts operations is none of them."""

BEFORE_AUTOGRAD = DispatchKey.PreDispatch
"""Where ``make_fx`` stands if it is to see operations before their gradients are taken."""

OF_TENSORS = Tensor.__torch_dispatch__  # pyright: ignore[reportAttributeAccessIssue]
"""What a class has whose numbers lie in memory of its own."""


def is_traced(tensor: Tensor | None = None) -> bool:
    """Whether a compiler, ``torch.jit.trace``, ``make_fx`` or a transform of ``torch.func`` follows the operations, or the tensor is one
    that others stand behind, such as a ``FakeTensor``: loops and kernels would read what is not there.
    """
    if torch.compiler.is_compiling() or _is_tracing() or peek_interpreter_stack() is not None:
        return True
    if _len_torch_dispatch_stack() and any(_get_dispatch_mode(mode) is not None for mode in STAND_INS):
        return True
    if tensor is not None and type(tensor).__torch_dispatch__ != OF_TENSORS:  # pyright: ignore[reportAttributeAccessIssue]
        return True
    return _dispatch_tls_is_dispatch_key_included(BEFORE_AUTOGRAD)
