"""What :mod:`amanet.model.window_sweep` does to windows beside matrix products, as loops that numba compiles, each one sweep over memory.

Tokens are (body, window, token, channel), token = frame of the window * joints + joint; keys may stand behind them. The first window begins
at frame ``first``. What goes into the collapsing convolution, or comes out of its gradient, has the frames of a window beside each other:
(body, window, joint, window_frame, channel).
"""

from typing import no_type_check

import numpy as np

from amanet.compiled import compiled


@compiled
@no_type_check
def activate(mixed, value, first, stride, scale, shift, active):
    """Writes ReLU of the normalised tokens plus the values of their frames."""
    bodies, windows, joints, frames, channels = active.shape
    zero = active.dtype.type(0)
    for body in range(bodies):
        for window in range(windows):
            for frame in range(frames):
                for joint in range(joints):
                    for channel in range(channels):
                        found = mixed[body, window, frame * joints + joint, channel] * scale[channel] + shift[channel]
                        found += value[body, first + window * stride + frame, joint, channel]
                        active[body, window, joint, frame, channel] = zero if found < zero else found


@compiled
@no_type_check
def activate_backward(of_active, active, mixed, mean, first, stride, of_normed, of_value, sums):
    """Writes the gradient of the normalised tokens, adds that of the values, and the sums that the BN's gradient needs."""
    bodies, windows, joints, frames, channels = active.shape
    zero = active.dtype.type(0)
    part = np.empty((2, channels), mixed.dtype)
    for body in range(bodies):
        for window in range(windows):
            part[:] = 0
            for frame in range(frames):
                for joint in range(joints):
                    token = frame * joints + joint
                    for channel in range(channels):
                        behind = of_active[body, window, joint, frame, channel]
                        behind = zero if active[body, window, joint, frame, channel] <= zero else behind
                        of_normed[body, window, token, channel] = behind
                        of_value[body, first + window * stride + frame, joint, channel] += behind
                        part[0, channel] += behind
                        part[1, channel] += behind * (mixed[body, window, token, channel] - mean[channel])
            sums += part


@compiled
@no_type_check
def normalise_backward(of_normed, mixed, copies, offset, factor, scale, of_mixed):
    """Writes the gradient of the tokens before the BN; the means ask for the number of a body's copies."""
    bodies, windows, tokens, channels = mixed.shape
    for body in range(bodies):
        for window in range(windows):
            for token in range(tokens):
                for channel in range(channels):
                    moved = copies[body] * (offset[channel] + mixed[body, window, token, channel] * factor[channel])
                    of_mixed[body, window, token, channel] = moved + of_normed[body, window, token, channel] * scale[channel]


@compiled
@no_type_check
def add_back(tokens, first, stride, window_frames, frames):
    """Adds tokens to the frames they came from."""
    bodies, windows, _, channels = tokens.shape
    joints = frames.shape[2]
    for body in range(bodies):
        for window in range(windows):
            for frame in range(window_frames):
                for joint in range(joints):
                    for channel in range(channels):
                        frames[body, first + window * stride + frame, joint, channel] += tokens[
                            body, window, frame * joints + joint, channel
                        ]
