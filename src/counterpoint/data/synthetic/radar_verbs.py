"""What SIMULATED people do, in words: verbs, sizes and limbs; "walks/walking" are two forms of one verb."""

from __future__ import annotations

VERBS: dict[tuple[str, str], tuple[str, ...]] = {
    ("walk", ""): ("walks/walking", "walks/walking forward", "goes/going", "strides/striding", "moves/moving on foot"),
    ("walk", "backwards"): ("walks/walking backwards", "goes/going backwards", "steps/stepping backwards"),
    ("walk", "in a circle"): (
        "walks/walking in a circle",
        "walks/walking around in a circle",
        "goes/going round in a circle",
        "paces/pacing in a circle",
    ),
    ("run", ""): ("runs/running", "jogs/jogging", "runs/running forward", "goes/going at a run"),
    ("march", ""): (
        "marches/marching in place",
        "walks/walking on the spot",
        "steps/stepping in place",
        "marches/marching on the spot",
    ),
    ("sidestep", ""): (
        "sidesteps/sidestepping",
        "steps/stepping sideways",
        "shuffles/shuffling sideways",
        "moves/moving sideways",
    ),
    ("turn", "a quarter"): ("makes/making a quarter turn", "turns/turning aside", "turns/turning by a right angle"),
    ("turn", "half"): ("turns/turning around", "turns/turning about", "makes/making a half turn"),
    ("turn", "full"): (
        "makes/making a full turn",
        "spins/spinning around",
        "turns/turning all the way around",
        "turns/turning in a full circle",
    ),
    ("jump", ""): ("jumps/jumping", "jumps/jumping up", "hops/hopping up", "leaps/leaping into the air"),
    ("jacks", ""): (
        "does/doing jumping jacks",
        "does/doing {n} jumping jacks",
        "performs/performing jumping jacks",
        "does/doing star jumps",
    ),
    ("squat", ""): ("squats/squatting", "squats/squatting down", "does/doing a squat", "bends/bending the knees"),
    ("lunge", ""): ("lunges/lunging", "lunges/lunging forward", "does/doing a lunge", "steps/stepping into a lunge"),
    ("punch", ""): (
        "boxes/boxing",
        "punches/punching",
        "throws/throwing punches",
        "punches/punching forward",
        "shadow-boxes/shadow-boxing",
    ),
    ("wave", ""): ("waves/waving", "waves/waving at someone", "waves/waving hello", "greets/greeting by waving"),
    ("kick", ""): ("kicks/kicking", "kicks/kicking forward", "kicks/kicking out", "kicks/kicking the air"),
    ("bow", ""): ("bows/bowing", "bows/bowing down", "takes/taking a bow", "bends/bending forward from the hips"),
    ("sit", "down"): ("sits/sitting down", "takes/taking a seat", "sits/sitting down on a chair"),
    ("sit", "up"): ("stands/standing up", "gets/getting up from a chair", "rises/rising from a seat"),
    ("sit", "down and up"): (
        "sits/sitting down and stands/standing up again",
        "sits/sitting down, then gets/getting up",
        "takes/taking a seat and rises/rising again",
    ),
    ("throw", "overarm"): (
        "throws/throwing something",
        "throws/throwing a ball",
        "throws/throwing overarm",
        "pitches/pitching a ball",
    ),
    ("throw", "underarm"): ("tosses/tossing something", "throws/throwing underarm", "tosses/tossing a ball underarm"),
    ("clap", ""): ("claps/clapping", "claps/clapping the hands", "applauds/applauding"),
    ("lift_arms", "ahead"): ("raises/raising {limb} in front", "lifts/lifting {limb} forward", "raises/raising {limb}"),
    ("lift_arms", "sideways"): (
        "raises/raising {limb} sideways",
        "lifts/lifting {limb} out to the side",
        "spreads/spreading {limb}",
    ),
    ("circle_arms", "forwards"): ("circles/circling {limb}", "swings/swinging {limb} in circles forwards"),
    ("circle_arms", "backwards"): ("circles/circling {limb} backwards", "swings/swinging {limb} in circles"),
    ("pick_up", ""): (
        "picks/picking something up",
        "bends/bending down to the floor",
        "picks/picking something up from the floor",
        "reaches/reaching down for something",
    ),
    ("fall", "forwards"): ("falls/falling down", "falls/falling forward", "falls/falling to the floor"),
    ("fall", "backwards"): ("falls/falling over", "falls/falling backwards", "falls/falling on the back"),
    ("twist", ""): (
        "twists/twisting the upper body",
        "twists/twisting the trunk",
        "turns/turning the torso from side to side",
        "rotates/rotating the upper body left and right",
    ),
}
"""(activity, mode) -> ways of saying it; ``{n}`` is a number, ``{limb}`` one of ``LIMBS``."""

SIZES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "march": (("with low knees", "hardly lifting the feet"), ("with high knees", "lifting the knees high")),
    "jump": (("a little", "not very high"), ("high", "as high as possible")),
    "jacks": (("with small movements",), ("with wide movements",)),
    "squat": (("only a little", "not very deep"), ("deeply", "all the way down")),
    "lunge": (("a little",), ("deeply", "with a long step")),
    "wave": (("with small movements",), ("with wide sweeps", "broadly")),
    "kick": (("low", "not very high"), ("high", "up high")),
    "bow": (("slightly", "a little"), ("deeply", "very low")),
    "clap": (("softly", "with small claps"), ("with wide claps", "with the hands far apart")),
    "lift_arms": (("up to the shoulders", "to shoulder height"), ("over the head", "all the way up")),
    "twist": (("slightly", "a little"), ("far to both sides", "strongly")),
}
"""Activity -> words for small and for large."""

_ARMS: dict[str, tuple[str, ...]] = {
    "left": ("the left arm", "one arm"),
    "right": ("the right arm", "one arm"),
    "both": ("both arms", "the arms"),
}
_WITH_ARM: dict[str, tuple[str, ...]] = {
    "left": ("with the left hand", "with one hand", "with the left arm"),
    "right": ("with the right hand", "with one hand", "with the right arm"),
    "both": ("with both hands", "with both arms"),
    "alternate": ("with both fists in turn", "with left and right in turn", "with alternating fists"),
}
_WITH_LEG: dict[str, tuple[str, ...]] = {
    "left": ("with the left leg", "with one leg"),
    "right": ("with the right leg", "with one leg"),
    "alternate": ("with alternating legs", "with the legs in turn"),
}
LIMBS: dict[str, dict[str, tuple[str, ...]]] = {
    "wave": _WITH_ARM,
    "lift_arms": _ARMS,
    "circle_arms": _ARMS,
    "punch": _WITH_ARM,
    "throw": _WITH_ARM,
    "kick": _WITH_LEG,
    "lunge": _WITH_LEG,
}
"""Activity -> side -> words for the limb."""
