"""The actions: classes of NTU RGB+D, each as one or more scripts, since people do the same thing in different ways.

Places of a wrist are (outward, up, forward) of its own shoulder in lengths of an arm; the shoulder is about 0.28 from the middle of the
body. ``hand`` is the preferred one. Numbers and names are those of the data set.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from amanet.data.synthetic.motion import STANDING, Beat, Cycle, Pose, Script
from amanet.errors import ExperimentError


@dataclass(frozen=True)
class Action:
    """A class of NTU RGB+D.

    Attributes:
        number: the A of its file names.
        name: what the data set calls it.
        scripts: the ways of doing it.
        right_only: done with the right hand by everybody.
    """

    number: int
    name: str
    scripts: tuple[Script, ...]
    right_only: bool = False

    @property
    def num_bodies(self) -> int:
        return 1 if self.scripts[0].apart is None else 2


def get_action(number: int) -> Action:
    """The action of that number.

    Raises:
        ExperimentError: nobody here can act it; the message names those that there are.
    """
    if number not in ACTIONS:
        known = ", ".join(f"{action.number} ({action.name})" for action in ACTIONS.values())
        raise ExperimentError(f"there is no synthetic action {number}", expected=f"any of {known}", got=number)
    return ACTIONS[number]


MOUTH, EAR, BROW = (-0.12, 0.10, 0.42), (0.04, 0.22, 0.26), (0.12, 0.34, 0.38)
HANGING: Pose = dict(STANDING)
RESET: Pose = HANGING | dict.fromkeys(("shift", "advance", "drop", "lean", "bend", "twist", "nod", "look"), 0.0)
FEET_DOWN: Pose = {"foot": (0.0, 0.0, 0.0), "other_foot": (0.0, 0.0, 0.0)}
SEATED: Pose = {"drop": 0.42, "advance": -0.36, "lean": 4.0, "hand": (0.0, -0.62, 0.52), "other_hand": (0.0, -0.62, 0.52)}
RISING: Pose = {"drop": 0.32, "advance": -0.2, "lean": 42.0, "nod": -12.0, "hand": (0.02, -0.72, 0.42), "other_hand": (0.02, -0.72, 0.42)}


def both(place: tuple[float, float, float], elbow: float = 15.0) -> Pose:
    """Both hands at their own side's version of a place."""
    return {"hand": place, "other_hand": place, "elbow": elbow, "other_elbow": elbow}


def _drink() -> tuple[Script, ...]:
    cup: Pose = {"hand": (-0.1, -0.35, 0.5), "elbow": 12.0}
    sip: Pose = {"hand": MOUTH, "elbow": 38.0, "nod": -12.0}
    lift_and_sip = (Beat(0.7, cup), Beat(0.55, sip), Cycle((Beat(0.35, sip | {"nod": -20.0}), Beat(0.35, sip)), (1, 2)))
    return (
        Script((*lift_and_sip, Beat(0.5, cup | {"nod": 0.0}), Beat(0.6, RESET))),
        Script((*lift_and_sip, Beat(0.8, RESET))),
        Script((Beat(0.6, sip | {"nod": -22.0, "lean": -6.0}), Beat(0.7, {}), Beat(0.5, cup | {"nod": 0.0, "lean": 0.0})), cup),
    )


def _brush_teeth() -> tuple[Script, ...]:
    left, right = (-0.24, 0.08, 0.42), (-0.04, 0.1, 0.4)
    strokes = Cycle((Beat(0.22, {"hand": left}), Beat(0.22, {"hand": right})), (3, 7))
    held: Pose = {"other_hand": (-0.2, -0.45, 0.45), "other_elbow": 10.0}
    return (
        Script((Beat(0.8, {"hand": right, "elbow": 48.0}), strokes, Beat(0.7, RESET))),
        Script((Beat(0.8, {"hand": right, "elbow": 60.0, "nod": 12.0, **held}), strokes, Beat(0.7, RESET))),
    )


def _telephone() -> tuple[Script, ...]:
    talk: Pose = {"hand": EAR, "elbow": 35.0, "bend": 2.0, "nod": 6.0}
    return (
        Script((Beat(0.9, talk), Beat(1.4, {}), Beat(0.7, RESET))),
        Script((Beat(0.7, {"hand": (-0.2, -0.3, 0.5), "nod": 22.0}), Beat(0.5, {}), Beat(0.6, talk), Beat(1.0, {"look": -10.0}))),
    )


def _salute() -> tuple[Script, ...]:
    salute: Pose = {"hand": BROW, "elbow": 72.0, "nod": -3.0}
    return (
        Script((Beat(0.5, salute), Beat(0.9, {}), Beat(0.5, RESET))),
        Script((Beat(0.6, {"hand": (0.35, 0.1, 0.45), "elbow": 55.0}), Beat(0.35, salute), Beat(0.8, {}), Beat(0.6, RESET))),
    )


