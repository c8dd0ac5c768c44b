"""Colours that touch can be told apart, also by the colour-blind."""

import re

import numpy as np
import pytest

from vpp.report.colours import DEMAND, SUPPLY, colour_of
from vpp.report.page import COLOURS

# Viénot, Brettel and Mollon (1999): what a dichromat sees, in linear RGB
DICHROMATS = {
    "deuteranope": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    "protanope": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eye", [None, *DICHROMATS])
def test_stacked_colours_stay_apart(scheme, eye):
    style = COLOURS.read_text(encoding="utf-8")
    light = dict(re.findall(r"--([\w-]+): (#\w{6})", style.split("@media")[0]))
    dark = light | dict(re.findall(r"--([\w-]+): (#\w{6})", style.split("@media")[1]))
    colours = light if scheme == "light" else dark
    for names in (SUPPLY, DEMAND):  # what touches in the stack
        labs = [lab(colours[colour_of(name)], DICHROMATS.get(eye)) for name, _ in names]
        for i, one in enumerate(labs):
            for other in labs[i + 1 :]:
                assert np.linalg.norm(one - other) > 15, (names, i)  # CIE76; 2.3 is just noticeable


def lab(text, matrix):
    rgb = np.array([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if matrix is not None:
        linear = np.clip(np.array(matrix) @ linear, 0, 1)
    xyz = (
        np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        @ linear
        / [0.9505, 1, 1.089]
    )
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
