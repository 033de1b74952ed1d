"""Being traced, where a network is to say all that it does in PyTorch's own operations."""

import torch


def is_traced() -> bool:
    """Whether a compiler or ``torch.jit.trace`` follows the operations."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