def _check_time() -> tuple[Script, ...]:
    watch: Pose = {"other_hand": (-0.42, -0.14, 0.5), "other_elbow": 58.0, "nod": 24.0, "look": 8.0}
    low: Pose = {"other_hand": (-0.3, -0.4, 0.5), "other_elbow": 35.0, "nod": 30.0, "look": 10.0}
    return (
        Script((Beat(0.7, watch), Beat(0.9, {}), Beat(0.7, RESET))),
        Script((Beat(0.6, low), Beat(0.5, low | {"hand": (-0.42, -0.42, 0.42), "elbow": 25.0}), Beat(0.8, {}), Beat(0.6, RESET))),
    )


def _wave() -> tuple[Script, ...]:
    def script(middle: tuple[float, float, float], reach: float, elbow: float) -> Script:
        out, up, forward = middle
        stroke = Cycle((Beat(0.27, {"hand": (out + reach, up - 0.06, forward)}), Beat(0.27, {"hand": (out - reach, up, forward)})), (2, 6))
        return Script((Beat(0.7, {"hand": middle, "elbow": elbow}), stroke, Beat(0.7, RESET)))

    return script((0.3, 0.42, 0.3), 0.2, 45.0), script((0.3, 0.75, 0.15), 0.24, 70.0), script((0.2, 0.12, 0.45), 0.16, 30.0)


def _point() -> tuple[Script, ...]:
    def script(place: tuple[float, float, float], look: float) -> Script:
        return Script((Beat(0.7, {"hand": place, "elbow": 20.0, "look": look, "twist": 0.6 * look}), Beat(0.9, {}), Beat(0.7, RESET)))

    return script((-0.1, 0.05, 0.97), 0.0), script((0.6, 0.2, 0.75), -18.0), script((0.0, 0.45, 0.87), 0.0), script((-0.5, 0.0, 0.8), 15.0)


def _clap() -> tuple[Script, ...]:
    def script(height: float, opening: float) -> Script:
        shut, wide = both((-0.25, height, 0.5), 25.0), both((-0.25 + opening, height - 0.04, 0.5), 30.0)
        return Script((Beat(0.6, wide), Cycle((Beat(0.19, shut), Beat(0.21, wide)), (3, 8)), Beat(0.6, RESET)))

    return script(-0.22, 0.28), script(0.05, 0.35), script(-0.38, 0.22)


def _cross_hands() -> tuple[Script, ...]:
    crossed, opened = both((-0.42, -0.02, 0.6), 35.0), both((-0.05, -0.05, 0.62), 35.0)
    low = both((-0.4, -0.3, 0.55), 25.0)
    return (
        Script((Beat(0.7, crossed), Beat(0.9, {}), Beat(0.7, RESET))),
        Script((Beat(0.6, opened), Cycle((Beat(0.3, crossed), Beat(0.3, opened)), (1, 3)), Beat(0.3, crossed), Beat(0.6, RESET))),
        Script((Beat(0.6, low), Beat(0.6, {"look": 6.0}), Beat(0.7, RESET))),
    )


def _pick_up() -> tuple[Script, ...]:
    stoop: Pose = {"lean": 82.0, "drop": 0.2, "advance": -0.14, "nod": -15.0, "hand": (-0.12, -0.25, 0.93), "other_hand": (0.1, -0.5, 0.6)}
    squat: Pose = {
        "lean": 38.0,
        "drop": 0.5,
        "advance": -0.12,
        "hand": (-0.05, -0.82, 0.52),
        "other_hand": (-0.05, -0.45, 0.5),
        "nod": 10.0,
    }
    holding: Pose = RESET | {"hand": (-0.08, -0.4, 0.48)}
    return (
        Script((Beat(1.0, stoop), Beat(0.3, {}), Beat(0.9, RESET))),
        Script((Beat(1.1, squat), Beat(0.4, {}), Beat(1.0, holding))),
        Script((Beat(0.9, stoop), Beat(0.25, {}), Beat(0.9, holding), Beat(0.4, {}))),
    )


