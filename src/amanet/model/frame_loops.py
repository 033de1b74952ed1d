"""What :mod:`amanet.model.frame_convolution` does to frames beside matrix products, as loops that numba compiles.

Frames are (body, frame, joint, channel). Every tile of eight consecutive frames becomes eight rows of a spectrum, (row, body, tile, joint,
channel), and back.
"""

from typing import no_type_check

import numpy as np

from amanet.loops.compiled import compiled, put


@compiled
@no_type_check
def spread(frames, matrix, first, step, spectrum):
    """Writes ``matrix`` times the frames of every tile; tile 0 begins at frame ``first``. Frames that are not there are zeros."""
    rows, bodies, tiles, joints, _ = spectrum.shape
    inside = np.empty(matrix.shape, matrix.dtype)
    place = np.zeros(8, np.int64)
    for body in range(bodies):
        for tile in range(tiles):
            for each in range(8):
                frame = first + tile * step + each
                there = 0 <= frame < frames.shape[1]
                place[each] = frame if there else 0
                inside[:, each] = matrix[:, each] * there
            for joint in range(joints):
                x0, x1 = frames[body, place[0], joint], frames[body, place[1], joint]
                x2, x3 = frames[body, place[2], joint], frames[body, place[3], joint]
                x4, x5 = frames[body, place[4], joint], frames[body, place[5], joint]
                x6, x7 = frames[body, place[6], joint], frames[body, place[7], joint]
                for row in range(rows):
                    _sum_of_eight(inside[row], x0, x1, x2, x3, x4, x5, x6, x7, 0, spectrum[row, body, tile, joint], None)


@compiled
@no_type_check
def gather(spectrum, matrix, begin, first, step, frames, streams):
    """Adds up ``matrix`` times the rows of every tile in its frames, as many of the eight as there are rows in ``matrix``.

    The first tile of all begins at frame ``begin``, the first of these at ``first``. The first tile that reaches a frame writes it;
    without ``begin`` all frames were written before.
    """
    _, bodies, tiles, joints, _ = spectrum.shape
    for body in range(bodies):
        for tile in range(tiles):
            start = first + tile * step
            reached = frames.shape[1] if begin is None else 0 if start == begin else start - step + len(matrix)
            for joint in range(joints):
                x0, x1 = spectrum[0, body, tile, joint], spectrum[1, body, tile, joint]
                x2, x3 = spectrum[2, body, tile, joint], spectrum[3, body, tile, joint]
                x4, x5 = spectrum[4, body, tile, joint], spectrum[5, body, tile, joint]
                x6, x7 = spectrum[6, body, tile, joint], spectrum[7, body, tile, joint]
                for frame in range(max(start, 0), min(start + len(matrix), frames.shape[1])):
                    factors, out = matrix[frame - start], frames[body, frame, joint]
                    if frame < reached:
                        _sum_of_eight(factors, x0, x1, x2, x3, x4, x5, x6, x7, 1, out, None)
                    else:
                        _sum_of_eight(factors, x0, x1, x2, x3, x4, x5, x6, x7, 0, out, streams)


@compiled
@no_type_check
def _sum_of_eight(factors, x0, x1, x2, x3, x4, x5, x6, x7, kept, out, streams):
    """Eight vectors, each times its factor, beside what stands in ``out`` if that is ``kept``; written out, which takes half the time of a
    loop.
    """
    f0, f1, f2, f3, f4, f5, f6, f7 = factors[0], factors[1], factors[2], factors[3], factors[4], factors[5], factors[6], factors[7]
    for at in range(len(out)):
        first = (f0 * x0[at] + f1 * x1[at]) + (f2 * x2[at] + f3 * x3[at])
        second = (f4 * x4[at] + f5 * x5[at]) + (f6 * x6[at] + f7 * x7[at])
        put(out, (at,), first + second + out[at] if kept else first + second, streams)
