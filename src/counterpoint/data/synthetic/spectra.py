"""A SIMULATOR of Raman spectra with a table beside them: nothing that comes out of it was measured on anyone.

A specimen has three to eight scans and a row of covariates. Its label needs both. In the spectra, the two bands of a
doublet (830 and 853 cm-1) share one sum; which of them is the higher is ``leaning``. In the table, ``crp`` is around
1.5 or around 8; the second is ``inflamed``. A specimen is DM where exactly one of the two holds, as a marker means the
opposite in the inflamed, and 3 % of the labels are turned by chance. Each holds in 28.7 % of the specimens,
independently of the other, so that each tells something alone. The best that anyone can do, exact, by enumeration
(``spectra_truth.bayes_rates``), each score by the rule that is best for it:

| what is seen  | accuracy | balanced accuracy | AUROC | R2 of target |
|---------------|----------|-------------------|-------|--------------|
| nothing       | 0.585    | 0.500             | 0.500 | 0.00         |
| spectra alone | 0.700    | 0.669             | 0.669 | 0.35         |
| table alone   | 0.700    | 0.669             | 0.669 | 0.35         |
| both, added   | 0.893    | 0.903             |       | 0.70         |
| both          | 0.970    | 0.968             | 0.968 | 0.90         |

``target`` is a number with mean 50 and standard deviation 10: the carotenoid bands (1157 and 1518 cm-1) tell 35 % of
its variance, ``age`` as much, their product 20 %, and 10 % is chance. All other columns and bands tell nothing of
either.

Under the bands lies fluorescence that differs between specimens and bleaches from scan to scan; gain, offset of the
axis and composition vary; counts are Poisson. A few scans are saturated, a few rows have no spectrum, a few numbers of
scans are missing, and so are a few cells of columns that tell nothing. Bands and levels are about those of biofluids
(Movasaghi et al., "Raman spectroscopy of biological tissues", Applied Spectroscopy Reviews 42 (2007)).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from counterpoint.data.synthetic.spectra_files import Specimens, write_spectra
from counterpoint.data.synthetic.spectra_scans import simulate_scans
from counterpoint.data.synthetic.spectra_truth import Planted, plant


def simulate_spectra(count: int, seed: int) -> Specimens:
    """Specimens with their scans and covariates.

    Args:
        count: how many.
        seed: everything is a function of the arguments.

    Raises:
        ValueError: no specimen is asked for.
    """
    if count < 1:
        raise ValueError(f"{count} specimens: wants one at least")
    planted = plant(count, np.random.default_rng((seed, 0)))
    scans = simulate_scans(planted, np.random.default_rng((seed, 1)))
    return Specimens(planted, scans, _covariates(planted, np.random.default_rng((seed, 2))))


def _covariates(planted: Planted, rng: np.random.Generator) -> dict[str, list[str]]:
    """Column -> cells. Age and CRP are known of everyone; the rest tells nothing, and is missing here and there."""
    count = len(planted.age)
    crp = np.where(planted.inflamed, 8.0, 1.5) * np.exp(0.2 * rng.normal(size=count))
    bmi, hdl = 26.5 + 4.0 * rng.normal(size=count), 1.4 * np.exp(0.2 * rng.normal(size=count))
    sex, smoker = rng.random(count) < 0.5, rng.random(count) < 0.3
    asked = rng.random((3, count)) >= np.array([[0.06], [0.04], [0.08]])
    return {
        "age": [f"{56.0 + 11.0 * value:.2f}" for value in planted.age.tolist()],
        "sex": ["F" if value else "M" for value in sex.tolist()],
        "bmi": [f"{value:.1f}" if known else "" for value, known in zip(bmi, asked[0], strict=True)],
        "crp": [f"{value:.2f}" for value in crp.tolist()],
        "hdl": [f"{value:.2f}" if known else "" for value, known in zip(hdl, asked[1], strict=True)],
        "smoker": [("yes" if value else "no") if known else "" for value, known in zip(smoker, asked[2], strict=True)],
    }


def generate(folder: Path, *, count: int = 400, seed: int = 0) -> Path:
    """Write SIMULATED ``spectra.csv`` and ``clinical.csv``, and what was planted as ``truth.json``.

    ``spectra.csv`` has a row a scan: ``Sample`` such as P1000-3, ``Group``, ``simulated``, and counts by wavenumber.
    ``clinical.csv`` has a row a specimen: ``PatientID``, covariates, ``Group``, ``target`` and ``simulated``.

    Args:
        folder: to be made; may exist when empty.
        count: specimens.
        seed: everything is a function of the arguments.

    Returns:
        The folder. The column ``simulated`` of both tables is ``yes`` in every row.

    Raises:
        ValueError: no specimen is asked for, or the folder holds something.
    """
    return write_spectra(folder, simulate_spectra(count, seed))
