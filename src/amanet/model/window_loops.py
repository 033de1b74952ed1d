"""What :mod:`amanet.model.window_sweep` does to windows beside matrix products, as loops that numba compiles, each one sweep over memory.

Tokens are (body, window, token, channel), token = frame of the window * joints + joint; keys may stand behind them. The first window begins
at frame ``first``. What windows add up frame by frame is written by the first window that reaches a frame, so nobody writes zeros before.
What goes into the collapsing convolution, or comes out of its gradient, has the frames of a window beside each other:
(body, window, joint, window_frame, channel).
"""

from typing import no_type_check

import numpy as np

from amanet.compiled import compiled, put


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
def activate_backward(of_active, active, mixed, mean, first, stride, of_value, sums, of_normed, streams):
    """Writes the gradient of the normalised tokens, adds up that of the values, and adds the sums that the BN's gradient needs."""
    bodies, windows, joints, frames, channels = active.shape
    zero = active.dtype.type(0)
    part = np.empty((2, channels), mixed.dtype)
    for body in range(bodies):
        for window in range(windows):
            start = first + window * stride
            part[:] = 0
            for frame in range(frames):
                reached = _is_reached(frame, frames, start, stride)
                for joint in range(joints):
                    token = frame * joints + joint
                    for channel in range(channels):
                        behind = of_active[body, window, joint, frame, channel]
                        behind = zero if active[body, window, joint, frame, channel] <= zero else behind
                        put(of_normed, (body, window, token, channel), behind, streams)
                        before = of_value[body, start + frame, joint, channel] if reached else zero
                        of_value[body, start + frame, joint, channel] = before + behind
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
    """Adds up tokens in the frames they came from."""
    bodies, windows, _, channels = tokens.shape
    joints = frames.shape[2]
    zero = tokens.dtype.type(0)
    for body in range(bodies):
        for window in range(windows):
            start = first + window * stride
            for frame in range(window_frames):
                reached = _is_reached(frame, window_frames, start, stride)
                for joint in range(joints):
                    for channel in range(channels):
                        before = frames[body, start + frame, joint, channel] if reached else zero
                        frames[body, start + frame, joint, channel] = before + tokens[body, window, frame * joints + joint, channel]


@compiled
@no_type_check
def _is_reached(frame, window_frames, start, stride):
    """Whether a window before this one, which begins at frame ``start``, reached this frame of it."""
    return start > 0 and frame < window_frames - stride
