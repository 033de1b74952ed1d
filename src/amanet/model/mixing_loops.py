"""Attention within the windows of STFEM, and its gradient, as loops that numba compiles: correlations never leave the core's own cache.

A loop takes one window after the other through all that happens to it, in memory for one window (:class:`Memory`). Tokens are frame of the
window * joints + joint; behind the keys of a window stand some that only fill up a vector register, masked by the bias.
"""

from typing import NamedTuple, no_type_check

import numpy as np
from torch import Tensor

from amanet.loops.compiled import compiled
from amanet.loops.products import multiply, turn
from amanet.model.norm_loops import add_moments
from amanet.model.softmax_loops import correlate, correlate_backward


class Windows(NamedTuple):
    """Where windows lie in frames, the first at the first.

    Attributes:
        stride: frames from one window to the next.
        frames: of the clip; zeros follow.
        joints: of a frame.
    """

    stride: int
    frames: int
    joints: int


class Scoring(NamedTuple):
    """How queries and keys become correlations.

    Attributes:
        scale: of their products.
        bias: what is added to them; it masks the keys that only fill up a register.
        graph: what is added to correlations, if anything.
        unseen: what the last frames score with keys past the clip, (body, frame, joint), where these do not score zero.
    """

    scale: float
    bias: Tensor
    graph: Tensor | None
    unseen: Tensor | None


class Operands(NamedTuple):
    """What attention multiplies, all (body, token, channel)."""

    query: Tensor
    key: Tensor
    value: Tensor


class Totals(NamedTuple):
    """Memory for the gradients. That of the value is the key's where they are one; ``expand``'s is turned; some may not be asked for."""

    query: Tensor
    key: Tensor
    value: Tensor
    graph: Tensor | None
    unseen: Tensor | None
    expand: Tensor | None


class Normalising(NamedTuple):
    """The gradient of a token before the BN: offset, factor of the token, and scale of the gradient behind it, of each channel."""

    offset: Tensor
    factor: Tensor
    scale: Tensor


class Memory(NamedTuple):
    """For what is made of one window: (token, key), (channel, key), and (token, channel) as it is mixed and as it is expanded."""

    scores: Tensor
    of_scores: Tensor
    turned: Tensor
    mixed: Tensor
    expanded: Tensor


@compiled
@no_type_check
def mix(operands, scoring, windows, memory, mixed):
    """Writes what each window mixes of the values."""
    bodies, number, _, _ = mixed.shape
    for body in range(bodies):
        for window in range(number):
            _mix(operands, scoring, windows, memory, body, window, mixed[body, window])


@compiled
@no_type_check
def mix_and_count(operands, scoring, windows, memory, expand, copies, shift, sums, mixed, streams):
    """The same, and adds up the moments of what BN sees, about its first token, each as often as there are copies of its body."""
    bodies, number, tokens, _ = mixed.shape
    for body in range(bodies):
        for window in range(number):
            _mix(operands, scoring, windows, memory, body, window, memory.mixed)
            found = expand_tokens(memory.mixed, expand, memory.expanded)
            if body == 0 and window == 0:
                shift[:] = found[0]
            if expand is None:
                add_moments(found, copies[body : body + 1], tokens, shift, sums, mixed[body, window], streams)
            else:
                mixed[body, window] = memory.mixed
                add_moments(found, copies[body : body + 1], tokens, shift, sums, None, None)


@compiled
@no_type_check
def mix_backward(of_normed, mixed, normalising, copies, operands, scoring, windows, memory, expand, narrow, totals, keys_are_values):
    """Adds up the gradients in the frames that they belong to; a frame's first window writes there, so nobody writes zeros before.

    ``narrow`` is ``expand`` turned.
    """
    bodies, number, tokens, _ = mixed.shape
    joined = np.empty_like(memory.scores)
    for body in range(bodies):
        for window in range(number):
            found = expand_tokens(mixed[body, window], expand, memory.expanded)
            _normalise_backward(of_normed[body, window], found, copies[body], normalising, memory.expanded)
            gradient = _expand_backward(memory.expanded, mixed[body, window], narrow, totals.expand, memory.mixed)
            start = window * windows.stride * windows.joints
            here = slice(start, start + tokens)
            before = max(0, tokens - windows.stride * windows.joints) if start > 0 else 0
            _correlate(operands, scoring, windows, body, start, tokens, memory)
            correlations = _join(memory.scores, scoring.graph, joined)
            _add(correlations[:, :tokens].T, gradient, totals.value[body, here], before)
            _multiply_turned(gradient, operands.value[body, start : start + memory.scores.shape[1]], memory.of_scores, memory.turned)
            _join_backward(memory.of_scores, scoring.graph, totals.graph)
            _correlate_backward(memory, scoring.graph, scoring.scale, totals.graph)
            of_scores = memory.of_scores[:, :tokens]
            _score_unseen_backward(of_scores, totals.unseen, windows, body, start, scoring.scale)
            _add(of_scores, operands.key[body, here], totals.query[body, here], before)
            _add(of_scores.T, operands.query[body, here], totals.key[body, here], tokens if keys_are_values else before)


