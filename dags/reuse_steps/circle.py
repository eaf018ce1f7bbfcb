"""Used by ``simulate.py`` alone: a change here leaves the results of ``summarize.py`` as they are."""


def points(count):
    """Points that cover the unit square evenly; always the same ones."""
    for number in range(count):
        yield number * 0.7548776662466927 % 1, number * 0.5698402909980532 % 1


def is_inside(x, y):
    """Whether a point is in the unit circle."""
    return x * x + y * y <= 1
