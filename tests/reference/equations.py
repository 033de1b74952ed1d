"""The paper's equations as plain loops over NumPy arrays in float64, written from the paper and not from the library.

Features of one body are (frame, joint, channel). Linear maps are given as (weight, bias) with weight (out, in).
"""

from collections.abc import Sequence

import numpy as np

Array = np.ndarray
Linear = tuple[Array, Array]


def linear(x: Array, weights: Linear) -> Array:
    """One vector through a linear map."""
    weight, bias = weights
    return np.array([sum(weight[o, i] * x[i] for i in range(len(x))) + bias[o] for o in range(len(bias))])


def map_all(x: Array, weights: Linear) -> Array:
    """Every (frame, joint) vector through a linear map."""
    return np.array([[linear(joint, weights) for joint in frame] for frame in x])


def softmax(row: Array) -> Array:
    shifted = [np.exp(value - max(row)) for value in row]
    return np.array(shifted) / sum(shifted)


def normalised_graph(num_joints: int, bones: list[tuple[int, int]], frames: int = 1) -> Array:
    """D^-1/2 A_tau D^-1/2 with A_tau the graph A + I tiled over the frames of a window (Eqs. 10 and 13)."""
    single = np.eye(num_joints)
    for a, b in bones:
        single[a, b] = single[b, a] = 1
    size = num_joints * frames
    tiled = np.array([[single[i % num_joints, j % num_joints] for j in range(size)] for i in range(size)])
    degree = [sum(tiled[i]) for i in range(size)]
    return np.array([[tiled[i, j] / np.sqrt(degree[i] * degree[j]) for j in range(size)] for i in range(size)])


def correlations(query: Array, key: Array, bias: Array | None = None) -> Array:
    """Softmax(Q K^T / sqrt(d) + bias), rows one after the other."""
    rows = []
    for i in range(len(query)):
        scores = [float(np.dot(query[i], key[j])) / np.sqrt(len(query[i])) for j in range(len(key))]
        rows.append(softmax(np.array(scores) + (0 if bias is None else bias[i])))
    return np.array(rows)


def fused_correlations(query: Array, key: Array, graph: Array, joins: str) -> Array:
    """The graph added inside the softmax (Eqs. 10 and 14), or to what it gives (Fig. 4)."""
    return correlations(query, key, graph) if joins == "scores" else correlations(query, key) + graph


def gathered(tokens: dict[str, Array], graph: Array, joins: str, heads: int) -> Array:
    """What the correlations of each head's queries and keys gather of its values, the heads beside each other again."""
    parts = [{name: np.split(each, heads, axis=1)[head] for name, each in tokens.items()} for head in range(heads)]
    return np.concatenate([weighted_sum(fused_correlations(p["query"], p["key"], graph, joins), p["value"]) for p in parts], axis=1)


def weighted_sum(weights: Array, values: Array) -> Array:
    return np.array([sum(weights[i, j] * values[j] for j in range(len(values))) for i in range(len(weights))])


def batch_norm(bodies: Array, gain: Array, shift: Array) -> Array:
    """BN in training over everything but the last axis."""
    out = np.empty_like(bodies)
    for c in range(bodies.shape[-1]):
        values = bodies[..., c]
        mean = values.sum() / values.size
        variance = ((values - mean) ** 2).sum() / values.size
        out[..., c] = gain[c] * (values - mean) / np.sqrt(variance + 1e-5) + shift[c]
    return out


def velocity(joints: Array) -> Array:
    """Eq. 3, with the first frame kept."""
    out = np.zeros_like(joints)
    for t in range(len(joints)):
        out[t] = joints[0] if t == 0 else joints[t] - joints[t - 1]
    return out


def acceleration(joints: Array) -> Array:
    """Eq. 4, with the first two frames of the velocity kept."""
    speed = velocity(joints)
    out = np.zeros_like(speed)
    for t in range(len(speed)):
        out[t] = speed[t] if t < 2 else speed[t] - speed[t - 1]
    return out


def relative(joints: Array, centre: int) -> Array:
    """Eq. 5."""
    return np.array([[frame[i] - frame[centre] for i in range(len(frame))] for frame in joints])


