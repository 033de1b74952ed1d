"""How the windows of STFEM collapse to frames, and the gradient, as loops that numba compiles, some windows at a time.

Tokens are (body, window, token, channel), token = frame of the window * joints + joint. What the collapsing convolution takes, and its
gradient, has the frames of a window beside each other: (window * joints + joint, frame of the window * channels + channel).
"""

from typing import NamedTuple, no_type_check

import numpy as np
from torch import Tensor

from amanet.loops.compiled import compiled, put
from amanet.loops.products import multiply
from amanet.model.mixing_loops import expand_tokens

ROWS_AT_ONCE = 200
"""Joints of windows that collapse in one product, which reads all taps."""


class Normed(NamedTuple):
    """BN of each channel, as one product and one sum, and the mean that it took away."""

    scale: Tensor
    shift: Tensor
    mean: Tensor


class Memory(NamedTuple):
    """For what is made of some windows, as the convolution takes them, twice, and for the expanded tokens of one."""

    active: Tensor
    of_active: Tensor
    expanded: Tensor


@compiled
@no_type_check
def collapse(mixed, value, normed, windows, expand, taps, memory, collapsed):
    """Writes Conv(ReLU(BN(tokens) + values)), (body, window * joints + joint, channel)."""
    bodies, number, _, _ = mixed.shape
    at_once = len(memory.active) // windows.joints
    for body in range(bodies):
        for first in range(0, number, at_once):
            last = min(first + at_once, number)
            rows = _activate_some(mixed[body, first:last], value[body], first, windows, normed, expand, memory)
            multiply(memory.active[:rows], taps, collapsed[body, first * windows.joints : last * windows.joints], False)


@compiled
@no_type_check
def collapse_backward(
    of_collapsed, mixed, value, normed, windows, expand, taps_turned, memory, of_value, sums, of_taps, of_normed, streams
):
    """Writes the gradient of the normalised tokens, adds up those of values and taps, and the sums that the BN's gradient needs.

    A frame's first window writes the gradient of its values, so nobody writes zeros before.
    """
    bodies, number, _, _ = mixed.shape
    at_once = len(memory.active) // windows.joints
    for body in range(bodies):
        for first in range(0, number, at_once):
            last = min(first + at_once, number)
            rows = _activate_some(mixed[body, first:last], value[body], first, windows, normed, expand, memory)
            active, gradient = memory.active[:rows], of_collapsed[body, first * windows.joints : last * windows.joints]
            multiply(active.T, gradient, of_taps, True)
            multiply(gradient, taps_turned, memory.of_active[:rows], False)
            for window in range(first, last):
                tokens = expand_tokens(mixed[body, window], expand, memory.expanded)
                behind = of_normed[body, window]
                _activate_backward(tokens, window, windows, normed, memory, window - first, of_value[body], sums, behind, streams)


@compiled
@no_type_check
def _activate_some(mixed, value, first, windows, normed, expand, memory):
    """Some windows as the convolution takes them; returns how many rows they are."""
    for place in range(len(mixed)):
        tokens = expand_tokens(mixed[place], expand, memory.expanded)
        _activate(tokens, value, first + place, windows, normed, memory.active, place)
    return len(mixed) * windows.joints


@compiled
@no_type_check
def _activate(tokens, value, window, windows, normed, active, place):
    """Writes ReLU of the normalised tokens plus the values of their frames, in the place of a window."""
    joints, channels = windows.joints, tokens.shape[1]
    zero = active.dtype.type(0)
    start = window * windows.stride * joints
    for token in range(len(tokens)):
        frame, joint = divmod(token, joints)
        row = active[place * joints + joint, frame * channels : (frame + 1) * channels]
        for channel in range(channels):
            found = tokens[token, channel] * normed.scale[channel] + normed.shift[channel] + value[start + token, channel]
            row[channel] = zero if found < zero else found


@compiled
@no_type_check
def _activate_backward(tokens, window, windows, normed, memory, place, of_value, sums, of_normed, streams):
    joints, channels = windows.joints, tokens.shape[1]
    zero = tokens.dtype.type(0)
    part = np.zeros((2, channels), tokens.dtype)
    start = window * windows.stride * joints
    before = max(0, len(tokens) - windows.stride * joints) if window > 0 else 0
    for token in range(len(tokens)):
        frame, joint = divmod(token, joints)
        columns = slice(frame * channels, (frame + 1) * channels)
        active, of_active = memory.active[place * joints + joint, columns], memory.of_active[place * joints + joint, columns]
        for channel in range(channels):
            behind = zero if active[channel] <= zero else of_active[channel]
            put(of_normed, (token, channel), behind, streams)
            part[0, channel] += behind
            part[1, channel] += behind * (tokens[token, channel] - normed.mean[channel])
            of_value[start + token, channel] = behind + (of_value[start + token, channel] if token < before else zero)
    sums += part
