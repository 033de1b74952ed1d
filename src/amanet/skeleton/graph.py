"""The skeleton as a graph: matrices over joints, as pure NumPy functions in float64."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from amanet.skeleton.layout import SkeletonLayout


def adjacency(layout: SkeletonLayout) -> Float[np.ndarray, "joint joint"]:
    """Undirected bone graph A: 1 where two joints share a bone, without self loops."""
    matrix = np.zeros((layout.num_joints, layout.num_joints))
    for joint, parent in layout.bones:
        matrix[joint, parent] = matrix[parent, joint] = 1
    return matrix


def with_self_loops(matrix: Float[np.ndarray, "node node"]) -> Float[np.ndarray, "node node"]:
    """A + I."""
    return matrix + np.eye(len(matrix))


def tile_window(matrix: Float[np.ndarray, "joint joint"], frames: int) -> Float[np.ndarray, "node node"]:
    """A_tau of Eq. 13: the same graph between every two frames of a window; node = frame * joints + joint."""
    return np.tile(matrix, (frames, frames))


def normalise_symmetric(matrix: Float[np.ndarray, "node node"]) -> Float[np.ndarray, "node node"]:
    """D^-1/2 A D^-1/2 with D the row sums; rows without an edge stay zero."""
    degree = matrix.sum(axis=1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    return scale[:, None] * matrix * scale[None, :]


def hop_distance(matrix: Float[np.ndarray, "node node"]) -> Int[np.ndarray, "node node"]:
    """Edges on the shortest path between two nodes; -1 where there is none."""
    distance = np.full(matrix.shape, -1, dtype=np.int64)
    reached = np.eye(len(matrix), dtype=bool)
    distance[reached] = 0
    for hops in range(1, len(matrix)):
        new = (reached @ (matrix > 0)) & ~reached
        if not new.any():
            break
        distance[new] = hops
        reached |= new
    return distance


def k_adjacency(matrix: Float[np.ndarray, "node node"], hops: int) -> Float[np.ndarray, "node node"]:
    """MS-G3D's disentangled scale: 1 between nodes exactly ``hops`` apart, and self loops."""
    return np.maximum(hop_distance(matrix) == hops, np.eye(len(matrix), dtype=bool)).astype(np.float64)


def walk(layout: SkeletonLayout, joint: int) -> tuple[int, ...]:
    """The joints on the way from ``joint`` to the root, both included."""
    path = [joint]
    while path[-1] != layout.root:
        path.append(layout.parents[path[-1]])
    return tuple(path)


def depth(layout: SkeletonLayout, joint: int) -> int:
    """Bones between a joint and the root."""
    return sum(1 for _ in pairwise(walk(layout, joint)))