@compiled
@no_type_check
def _mix(operands, scoring, windows, memory, body, window, mixed):
    start, tokens = window * windows.stride * windows.joints, len(mixed)
    _correlate(operands, scoring, windows, body, start, tokens, memory)
    correlations = _join(memory.scores, scoring.graph, memory.of_scores)
    multiply(correlations[:, :tokens], operands.value[body, start : start + tokens], mixed, False)


@compiled
@no_type_check
def expand_tokens(mixed, expand, expanded):
    """The tokens that BN sees, if they are made of fewer channels that were mixed."""
    if expand is None:
        return mixed
    multiply(mixed, expand, expanded, False)
    return expanded


@compiled
@no_type_check
def _expand_backward(gradient, mixed, narrow, of_expand, of_mixed):
    if narrow is None:
        return gradient
    multiply(mixed.T, gradient, of_expand, True)
    multiply(gradient, narrow, of_mixed, False)
    return of_mixed


@compiled
@no_type_check
def _normalise_backward(of_normed, tokens, copies, normalising, of_tokens):
    """Writes the gradient of the tokens before the BN; the means ask for the number of a body's copies."""
    offset, factor, scale = normalising.offset, normalising.factor, normalising.scale
    for token in range(len(tokens)):
        for channel in range(tokens.shape[1]):
            moved = copies * (offset[channel] + tokens[token, channel] * factor[channel])
            of_tokens[token, channel] = moved + of_normed[token, channel] * scale[channel]


@compiled
@no_type_check
def _correlate(operands, scoring, windows, body, start, tokens, memory):
    scores = memory.scores
    key = operands.key[body, start : start + scores.shape[1]]
    _multiply_turned(operands.query[body, start : start + tokens], key, scores, memory.turned)
    _score_unseen(scores[:, :tokens], scoring.unseen, windows, body, start, scoring.scale)
    correlate(scores, scoring.bias, scoring.scale)


@compiled
@no_type_check
def _score_unseen(scores, unseen, windows, body, start, scale):
    """Adds what the features as keys leave out, in windows that end past the clip."""
    if unseen is not None:
        seen = windows.frames - start // windows.joints
        for token in range(_seen_before_the_end(scores, windows, start)):
            frame, joint = divmod(token, windows.joints)
            score = unseen[body, unseen.shape[1] - seen + frame, joint] / scale
            for key in range(seen * windows.joints, scores.shape[1]):
                scores[token, key] += score


@compiled
@no_type_check
def _score_unseen_backward(of_scores, of_unseen, windows, body, start, scale):
    if of_unseen is not None:
        seen = windows.frames - start // windows.joints
        for token in range(_seen_before_the_end(of_scores, windows, start)):
            frame, joint = divmod(token, windows.joints)
            for key in range(seen * windows.joints, of_scores.shape[1]):
                of_unseen[body, of_unseen.shape[1] - seen + frame, joint] += of_scores[token, key] / scale


@compiled
@no_type_check
def _seen_before_the_end(scores, windows, start):
    """Tokens of a window that ends past the clip which are in the clip; none of one that does not."""
    seen = windows.frames * windows.joints - start
    return seen if seen < len(scores) else 0


@compiled
@no_type_check
def _join(scores, graph, joined):
    """Correlations with the graph added, if it is added to them."""
    if graph is None:
        return scores
    for row in range(len(scores)):
        for key in range(scores.shape[1]):
            joined[row, key] = scores[row, key] + graph[row, key]
    return joined


@compiled
@no_type_check
def _join_backward(of_correlations, graph, of_graph):
    if graph is not None and of_graph is not None:
        of_graph += of_correlations


@compiled
@no_type_check
def _correlate_backward(memory, graph, scale, of_graph):
    """The gradient of a graph that is added to the scores is theirs."""
    if graph is None:
        correlate_backward(memory.scores, memory.of_scores, scale, of_graph)
    else:
        correlate_backward(memory.scores, memory.of_scores, scale, None)


@compiled
@no_type_check
def _multiply_turned(left, right, out, turned):
    """``out = left @ right.T``"""
    turned = turned[: right.shape[1], : len(right)]
    turn(right, turned)
    multiply(left, turned, out, False)


@compiled
@no_type_check
def _add(left, right, total, before):
    """Adds a product to the rows that have something before, and writes the others."""
    multiply(left[:before], right, total[:before], True)
    multiply(left[before:], right, total[before:], False)