def _throw() -> tuple[Script, ...]:
    aim: Pose = {"hand": (0.3, 0.32, -0.2), "elbow": 70.0, "twist": -28.0, "lean": -6.0, "other_foot": (0.0, 0.0, 0.2), "advance": 0.02}
    hurl: Pose = {"hand": (-0.1, 0.25, 0.92), "elbow": 55.0, "twist": 24.0, "lean": 18.0, "advance": 0.14}
    follow: Pose = {"hand": (-0.45, -0.45, 0.55), "elbow": 20.0, "twist": 30.0, "lean": 22.0}
    swing, toss = {"hand": (0.1, -0.75, -0.5), "twist": -18.0, "lean": 10.0}, {"hand": (-0.15, 0.05, 0.9), "twist": 18.0, "lean": 4.0}
    return (
        Script((Beat(0.7, aim), Beat(0.36, hurl), Beat(0.32, follow), Beat(0.7, RESET | FEET_DOWN))),
        Script((Beat(0.6, swing), Beat(0.4, toss), Beat(0.3, {"hand": (-0.2, 0.35, 0.75)}), Beat(0.7, RESET))),
    )


def _kick() -> tuple[Script, ...]:
    back: Pose = {"foot": (0.02, 0.16, -0.32), "shift": -0.07, "lean": 8.0, "other_hand": (0.35, -0.7, 0.45), "hand": (0.3, -0.85, -0.2)}
    high: Pose = {"foot": (-0.05, 0.42, 0.62), "lean": -12.0, "twist": -10.0, "other_hand": (0.5, -0.6, 0.2), "hand": (0.3, -0.8, -0.35)}
    low: Pose = high | {"foot": (-0.05, 0.12, 0.45), "lean": -4.0}
    down: Pose = RESET | FEET_DOWN
    return Script((Beat(0.5, back), Beat(0.36, high), Beat(0.4, back | {"lean": 2.0}), Beat(0.5, down))), Script(
        (Beat(0.45, back), Beat(0.36, low), Beat(0.6, down))
    )


def _jump() -> tuple[Script, ...]:
    crouch: Pose = {"drop": 0.26, "advance": -0.08, "lean": 34.0, "nod": -12.0} | both((0.2, -0.75, -0.5))
    off: Pose = {"drop": 0.0, "advance": 0.0, "lean": 2.0, "jump": 0.24, "nod": 0.0} | both((0.3, 0.1, 0.6), 30.0)
    land: Pose = {"drop": 0.2, "advance": -0.06, "lean": 24.0, "jump": 0.0} | both((0.3, -0.6, 0.35), 30.0)
    hop: Pose = {"jump": 0.16, "drop": 0.0, "lean": 0.0} | both((0.28, -0.85, 0.1), 15.0)
    dip: Pose = {"jump": 0.0, "drop": 0.12, "lean": 10.0}
    return (
        Script((Beat(0.5, crouch), Beat(0.36, off), Beat(0.36, land), Beat(0.5, RESET))),
        Script((Cycle((Beat(0.3, dip), Beat(0.28, hop), Beat(0.28, dip)), (1, 3)), Beat(0.4, RESET))),
    )


def _sit_down() -> tuple[Script, ...]:
    folded: Pose = SEATED | both((-0.22, -0.55, 0.5))
    back = (Beat(0.6, {"lean": 34.0, "drop": 0.16, "advance": -0.14, "nod": 6.0}), Beat(0.6, RISING))
    return Script((*back, Beat(0.6, SEATED | {"nod": 0.0}), Beat(0.4, {}))), Script((Beat(0.9, RISING), Beat(0.5, folded | {"nod": 0.0})))


def _stand_up() -> tuple[Script, ...]:
    up: Pose = RESET | {"nod": 0.0}
    return (
        Script((Beat(0.6, RISING), Beat(0.8, up), Beat(0.3, {})), SEATED),
        Script((Beat(0.4, {"lean": 16.0}), Beat(0.5, RISING | both((0.05, -0.7, 0.5))), Beat(0.7, up)), SEATED | both((-0.22, -0.55, 0.5))),
    )


def _punch() -> tuple[Script, ...]:
    guard: Pose = {"hand": (-0.05, -0.12, 0.3), "elbow": 20.0, "twist": -20.0, "other_foot": (0.0, 0.0, 0.16)}
    strike: Pose = {"hand": (-0.22, 0.06, 0.97), "elbow": 35.0, "twist": 26.0, "lean": 10.0, "advance": 0.14}
    swing, slap = guard | {"hand": (0.6, 0.05, 0.3), "elbow": 50.0}, strike | {"hand": (-0.3, 0.18, 0.82), "elbow": 60.0}
    reel: Pose = {"lean": -15.0, "nod": -14.0, "advance": -0.1, "look": 12.0}
    return tuple(
        Script((Beat(0.6, before), Beat(0.32, hit), Beat(0.25, before, reel), Beat(0.6, RESET | FEET_DOWN, RESET)), apart=0.85)
        for before, hit in ((guard, strike), (swing, slap))
    )


