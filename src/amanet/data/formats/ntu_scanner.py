"""The compiled half of the ``.skeleton`` reader: one pass over the bytes of a file, every number checked.

The grammar, a line each: the number of frames; for a frame its number of bodies; for a body its header of ten numbers, its number of
joints, and a line of twelve numbers for each joint. Numbers are plain decimals parted by spaces. The text must end with a line feed,
which no token runs across, so that the scanner needs no other bound than the end of a line.
"""

from typing import no_type_check

import numpy as np

from amanet.loops.compiled import compiled

NUM_JOINTS = 25
MAX_BODIES = 6
MAX_FRAMES = 10_000
"""The longest recording has 300."""

# What can be wrong: the part of the file in which it is.
SOUND, FRAME_COUNT, BODY_COUNT, BODY_HEADER, BODY_TWICE, JOINT_COUNT, JOINT, REST = range(8)

# Largest magnitude of each float of a joint's line: metres, pixels, parts of a unit quaternion. Generous: it is there to find damage.
JOINT_LIMITS = np.array([100.0] * 3 + [1e9] * 4 + [2.0] * 4)
LEAN_LIMIT = 100.0
# Largest value of each integer of a body's header: id, clipped edges, confidence and state of either hand, restricted.
HEADER_LIMITS = np.array([2**63 - 1, 15, 1, 4, 1, 4, 1])
TRACKING_LIMIT = 2

NOWHERE = -1
LINE_FEED, SPACE, MINUS, PLUS, POINT, ZERO, CAPITAL_E, SMALL_E = (ord(character) for character in "\n -+.0Ee")
POWERS_OF_TEN = np.array([float(10**power) for power in range(23)])
"""Those that a double holds exactly."""
EXACT_INTEGERS = 2**53
MOST_DIGITS = 40


@compiled
@no_type_check
def _byte(text, place):
    return text[np.uint64(place)]  # an unsigned index is not checked for counting from the end: a sixth less time


@compiled
@no_type_check
def _skip_spaces(text, place):
    while _byte(text, place) == SPACE:
        place += 1
    return place


@compiled
@no_type_check
def _ends_token(text, place):
    return _byte(text, place) == SPACE or _byte(text, place) == LINE_FEED


@compiled
@no_type_check
def _read_integer(text, place, limit):
    """(value, place after it) of a decimal without sign, NOWHERE where there is none up to the limit."""
    start, value = place, np.uint64(0)
    while ZERO <= _byte(text, place) < ZERO + 10 and place - start < 19:
        value = value * np.uint64(10) + np.uint64(_byte(text, place) - ZERO)
        place += 1
    padded = _byte(text, start) == ZERO and place > start + 1
    if place == start or padded or value > np.uint64(limit) or not _ends_token(text, place):
        return 0, NOWHERE
    return np.int64(value), place


@compiled
@no_type_check
def _read_digits(text, place, mantissa):
    while ZERO <= _byte(text, place) < ZERO + 10:
        mantissa = mantissa * 10 + (_byte(text, place) - ZERO)
        place += 1
    return mantissa, place


@compiled
@no_type_check
def _read_float(text, place, limit):
    """(value, place after it, whether the value is the nearest double) of a decimal; NOWHERE where there is none within the limit."""
    negative = _byte(text, place) == MINUS
    first = place + negative
    mantissa, place = _read_digits(text, first, np.int64(0))
    padded = _byte(text, first) == ZERO and place > first + 1
    if place == first or padded:
        return 0.0, NOWHERE, True
    exponent = 0
    if _byte(text, place) == POINT:
        point = place
        mantissa, place = _read_digits(text, point + 1, mantissa)
        exponent = point + 1 - place
        if exponent == 0:
            return 0.0, NOWHERE, True
    if place - first > 18:  # the integer may have run over: count once more in doubles
        return _read_long_float(text, first, limit)
    if _byte(text, place) == CAPITAL_E or _byte(text, place) == SMALL_E:
        shift, place = _read_exponent(text, place + 1)
        exponent += shift
    if place == NOWHERE or not _ends_token(text, place):
        return 0.0, NOWHERE, True
    exact = mantissa <= EXACT_INTEGERS and -22 <= exponent <= 22
    value = _scale(np.float64(mantissa), exponent)
    if not value <= limit:
        return 0.0, NOWHERE, True
    return (-value if negative else value), place, exact


@compiled
@no_type_check
def _read_exponent(text, place):
    negative = _byte(text, place) == MINUS
    start = place + (negative or _byte(text, place) == PLUS)
    value, place = _read_digits(text, start, np.int64(0))
    if not 1 <= place - start <= 3:
        return 0, NOWHERE
    return (-value if negative else value), place


@compiled
@no_type_check
def _scale(mantissa, exponent):
    if -22 <= exponent <= 0:
        return mantissa / POWERS_OF_TEN[-exponent]
    if 0 < exponent <= 22:
        return mantissa * POWERS_OF_TEN[exponent]
    return mantissa * 10.0**exponent


