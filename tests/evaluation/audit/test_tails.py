"""What is ordinary is told by the values themselves, and few ordinary ones are found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cxrfeat.evaluation.audit.tails import Tail, discoveries

DRAWS = 200


@pytest.mark.parametrize(
    "draw",
    [
        lambda random: random.normal(size=300),
        lambda random: random.exponential(size=300),
        lambda random: random.uniform(size=300),
    ],
)
def test_ordinary_values_are_seldom_found(
    draw: Callable[[np.random.Generator], np.ndarray],
) -> None:
    alarms = 0
    for seed in range(DRAWS):
        values = draw(np.random.default_rng(seed))
        tail = Tail.of(values)
        assert tail is not None
        alarms += bool(discoveries(tail.chance(values), 0.05).any())
    # Of exponential values the tail is exactly so: 5 %, and what its length is not known by.
    assert alarms <= 0.1 * DRAWS


def test_values_that_lie_apart_are_found_and_do_not_hide_each_other() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(size=290), np.full(10, 9.0)])
    tail = Tail.of(values)
    assert tail is not None
    found = discoveries(tail.chance(values), 0.05)
    assert found[290:].all()
    assert not found[:290].any()


def test_a_value_has_the_chance_that_it_is_the_value_of() -> None:
    tail = Tail(2.0, 0.5)
    assert float(tail.chance(np.array(tail.value(1e-4)))) == pytest.approx(1e-4)
    assert float(tail.chance(np.array(1.9))) == 1.0


def test_a_few_values_and_equal_ones_have_no_tail() -> None:
    assert Tail.of(np.arange(20.0)) is None
    assert Tail.of(np.ones(100)) is None
    assert not len(discoveries(np.zeros(0), 0.05))
