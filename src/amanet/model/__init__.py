"""The network: DP, SFEM, TFEM, STFEM, the block they fill, and presets."""

from amanet.model.block import BlockConfig, Correlations
from amanet.model.network import Explanation, Network, NetworkConfig, synchronise_statistics
from amanet.model.preprocessing import DP

__all__ = ["DP", "BlockConfig", "Correlations", "Explanation", "Network", "NetworkConfig", "synchronise_statistics"]