def _kick_other() -> tuple[Script, ...]:
    back: Pose = {"foot": (0.02, 0.16, -0.3), "shift": -0.07, "lean": 8.0, "other_hand": (0.35, -0.7, 0.4)}
    hit: Pose = {"foot": (-0.1, 0.45, 0.62), "lean": -14.0, "twist": -8.0, "other_hand": (0.5, -0.5, 0.2)}
    fold: Pose = {"advance": -0.14, "lean": 20.0, "nod": 10.0, "drop": 0.05} | both((-0.1, -0.6, 0.4))
    low, flinch = hit | {"foot": (-0.1, 0.2, 0.5), "lean": -6.0}, {"advance": -0.1, "lean": 8.0, "foot": (0.0, 0.12, -0.1), "shift": -0.05}
    done = Beat(0.6, RESET | FEET_DOWN, RESET | FEET_DOWN)
    return (
        Script((Beat(0.5, back), Beat(0.36, hit), Beat(0.3, back, fold), done), apart=1.0),
        Script((Beat(0.5, back), Beat(0.32, low), Beat(0.3, back, flinch), done), apart=0.9),
    )


def _push() -> tuple[Script, ...]:
    ready, shove = both((-0.05, -0.1, 0.35), 25.0), both((-0.1, 0.0, 0.95), 20.0) | {"lean": 18.0, "advance": 0.2}
    stagger: Pose = {"travel": -0.3, "lean": -10.0} | both((0.2, -0.6, 0.35))
    step: Pose = {"other_foot": (0.0, 0.0, 0.25)}
    down = Beat(0.6, RESET | FEET_DOWN, RESET)
    return (
        Script((Beat(0.6, ready | step), Beat(0.28, shove), Beat(0.5, shove | {"lean": 10.0}, stagger), down), apart=0.8),
        Script((Beat(0.4, shove), Beat(0.55, RESET, stagger), Beat(0.5, {}, RESET)), apart=0.75),
    )


def _shake_hands() -> tuple[Script, ...]:
    grip, up, down = ({"hand": (-0.26, height, 0.78), "elbow": 10.0} for height in (-0.42, -0.34, -0.5))
    shakes = Cycle((Beat(0.2, up, up), Beat(0.2, down, down)), (2, 5))
    away: Pose = {"travel": -0.22}
    step: Pose = {"travel": 0.22}
    return (
        Script((Beat(0.7, grip, grip), shakes, Beat(0.6, RESET, RESET)), apart=0.88),
        Script((Beat(0.8, grip | step, grip | step), shakes, Beat(0.6, RESET, RESET)), apart=1.3),
        Script((Beat(0.5, grip), Beat(0.4, {}, grip), shakes, Beat(0.7, RESET | away, RESET | away)), apart=0.88),
    )


def _approach() -> tuple[Script, ...]:
    return (
        Script((Beat(2.7, {"travel": 0.85}, {"travel": 0.85}), Beat(0.3, {})), apart=2.5),
        Script((Beat(2.4, {"travel": 0.6}, {"travel": 0.95}), Beat(0.5, {})), apart=2.4),
    )


def _depart() -> tuple[Script, ...]:
    turn: Pose = {"turn": 175.0}
    back: Pose = {"turn": -175.0}
    away: Pose = {"travel": 0.95}
    return (
        Script((Beat(0.8, turn, back), Beat(2.5, away, away)), apart=0.8),
        Script((Beat(0.9, back, turn), Beat(2.2, away, away), Beat(0.3, {})), apart=0.7),
    )


ACTIONS: Mapping[int, Action] = {
    action.number: action
    for action in (
        Action(1, "drink water", _drink()),
        Action(3, "brushing teeth", _brush_teeth()),
        Action(6, "pickup", _pick_up()),
        Action(7, "throw", _throw()),
        Action(8, "sitting down", _sit_down()),
        Action(9, "standing up (from sitting position)", _stand_up()),
        Action(10, "clapping", _clap()),
        Action(23, "hand waving", _wave()),
        Action(24, "kicking something", _kick()),
        Action(27, "jump up", _jump()),
        Action(28, "make a phone call/answer phone", _telephone()),
        Action(31, "pointing to something with finger", _point()),
        Action(33, "check time (from watch)", _check_time()),
        Action(38, "salute", _salute(), right_only=True),
        Action(40, "cross hands in front (say stop)", _cross_hands()),
        Action(50, "punching/slapping other person", _punch()),
        Action(51, "kicking other person", _kick_other()),
        Action(52, "pushing other person", _push()),
        Action(58, "handshaking", _shake_hands(), right_only=True),
        Action(59, "walking towards each other", _approach()),
        Action(60, "walking apart from each other", _depart()),
    )
}
"""All actions that can be acted, by number."""