def alien_frame(joints: Array, parts: list[tuple[list[int], int, int, tuple[int, int]]], scale: float) -> Array:
    """Moving frames: parts are (joints, origin, anchor, reference joints)."""
    out = np.zeros_like(joints)
    for t, frame in enumerate(joints):
        for members, origin, anchor, (start, end) in parts:
            bone = frame[anchor] - frame[origin]
            length = np.sqrt(sum(bone**2))
            e1 = bone / length
            direction = frame[end] - frame[start]
            across = direction - sum(direction * e1) * e1
            e2 = across / np.sqrt(sum(across**2))
            e3 = np.array([e1[1] * e2[2] - e1[2] * e2[1], e1[2] * e2[0] - e1[0] * e2[2], e1[0] * e2[1] - e1[1] * e2[0]])
            for joint in members:
                offset = frame[joint] - frame[origin]
                out[t, joint] = [scale / length * sum(axis * offset) for axis in (e1, e2, e3)]
    return out


def alien_pinv(joints: Array, parts: list[tuple[list[int], int, int, tuple[int, int]]], scale: float) -> Array:
    """Eqs. 6-7 to the letter, with the pseudo-inverse of NumPy."""
    out = np.zeros_like(joints)
    for t, frame in enumerate(joints):
        for members, origin, anchor, _ in parts:
            shift = -frame[origin][:, None]
            target = np.array([[scale], [0], [0]])
            turn = (target - shift) @ np.linalg.pinv(frame[anchor][:, None])
            for joint in members:
                out[t, joint] = (turn @ frame[joint][:, None] + shift)[:, 0]
    return out


def sfem(
    bodies: Array,
    maps: dict[str, Linear],
    theta: Array,
    graph: Array,
    alpha: float,
    norm: tuple[Array, Array],
    joins: str = "scores",
    heads: int = 1,
) -> Array:
    """Eq. 10."""
    mixed, values = [], []
    for x in bodies:
        mapped = {name: map_all(x, maps[name]) for name in ("query", "key", "value")}
        frames = []
        for t in range(len(x)):
            of_frame = gathered({name: each[t] for name, each in mapped.items()}, alpha * graph, joins, heads)
            frames.append([theta @ joint for joint in of_frame])
        mixed.append(frames)
        values.append(mapped["value"])
    return np.maximum(batch_norm(np.array(mixed), *norm) + np.array(values), 0)


def frame_features(bodies: Array, maps: dict[str, Linear], kernel: Array, group: int, norm: tuple[Array, Array]) -> Array:
    """Eq. 12; kernel is (out, in, R)."""
    convolved = []
    for x in bodies:
        frames, joints, channels = x.shape
        query, key, value = (map_all(x, maps[name]).reshape(frames, joints * channels) for name in ("query", "key", "value"))
        gathered = []
        for start in range(0, frames, group):
            part = slice(start, min(start + group, frames))
            gathered += list(weighted_sum(correlations(query[part], key[part]), value[part]))
        series = np.array(gathered).reshape(frames, joints, channels)
        taps = kernel.shape[2]
        out = np.zeros((frames, joints, kernel.shape[0]))
        for t in range(frames):
            for r in range(taps):
                source = t + r - (taps - 1) // 2
                if 0 <= source < frames:
                    for j in range(joints):
                        out[t, j] += kernel[:, :, r] @ series[source, j]
        convolved.append(out)
    return np.maximum(batch_norm(np.array(convolved), *norm) + bodies, 0)


def joint_features(
    bodies: Array,
    maps: dict[str, Linear],
    theta: Array,
    stride: int,
    norm: tuple[Array, Array],
    residual: tuple[Array, Array, Array] | None,
) -> Array:
    """Eq. 11 with r = 1: attention over all frames of each joint, then the frames that the stride keeps."""
    mixed = []
    for x in bodies:
        query, key, value = (map_all(x, maps[name]) for name in ("query", "key", "value"))
        joints = [weighted_sum(correlations(query[:, j], key[:, j]), value[:, j]) for j in range(x.shape[1])]
        full = np.array(joints).transpose(1, 0, 2)
        mixed.append([[theta @ joint for joint in full[t]] for t in range(0, len(x), stride)])
    kept = bodies[:, ::stride]
    if residual is not None:
        weight, gain, shift = residual
        kept = batch_norm(np.array([[[weight @ joint for joint in frame] for frame in x] for x in kept]), gain, shift)
    return np.maximum(batch_norm(np.array(mixed), *norm) + kept, 0)


