"""Attention of each joint to itself in all frames, and its gradient, as loops that numba compiles, in memory for one joint.

Queries and what is mixed are (body, kept frame, joint, channel), features (body, frame, joint, channel).
"""

from typing import NamedTuple, no_type_check

import numpy as np
from torch import Tensor

from amanet.loops.compiled import compiled
from amanet.loops.products import multiply, turn
from amanet.model.softmax_loops import correlate, correlate_backward


class Memory(NamedTuple):
    """For one joint: (kept frame, key) twice, (channel, key), (frame, channel), (kept frame, channel).

    Keys are the frames, and a few that only fill up a vector register.
    """

    scores: Tensor
    of_scores: Tensor
    turned: Tensor
    features: Tensor
    kept: Tensor


@compiled
@no_type_check
def mix(query, features, scale, memory, mixed):
    """Writes what is mixed of the features, which are both keys and values."""
    for body in range(query.shape[0]):
        for joint in range(query.shape[2]):
            _correlate(query[body, :, joint], features[body, :, joint], scale, memory)
            multiply(memory.scores[:, : features.shape[1]], memory.features, mixed[body, :, joint], False)


@compiled
@no_type_check
def mix_backward(of_mixed, query, features, scale, memory, of_query, of_features):
    frames = features.shape[1]
    for body in range(query.shape[0]):
        for joint in range(query.shape[2]):
            _correlate(query[body, :, joint], features[body, :, joint], scale, memory)
            of_feature = of_features[body, :, joint]
            memory.kept[:] = of_mixed[body, :, joint]
            multiply(memory.scores[:, :frames].T, memory.kept, of_feature, False)
            multiply(memory.kept, memory.turned, memory.of_scores, False)
            correlate_backward(memory.scores, memory.of_scores, scale, None)
            multiply(memory.of_scores[:, :frames], memory.features, of_query[body, :, joint], False)
            memory.kept[:] = query[body, :, joint]
            multiply(memory.of_scores[:, :frames].T, memory.kept, of_feature, True)


@compiled
@no_type_check
def _correlate(query, features, scale, memory):
    """Correlations in place of the scores, and the features in one piece and turned."""
    memory.features[:] = features
    turn(memory.features, memory.turned[:, : len(features)])
    memory.turned[:, len(features) :] = 0
    multiply(query, memory.turned, memory.scores, False)
    memory.scores[:, len(features) :] = -np.inf
    correlate(memory.scores, None, scale)
