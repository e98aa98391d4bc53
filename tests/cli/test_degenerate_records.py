"""Ties and isolated zeros in the records that ``--json`` prints."""

from __future__ import annotations

import numpy as np
from boundary.pwl.networks import given

from nneq.api.equations import Equations
from nneq.cli.records import regions_record, surface_record


def test_ties_and_isolated_zeros_are_in_the_records():
    """A tie has the corners of its region, an isolated zero its own."""
    cube = [(-1, 1)] * 3
    rows = [([*np.eye(3), *-np.eye(3)], [0] * 6), ([[1] * 6, [0] * 6], [0, 0])]
    point = Equations(given(rows)).boundary("z_1", "z_2")
    equal = Equations(given([(np.eye(3), [2] * 3), (np.ones((2, 3)), [1, 1])]))
    tie = equal.boundary("z_1", "z_2")
    for record in (
        regions_record(point.regions(cube)),
        surface_record(point.surface(cube)),
    ):
        assert [part.tolist() for part in record["isolated"]] == [[[0.0, 0.0, 0.0]]]
        assert record["ties"] == []
    for record in (regions_record(tie.regions(cube)), surface_record(tie.surface(cube))):
        assert [min(map(tuple, part.tolist())) for part in record["ties"]] == [(-1, -1, -1)]
        assert len(record["ties"][0]) == 8
        assert record["isolated"] == []
