"""A SIMULATOR of robot welds in four modalities: nothing that comes out of it was recorded.

A run goes its course: a current, a voltage and a speed that its configuration sets, and, where something is wrong,
episodes at a few places of the seam or something that grows along it. Sensor, sound, video and photographs are all
drawn from that one course, so that the current drops, the sound breaks off, the picture darkens and the seam has a hole
at the same place. What a class leaves behind (``weld_process.CATEGORIES``):

| class                               | sensor          | sound   | video     | photographs |
|-------------------------------------|-----------------|---------|-----------|-------------|
| 00 Good                             | steady          | steady  | steady    | even        |
| 01 Excessive_Penetration            | current surplus | steady  | long pool | tint        |
| 02 Burnthrough                      | dropouts        | gaps    | dark      | holes       |
| 03 Porosity                         | steady          | pops    | steady    | even        |
| 04 Porosity_w_Excessive_Penetration | current surplus | pops    | long pool | tint        |
| 05 Undercut                         | steady          | steady  | steady    | grooves     |
| 06 Overlap                          | overfeed        | steady  | tall pool | roll        |
| 07 Lack_of_Fusion                   | wander          | crackle | steady    | even        |
| 08 Excessive_Convexity              | overfeed        | steady  | tall pool | ridge       |
| 09 Spatter                          | steady          | crackle | sparks    | even        |
| 10 Warping                          | steady          | pings   | drift     | tint        |
| 11 Crater_Cracks                    | abrupt end      | pings   | steady    | crater      |

Two classes with one entry in a column are drawn alike by that modality, to the last bit where chance is the same. So
the sensor alone tells 6 kinds of the 12, the sound 5, the video 6, the photographs 7: porosity is only heard, undercut
only seen on photographs, as is what tells overlap from convexity; lack of fusion is told from spatter by the sensor and
the video alone. All four together tell every class, as far as what is wrong is not too faint.

Logistic regression on features made by hand, configurations left out, 240 runs of 60 configurations, balanced
accuracy: sensor 0.50, sound 0.37, video 0.43, photographs 0.59, nominal settings 0.15, all four 0.94. Two
configurations a class, as among 24, leave one folder a class to learn from: all four 0.69 with 96 runs. As many runs
of 48 configurations take no longer to write: all four 0.94.

The folders are those of the Intel Robotic Welding Multimodal Dataset (Intel, arXiv 2409.02290), none of whose runs is
used; channels, units and levels are about its own. Settings and whatever else a configuration sets (exposure,
microphone, room, lamp) are drawn from one distribution whatever the class: they tell a folder, and with it the class,
where a split shares folders, and nothing where it does not. So are its irregularities: runs without photographs, a
run's name in two folders, sensor rows at uneven times, the trailing space of ``Remarks ``, rows that end before it, a
SPLIT whose TRAIN has good welds alone. The names bear years at the end of the century, as no real run does.
"""

from __future__ import annotations

from pathlib import Path

from counterpoint.data.synthetic.weld_files import Sizes, write_welds
from counterpoint.data.synthetic.weld_process import plan


def generate(
    folder: Path,
    *,
    runs: int = 96,
    configurations: int = 24,
    seed: int = 0,
    seconds: float = 6.0,
    video_size: tuple[int, int] = (96, 72),
    photo_size: tuple[int, int] = (160, 120),
) -> Path:
    """Write SIMULATED weld runs as ``manifest.csv`` and ``DIRECTORY/RUN/RUN.csv``, ``.flac``, ``.avi`` and ``images``.

    Args:
        folder: to be made; may exist when empty.
        runs: in all, 2 to 12 a configuration.
        configurations: folders, which take the 12 classes in turn: 24 and more give every class two.
        seed: everything is a function of the arguments.
        seconds: of each recording; the arc burns for about seven tenths of it.
        video_size: width and height in pixels, even.
        photo_size: width and height in pixels.

    Returns:
        The folder. The column ``simulated`` of its manifest is ``true`` in every row.

    Raises:
        ValueError: the runs do not fit the configurations, a size is too small, or the folder holds something.
    """
    return write_welds(folder, plan(runs, configurations, seed), Sizes(seconds, video_size, photo_size))
