"""The skeleton as a graph, against matrices worked by hand and against what holds of any tree."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amanet.skeleton import layout_names, load_layout
from amanet.skeleton.graph import adjacency, depth, hop_distance, k_adjacency, normalise_symmetric, tile_window, walk, with_self_loops

PATH = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=np.float64)
"""Three nodes in a row."""


@st.composite
def trees(draw: st.DrawFn) -> np.ndarray:
    """The adjacency of a tree: every node but the first hangs on one before it."""
    size = draw(st.integers(1, 12))
    matrix = np.zeros((size, size))
    for node in range(1, size):
        parent = draw(st.integers(0, node - 1))
        matrix[node, parent] = matrix[parent, node] = 1
    return matrix


def shortest_paths(matrix: np.ndarray) -> np.ndarray:
    """Floyd and Warshall's recurrence, as loops."""
    size = len(matrix)
    distance = [[0.0 if i == j else (1.0 if matrix[i, j] else np.inf) for j in range(size)] for i in range(size)]
    for via in range(size):
        for i in range(size):
            for j in range(size):
                distance[i][j] = min(distance[i][j], distance[i][via] + distance[via][j])
    return np.array([[-1 if np.isinf(hops) else int(hops) for hops in row] for row in distance]).reshape(size, size)


@pytest.mark.parametrize("name", layout_names())
def test_adjacency_has_two_entries_a_bone(name: str) -> None:
    layout = load_layout(name)
    matrix = adjacency(layout)
    assert {(i, j) for i, j in np.argwhere(matrix) if i < j} == {(min(bone), max(bone)) for bone in layout.bones}
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(matrix.diagonal(), 0)
    assert matrix.sum() == 2 * (layout.num_joints - 1)


def test_self_loops_by_hand() -> None:
    np.testing.assert_array_equal(with_self_loops(PATH), [[1, 1, 0], [1, 1, 1], [0, 1, 1]])
    assert PATH[0, 0] == 0


def test_window_by_hand() -> None:
    """Eq. 13: every frame of a window is linked to every other as the joints are; node = frame * joints + joint."""
    pair = np.array([[0, 1], [1, 0]], dtype=np.float64)
    np.testing.assert_array_equal(tile_window(pair, 2), [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
    np.testing.assert_array_equal(tile_window(PATH, 1), PATH)


def test_normalisation_by_hand() -> None:
    half, other = 1 / 2, 1 / np.sqrt(6)
    expected = [[half, other, 0], [other, 1 / 3, other], [0, other, half]]
    np.testing.assert_allclose(normalise_symmetric(with_self_loops(PATH)), expected, rtol=1e-15)


def test_a_node_without_edges_stays_zero() -> None:
    alone = np.zeros((3, 3))
    alone[0, 1] = alone[1, 0] = 1
    np.testing.assert_array_equal(normalise_symmetric(alone), alone)


def test_hops_by_hand() -> None:
    np.testing.assert_array_equal(hop_distance(PATH), [[0, 1, 2], [1, 0, 1], [2, 1, 0]])
    apart = np.zeros((3, 3))
    apart[0, 1] = apart[1, 0] = 1
    np.testing.assert_array_equal(hop_distance(apart), [[0, 1, -1], [1, 0, -1], [-1, -1, 0]])


def test_scales_by_hand() -> None:
    np.testing.assert_array_equal(k_adjacency(PATH, 0), np.eye(3))
    np.testing.assert_array_equal(k_adjacency(PATH, 1), [[1, 1, 0], [1, 1, 1], [0, 1, 1]])
    np.testing.assert_array_equal(k_adjacency(PATH, 2), [[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    np.testing.assert_array_equal(k_adjacency(PATH, 3), np.eye(3))


@pytest.mark.parametrize(("name", "diameter"), [("ntu25", 12), ("kinetics18", 8)])
def test_diameter_of_the_skeletons(name: str, diameter: int) -> None:
    """MS-G3D needs as many scales as its skeleton is wide, and one more."""
    matrix = adjacency(load_layout(name))
    distance = hop_distance(matrix)
    assert distance.max() == diameter
    assert distance.min() == 0
    assert k_adjacency(matrix, diameter).sum() > len(matrix) == k_adjacency(matrix, diameter + 1).sum()


@given(trees())
def test_hops_are_shortest_paths(matrix: np.ndarray) -> None:
    np.testing.assert_array_equal(hop_distance(matrix), shortest_paths(matrix))


@given(trees(), trees())
def test_two_trees_do_not_reach_each_other(one: np.ndarray, other: np.ndarray) -> None:
    size = len(one)
    both = np.zeros((size + len(other),) * 2)
    both[:size, :size], both[size:, size:] = one, other
    distance = hop_distance(both)
    assert (distance[:size, size:] == -1).all()
    np.testing.assert_array_equal(distance[:size, :size], hop_distance(one))
    np.testing.assert_array_equal(distance[size:, size:], hop_distance(other))


@given(trees())
def test_scales_share_out_all_pairs(matrix: np.ndarray) -> None:
    """Every pair of nodes is in exactly one scale, and self loops are in all of them."""
    scales = sum(k_adjacency(matrix, hops) - np.eye(len(matrix)) for hops in range(1, len(matrix) + 1))
    np.testing.assert_array_equal(scales, 1 - np.eye(len(matrix)))


@given(trees())
def test_normalised_graphs_are_symmetric_with_eigenvalues_up_to_one(matrix: np.ndarray) -> None:
    """1 is an eigenvalue, to the square roots of the degrees."""
    looped = with_self_loops(matrix)
    normal = normalise_symmetric(looped)
    np.testing.assert_array_equal(normal, normal.T)
    root_degree = np.sqrt(looped.sum(1))
    np.testing.assert_allclose(normal @ root_degree, root_degree, rtol=1e-12)
    assert np.linalg.eigvalsh(normal).max() <= 1 + 1e-12


@given(trees(), st.integers(1, 4))
def test_windows_link_every_two_frames_alike(matrix: np.ndarray, frames: int) -> None:
    size = len(matrix)
    window = tile_window(matrix, frames).reshape(frames, size, frames, size)
    assert all((window[i, :, j] == matrix).all() for i in range(frames) for j in range(frames))


@pytest.mark.parametrize("name", layout_names())
def test_the_walk_to_the_root_is_the_shortest(name: str) -> None:
    layout = load_layout(name)
    distance = hop_distance(adjacency(layout))
    for joint in range(layout.num_joints):
        steps = walk(layout, joint)
        assert (steps[0], steps[-1]) == (joint, layout.root)
        assert all(layout.parents[step] == following for step, following in pairwise(steps))
        assert depth(layout, joint) == len(steps) - 1 == distance[joint, layout.root]