def stfem(
    bodies: Array,
    maps: dict[str, Linear],
    theta: Array,
    graph: Array,
    beta: float,
    window: int,
    stride: int,
    norm: tuple[Array, Array],
    collapse: Array,
    collapse_norm: tuple[Array, Array],
    joins: str = "scores",
    heads: int = 1,
) -> Array:
    """Eq. 14, then the (tau x 1) convolution and BN; collapse is (out, in, tau)."""
    mixed, values = [], []
    for x in bodies:
        frames, joints, _ = x.shape
        maps_of_frames = {name: map_all(x, maps[name]) for name in ("query", "key", "value")}
        for start in range(0, frames, stride):
            tokens = {name: [] for name in maps_of_frames}
            for t in range(start, start + window):
                for j in range(joints):
                    for name, mapped in maps_of_frames.items():
                        tokens[name].append(mapped[t, j] if t < frames else np.zeros(mapped.shape[2]))
            of_window = {name: np.array(each) for name, each in tokens.items()}
            mixed.append([theta @ token for token in gathered(of_window, beta * graph, joins, heads)])
            values.append(of_window["value"])
    activated = np.maximum(batch_norm(np.array(mixed), *norm) + np.array(values), 0)
    joints = bodies.shape[2]
    collapsed = np.zeros((len(activated), joints, collapse.shape[0]))
    for w, tokens in enumerate(activated):
        for j in range(joints):
            for r in range(window):
                collapsed[w, j] += collapse[:, :, r] @ tokens[r * joints + j]
    return batch_norm(collapsed, *collapse_norm).reshape(len(bodies), -1, joints, collapse.shape[0])


def dilated_convolution(x: Array, kernel: Array, bias: Array, dilation: int, stride: int) -> Array:
    """A (taps x 1) convolution over frames with zeros around; kernel (out, in, taps)."""
    frames, joints, _ = x.shape
    taps = kernel.shape[2]
    out = []
    for t in range(0, frames, stride):
        row = np.tile(bias, (joints, 1)).astype(np.float64)
        for r in range(taps):
            source = t + (r - taps // 2) * dilation
            if 0 <= source < frames:
                for j in range(joints):
                    row[j] += kernel[:, :, r] @ x[source, j]
        out.append(row)
    return np.array(out)


def max_pool(x: Array, stride: int) -> Array:
    """The largest of three frames."""
    return np.array([np.max(x[max(t - 1, 0) : t + 2], axis=0) for t in range(0, len(x), stride)])


def graph_conv_loop(
    features: Array, bones: Array, scales: Sequence[int], residual: Array, weight: Array, bias: Array, window: int, stride: int
) -> Array:
    """Graph convolution over scales (MS-G3D), node by node; (clip, frame, joint, channel) to (clip, window, node, channel)."""
    clips, frames, joints, channels = features.shape
    nodes = window * joints
    linked = np.array([[i % joints == j % joints or bones[i % joints, j % joints] for j in range(nodes)] for i in range(nodes)]) * 1.0
    if window == 1:
        linked = bones
    graph = []
    for k in scales:
        near = np.array([[i == j or steps_between(linked, i, j) == k for j in range(nodes)] for i in range(nodes)]) * 1.0
        degree = near.sum(1)
        graph.append(near / np.sqrt(np.outer(degree, degree)))
    starts = range(-((window - 1) // 2), frames - (window - 1) // 2, stride)
    output = np.tile(bias, (clips, len(starts), nodes, 1)).astype(np.float64)
    for clip in range(clips):
        for index, start in enumerate(starts):
            inside = [
                features[clip, frame] if 0 <= frame < frames else np.zeros((joints, channels)) for frame in range(start, start + window)
            ]
            tokens = np.concatenate(inside)
            for scale in range(len(scales)):
                theta = weight[:, scale * channels : (scale + 1) * channels]
                for node in range(nodes):
                    for source in range(nodes):
                        output[clip, index, node] += (graph[scale][node, source] + residual[scale, node, source]) * (theta @ tokens[source])
    return output


def steps_between(linked: Array, start: int, end: int) -> int:
    """Links on the shortest way between two nodes, by a search in breadth."""
    reached, edge, steps = {start}, {start}, 0
    while end not in reached:
        edge = {j for i in edge for j in range(len(linked)) if linked[i, j]} - reached
        reached |= edge
        steps += 1
    return steps