@compiled
@no_type_check
def _read_long_float(text, first, limit):
    """As `_read_float` from the first digit on, close to the value and never said to be the nearest double."""
    mantissa, place = _read_digits(text, first, 0.0)
    exponent = 0
    if _byte(text, place) == POINT:
        point = place
        mantissa, place = _read_digits(text, point + 1, mantissa)
        exponent = point + 1 - place
    if place - first > MOST_DIGITS:
        return 0.0, NOWHERE, False
    if _byte(text, place) == CAPITAL_E or _byte(text, place) == SMALL_E:
        shift, place = _read_exponent(text, place + 1)
        exponent += shift
    value = _scale(mantissa, exponent)
    if place == NOWHERE or not _ends_token(text, place) or not value <= limit:
        return 0.0, NOWHERE, False
    return value, place, False


@compiled
@no_type_check
def _read_count(text, place, limit):
    """(value, start of the next line) of a line that holds one integer; where there is none, the place after it is NOWHERE."""
    value, place = _read_integer(text, _skip_spaces(text, place), limit)
    if place == NOWHERE:
        return 0, NOWHERE
    place = _skip_spaces(text, place)
    return value, (place + 1 if _byte(text, place) == LINE_FEED else NOWHERE)


@compiled
@no_type_check
def _read_header(text, place):
    """(body id, start of the next line or NOWHERE, place of the fault) of a body's header."""
    body_id = 0
    for column in range(10):
        place = _skip_spaces(text, place)
        start = place
        if column in (7, 8):
            _, place, _ = _read_float(text, place, LEAN_LIMIT)
        else:
            limit = TRACKING_LIMIT if column == 9 else HEADER_LIMITS[column]
            value, place = _read_integer(text, place, limit)
            if column == 0:
                body_id = value
        if place == NOWHERE:
            return 0, NOWHERE, start
    place = _skip_spaces(text, place)
    return body_id, (place + 1 if _byte(text, place) == LINE_FEED else NOWHERE), place


@compiled
@no_type_check
def _read_joint(text, place, xyz):
    """(tracking state, start of the next line or NOWHERE, place of the fault, whether xyz are the nearest doubles) of a joint's line."""
    exact = True
    for column in range(11):
        place = _skip_spaces(text, place)
        start = place
        value, place, nearest = _read_float(text, place, JOINT_LIMITS[column])
        if place == NOWHERE:
            return 0, NOWHERE, start, exact
        if column < 3:
            xyz[column] = value
            exact &= nearest
    place = _skip_spaces(text, place)
    start = place
    tracking, place = _read_count(text, place, TRACKING_LIMIT)
    return tracking, place, start, exact


@compiled
@no_type_check
def _read_body(text, place, joints, tracking):
    """(fault, start of the next line or place of the fault, body id, whether the joints are exact) of a body of one frame."""
    body_id, after, fault_place = _read_header(text, place)
    if after == NOWHERE:
        return BODY_HEADER, fault_place, body_id, True
    place = after
    num_joints, after = _read_count(text, place, NUM_JOINTS) if place < len(text) else (0, NOWHERE)
    if after == NOWHERE or num_joints != NUM_JOINTS:
        return JOINT_COUNT, place, body_id, True
    place, exact = after, True
    for joint in range(NUM_JOINTS):
        if place == len(text):
            return JOINT, place, body_id, True
        tracking[joint], after, fault_place, nearest = _read_joint(text, place, joints[joint])
        if after == NOWHERE:
            return JOINT, fault_place, body_id, True
        place = after
        exact &= nearest
    return SOUND, place, body_id, exact


@compiled
@no_type_check
def scan(text, rows, joints, tracking):
    """Scan a whole file into arrays of one row a body and frame, which must have room for ``len(text) // 600 + 1`` rows.

    Args:
        text: the bytes, uint8, with a line feed at the end and no blank line after it.
        rows: int64 (row, 3), written: the frame of each row, the body's place in its frame, its id.
        joints: float32 (row, joint, coord), written.
        tracking: int8 (row, joint), written.

    Returns:
        Fault (SOUND, or the part that is wrong), its place in the text, number of frames, number of rows, and whether every place of a
        joint was converted through the nearest double; if not, joints may be off by a last digit.
    """
    row, exact = 0, True
    num_frames, place = _read_count(text, 0, MAX_FRAMES)
    if place == NOWHERE or num_frames == 0:
        return FRAME_COUNT, 0, 0, 0, exact
    for frame in range(num_frames):
        num_bodies, after = _read_count(text, place, MAX_BODIES) if place < len(text) else (0, NOWHERE)
        if after == NOWHERE:
            return BODY_COUNT, place, frame, row, exact
        place = after
        for slot in range(num_bodies):
            if place == len(text):
                return BODY_HEADER, place, frame, row, exact
            header = place
            fault, place, body_id, nearest = _read_body(text, place, joints[row], tracking[row])
            if fault != SOUND:
                return fault, place, frame, row, exact
            if (rows[row - slot : row, 2] == body_id).any():
                return BODY_TWICE, header, frame, row, exact
            rows[row] = frame, slot, body_id
            exact &= nearest
            row += 1
    return (SOUND if place == len(text) else REST), place, num_frames, row, exact
