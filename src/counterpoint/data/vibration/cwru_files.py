"""What the numbers mean under which the CWRU Bearing Data Center publishes its recordings.

From the tables of the centre's download pages. A file is named by a number alone (``105.mat``).
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Condition(NamedTuple):
    """What a recording is of: diameter in mil, load in hp, position of an outer-race fault in hours."""

    fault: str
    diameter: int
    load: int
    position: int | None
    end: str
    rate: int

    @property
    def bearing(self) -> str:
        """The bearing, at whatever load and rate it was recorded: never on both sides of a split."""
        position = "" if self.position is None else f"@{self.position}"
        return "Normal" if self.fault == "N" else f"{self.fault}{position}_{self.diameter}_{self.end}"


# rate, end, fault, diameter, position: numbers of the files at loads of 0, 1, 2, 3 hp (0: none)
_FILES = """
48 DE N   0  -   97   98   99  100
12 DE IR  7  -  105  106  107  108
12 DE B   7  -  118  119  120  121
12 DE OR  7  6  130  131  132  133
12 DE OR  7  3  144  145  146  147
12 DE OR  7 12  156  158  159  160
12 DE IR 14  -  169  170  171  172
12 DE B  14  -  185  186  187  188
12 DE OR 14  6  197  198  199  200
12 DE IR 21  -  209  210  211  212
12 DE B  21  -  222  223  224  225
12 DE OR 21  6  234  235  236  237
12 DE OR 21  3  246  247  248  249
12 DE OR 21 12  258  259  260  261
12 DE IR 28  - 3001 3002 3003 3004
12 DE B  28  - 3005 3006 3007 3008
48 DE IR  7  -  109  110  111  112
48 DE B   7  -  122  123  124  125
48 DE OR  7  6  135  136  137  138
48 DE OR  7  3  148  149  150  151
48 DE OR  7 12  161  162  163  164
48 DE IR 14  -  174  175  176  177
48 DE B  14  -  189  190  191  192
48 DE OR 14  6  201  202  203  204
48 DE IR 21  -  213  214  215  217
48 DE B  21  -  226  227  228  229
48 DE OR 21  6  238  239  240  241
48 DE OR 21  3  250  251  252  253
48 DE OR 21 12  262  263  264  265
12 FE IR  7  -  278  279  280  281
12 FE B   7  -  282  283  284  285
12 FE OR  7  6  294  295  296  297
12 FE OR  7  3  298  299  300  301
12 FE OR  7 12  302  305  306  307
12 FE IR 14  -  274  275  276  277
12 FE B  14  -  286  287  288  289
12 FE OR 14  6  313    0    0    0
12 FE OR 14  3  310  309  311  312
12 FE IR 21  -  270  271  272  273
12 FE B  21  -  290  291  292  293
12 FE OR 21  6  315    0    0    0
12 FE OR 21  3    0  316  317  318
"""


def _published() -> dict[int, Condition]:
    table: dict[int, Condition] = {}
    for line in _FILES.strip().splitlines():
        rate, end, fault, diameter, position, *numbers = line.split()
        for load, number in enumerate(numbers):
            if number != "0":
                hours = None if position == "-" else int(position)
                table[int(number)] = Condition(fault, int(diameter), load, hours, end, int(rate) * 1000)
    return table


PUBLISHED = _published()
"""Number of a published file -> what it is a recording of; 161 files."""
ALIASES = {56 + i: 3001 + i for i in range(4)} | {48 + i: 3005 + i for i in range(4)}
"""Number the variables go by -> number of the file, where these differ: 3001 to 3008."""

_DESCRIBED = re.compile(
    r"(?<![A-Za-z])(?:(IR|OR|B)(007|014|021|028)(?:[@_](3|6|12))?|Normal)_([0-3])(?!\d)", re.IGNORECASE
)


def described(name: str) -> tuple[str, set[int]]:
    """Read names such as ``IR007_0``, ``OR021@6_1`` and ``Normal_2``.

    Args:
        name: name of a file.

    Returns:
        The part of the name that describes, "" where none does, and the numbers of the files that fit it.
    """
    found = _DESCRIBED.search(name)
    if not found:
        return "", set()
    fault, diameter, position, load = found.groups()
    wanted = (fault.upper(), int(diameter)) if fault else ("N", 0)
    return found[0], {
        number
        for number, of in PUBLISHED.items()
        if (of.fault, of.diameter) == wanted
        and of.load == int(load)
        and (position is None or of.position == int(position))
    }
