"""AMANet: recognising human actions from skeletons with graph convolution and self-attention."""

__version__ = "0.1.0"
