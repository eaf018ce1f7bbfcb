"""Runs at the start of every Python process of a step, as ``sitecustomize``.

It makes the runtime importable behind everything the step's environment has itself, and then runs the ``sitecustomize`` that
this one hides, if there is one. It is copied beside ``lib/`` by ``airflow_azureml.runtime.ship`` and imports next to
nothing, because every process pays for it.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_LIBRARY = os.path.join(_HERE, "lib")


class _AzureMLFinder:
    """Asked last for ``azureml.*``; loads what answers only when somebody asks."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name.partition(".")[0] != "azureml":
            return None
        from airflow_azureml.runtime.shims import Finder

        return Finder.find_spec(name, path, target)


def _run_hidden() -> None:
    # importlib.machinery has it too, and takes a millisecond to import, in every Python process of a step.
    from _frozen_importlib_external import PathFinder  # type: ignore[import-not-found, unused-ignore]

    others = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _HERE]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


if _LIBRARY not in sys.path:
    sys.path.append(_LIBRARY)
sys.meta_path.append(_AzureMLFinder)
_run_hidden()
