import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_azureml.model.graph import find_cycle


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        ([], None),
        ([("a", "b"), ("b", "c"), ("a", "c")], None),
        ([("a", "a")], ["a", "a"]),
        ([("a", "b"), ("b", "c"), ("c", "b")], ["b", "c", "b"]),
        ([("x", "y"), ("a", "b"), ("b", "c"), ("c", "a")], ["a", "b", "c", "a"]),
    ],
)
def test_the_path_of_a_cycle_is_shown(edges, cycle):
    assert find_cycle(edges) == cycle


def test_a_long_chain_is_no_problem():
    assert find_cycle([(n, n + 1) for n in range(50_000)]) is None


def test_many_ways_to_one_node_are_walked_once():
    layers = [((n, i), (n + 1, j)) for n in range(30) for i in range(5) for j in range(5)]
    assert find_cycle(layers) is None


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=25))
def test_what_is_found_is_a_way_around_and_nothing_found_means_an_order_exists(edges):
    cycle = find_cycle(edges)
    if cycle is not None:
        assert cycle[0] == cycle[-1]
        assert set(itertools.pairwise(cycle)) <= set(edges)
        return
    left, nodes = set(edges), {node for edge in edges for node in edge}
    while nodes:
        free = nodes - {after for _, after in left}
        assert free
        nodes -= free
        left = {edge for edge in left if edge[0] not in free}
