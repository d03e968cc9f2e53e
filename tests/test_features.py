"""Features of crystals: neighbours, charges, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.stack.composition import guess_charges
from finetune.stack.features import describe, feature_names
from finetune.stack.sites import find_sites
from ingest.crystals import Crystal, lattice_from_parameters, make_crystal, symmetry
from ingest.elements import NUMBERS, PROPERTIES, column, oxidation_states, table
from ingest.errors import BadInput

SALT = ["Na"] * 4 + ["Cl"] * 4
SALT_SITES = [
    [0, 0, 0],
    [0.5, 0.5, 0],
    [0.5, 0, 0.5],
    [0, 0.5, 0.5],
    [0.5, 0, 0],
    [0, 0.5, 0],
    [0, 0, 0.5],
    [0.5, 0.5, 0.5],
]


def salt() -> Crystal:
    return make_crystal(np.eye(3) * 5.64, SALT, SALT_SITES)


def features(crystal: Crystal) -> np.ndarray:
    found = symmetry(crystal)
    return describe([crystal], [found], [find_sites(crystal, found)])[0][0]


def test_rock_salt_has_two_distinct_sites_with_six_unlike_neighbours() -> None:
    sites = find_sites(salt(), symmetry(salt()))
    assert sorted(sites.numbers.tolist()) == [11, 17]
    assert sites.distances[:, :6] == pytest.approx(2.82)
    assert sites.distances[:, 6:18] == pytest.approx(2.82 * 2**0.5)
    assert (sites.numbers[sites.neighbours[:, :6]] != sites.numbers[:, None]).all()


def test_neighbours_equal_a_search_over_many_images() -> None:
    random = np.random.default_rng(0)
    lattice = lattice_from_parameters(4.1, 5.3, 7.7, 71, 99, 112)
    frac = random.random((5, 3))
    crystal = make_crystal(lattice, ["Fe", "O", "O", "Ba", "S"], frac)
    sites = find_sites(crystal, symmetry(crystal))
    images = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for site in range(5):
        vectors = ((frac - frac[site])[:, None, :] + images) @ lattice
        distances = np.sort(np.linalg.norm(vectors, axis=-1).ravel())
        assert sites.distances[site] == pytest.approx(distances[1:25])


def test_features_do_not_depend_on_the_choice_of_cell_or_the_order_of_atoms() -> None:
    primitive = make_crystal(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 2.82, ["Cl", "Na"], [[0, 0, 0], [0.5] * 3])
    doubled = make_crystal(
        np.diag([11.28, 5.64, 5.64]), SALT * 2, [[(x + k) / 2, y, z] for k in (0, 1) for x, y, z in SALT_SITES]
    )
    expected = features(salt())
    for other in (primitive, doubled):
        np.testing.assert_allclose(features(other), expected, rtol=1e-6, atol=1e-6)


def test_every_feature_has_a_name_of_its_own() -> None:
    assert len(features(salt())) == len(set(feature_names())) == len(feature_names())


@pytest.mark.parametrize(
    ("formula", "states"),
    [
        ({"Na": 1, "Cl": 1}, {"Na": 1, "Cl": -1}),
        ({"Li": 1, "Fe": 1, "P": 1, "O": 4}, {"Li": 1, "Fe": 2, "P": 5, "O": -2}),
        ({"Ga": 1, "As": 1}, {"Ga": 3, "As": -3}),
        ({"Sr": 1, "Ti": 1, "O": 3}, {"Sr": 2, "Ti": 4, "O": -2}),
    ],
)
def test_oxidation_states_balance(formula: dict[str, int], states: dict[str, int]) -> None:
    guess = guess_charges(tuple((NUMBERS[symbol], count) for symbol, count in formula.items()))
    assert {symbol: guess.states[NUMBERS[symbol]] for symbol in formula} == states
    assert guess.imbalance == 0


def test_the_element_table_is_complete_and_in_units() -> None:
    assert table().shape == (104, len(PROPERTIES))
    assert np.isfinite(table()).all()
    assert column("electronegativity")[NUMBERS["F"]] == 3.98
    assert column("ionisation_1")[NUMBERS["H"]] == pytest.approx(13.598)
    assert oxidation_states(NUMBERS["Ca"]) == (2,)


@pytest.mark.parametrize("cell", [(0, 1, 1, 90, 90, 90), (1, 1, 1, 0, 90, 90), (1, 1, 1, 30, 30, 150)])
def test_an_impossible_cell_is_refused(cell: tuple[float, ...]) -> None:
    with pytest.raises(BadInput, match="cell"):
        lattice_from_parameters(*cell)


def test_an_unknown_element_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match="'Xx'"):
        make_crystal(np.eye(3), ["Xx"], [[0, 0, 0]])
