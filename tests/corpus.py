"""A few short papers, invented, in the header styles that are met: what the front ends' tests search in."""

from __future__ import annotations

LIMPETS = """\
# Why limpets hold on: grip and temperature in a tidal pool

**Authors:** Ada Marsh, Bo Lindqvist, Chidi Okafor

PMC9000001 · DOI: 10.5555/limpets.2021.7 · Journal of Shore Life · 2021-04-12

License: CC BY 4.0

## 1. Introduction

Limpets cling to rock with a muscular foot and a thin film of mucus. How the strength of that hold changes over a day
of tides has seldom been measured on living animals, and the few figures in print disagree by a factor of four [1].

## 2. Methods

We pulled two hundred limpets from granite with a spring balance, each animal once, at every hour of the tide. Water
temperature was read beside each animal. Shell length was taken with calipers, to a tenth of a millimetre.

## 3. Results

### 3.1. Body Size

Longer shells held harder. The relation was close to linear between ten and forty millimetres of shell length.

### 3.2. Grip and Temperature

The foot let go more easily as the pool warmed, and the animals did not recover before the next flood.

Grip fell by half when the water warmed from twelve to twenty degrees Celsius, because the mucus film lost its
stiffness [1,2]. Limpets that were shaded by weed kept three quarters of their grip. No animal of any size held on
above twenty-eight degrees.

## 4. Acknowledgements

We thank the harbour office of Lower Fenwick for the use of its slipway and of its only ladder.

## References

1. Quill A, Tern B. The adhesion of limpets, measured at last. J Shore Life. 1999;4:11-19. doi:10.5555/quill.1999
2. Brack C. Mucus films under load. Slow Materials. 2007;2:90-101. doi:10.5555/brack.2007
"""

LICHENS = """\
---
title: "Lichens on churchyard stone: a century of slow growth"
author:
  - Fournier, Carole
  - Ibsen, Dag
date: 2019
journal: Annals of Slow Biology
doi: 10.5555/lichen.2019.3
---

# Introduction

A gravestone bears its date, so a lichen on it has a greatest age. That makes a churchyard a clock for slow growth.

# Growth rates

Map lichens widened by half a millimetre a year on slate and by a third of a millimetre on marble. Growth was slower
on the north side of every stone, where frost stays longest.

# Funding

The parish council of Hollow Bridge paid for the ladders and the tea.
"""

KETTLES = """\
# Notes on descaling a kettle

Vinegar at five percent dissolved a millimetre of limescale in forty minutes. Citric acid did so in twenty-five, and
left no smell. Boiling during the soak halved both times.
"""

GLACIERS = """\
# Ice that remembers: layers of ash in a small glacier

**Authors:** Runa Vik

PMC9000004 · DOI: 10.5555/ice.2015.1 · Cold Letters · 2015

## Abstract

Ash from three eruptions lies in the glacier as dark bands, and each band dates the ice around it.

## Full text

_Full body text omitted from this summary view._ Fetch the complete paper: https://papers.example.org/PMC9000004/full.md
"""

PAPERS = {
    "limpets.md": LIMPETS,
    "stone/lichens.md": LICHENS,
    "kettle notes.md": KETTLES,
    "glaciers.markdown": GLACIERS,
}
"""By the path below the folder that is indexed."""
