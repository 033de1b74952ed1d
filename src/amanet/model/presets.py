"""Networks with a name: AMANet is the default configuration, MS-G3D and the hybrid of both fill the same slots otherwise."""

from amanet.model.block import BlockConfig
from amanet.model.network import NetworkConfig


def amanet() -> NetworkConfig:
    """AMANet: DP, SFEM, TFEM and STFEM."""
    return NetworkConfig()


def msg3d(spatial_scales: int = 13, window_scales: int = 6) -> NetworkConfig:
    """MS-G3D as its authors published it; the scales are those for NTU RGB+D, and for Kinetics-Skeleton they are 8 and 8."""
    block = BlockConfig(
        spatial="ms_gcn",
        temporal="ms_tcn+ms_tcn",
        spatio_temporal="ms_g3d",
        spatial_scales=spatial_scales,
        window_scales=window_scales,
    )
    return NetworkConfig(dp="none", block=block)


def hybrid() -> NetworkConfig:
    """Both: SFEM in front of MS-GCN, TFEM, STFEM in front of MS-G3D, on the joints with DP."""
    return NetworkConfig(block=BlockConfig(spatial="sfem+ms_gcn", temporal="tfem", spatio_temporal="stfem+ms_g3d"))
