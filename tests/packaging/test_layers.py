"""Imports point downwards only, and the lower layers stand without Airflow."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "airflow_azureml"
REPOSITORY = Path(__file__).parents[2]
FOLDERS = {
    f"{PACKAGE}.operators": REPOSITORY / "operators",
    f"{PACKAGE}.hooks": REPOSITORY / "hooks",
    f"{PACKAGE}.example_dags": REPOSITORY / "dags",
    PACKAGE: REPOSITORY / "plugin",
}

# From the top to the bottom. What stands in one line may import each other.
LAYERS = [
    {"example_dags"},
    # Commands about pipelines.
    {"cli"},
    # The policy looks at steps in DAGs, for Airflow; the triggers are what of operators waits.
    {"operators", "policy", "triggers"},
    {
        "airflow_plugin",
        "closing",
        "connection_types",
        "demo",
        "discovery",
        "listener",
        "preload",
        "provider_info",
    },
    {"hooks"},
    {"config"},
    {"compute"},
    {"transfer"},
    {"reuse"},
    {"workspace"},
    # Where bytes are, and where rows are.
    {"storage", "sql"},
    {"model"},
    {"runtime"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
ALLOWED = {
    # The demonstration finds the examples to run them; it uses nothing of them.
    ("airflow_azureml.demo.home", "airflow_azureml.example_dags"),
    # In a DAG file these make the model's objects; in a step, where the model is not shipped, plain ones of their own.
    ("airflow_azureml.runtime.datastore", "airflow_azureml.model.data"),
    ("airflow_azureml.runtime.workspace", "airflow_azureml.model.compute"),
}
WITHOUT_AIRFLOW = ["compute", "transfer", "reuse", "workspace", "storage", "sql", "model", "runtime"]


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            if not any(part.endswith("_steps") for part in path.parts):
                parts = path.relative_to(folder).with_suffix("").parts
                yield ".".join((package, *parts)).removesuffix(".__init__"), path


MODULES = dict(modules())


def layer_of(module: str) -> str:
    return module.removeprefix(PACKAGE).lstrip(".").partition(".")[0]


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that code imports anywhere, ``from package import module`` resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            module = node.module or ""
            yield from (
                inner if (inner := f"{module}.{alias.name}") in MODULES else module for alias in node.names
            )


def top_level_imports(tree: ast.Module) -> Iterator[str]:
    """What is imported when the module is, leaving out imports for types."""
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from imported(ast.Module([node], []))
        elif isinstance(node, ast.Try):
            yield from imported(node)


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_bytes())


# The root package is the face of all layers; it loads a name when somebody asks for it.
@pytest.mark.parametrize("module", [name for name in MODULES if name != PACKAGE])
def test_imports_point_downwards(module: str) -> None:
    own = layer_of(module)
    upward = [
        name
        for name in imported(parse(module))
        if name.split(".")[0] == PACKAGE
        and (other := layer_of(name))
        and RANK[own] > RANK[other]
        and (module, name) not in ALLOWED
    ]

    assert upward == []


@pytest.mark.parametrize("module", [name for name in MODULES if layer_of(name) in WITHOUT_AIRFLOW])
def test_lower_layers_do_not_import_airflow(module: str) -> None:
    assert [name for name in imported(parse(module)) if name.split(".")[0] == "airflow"] == []


RUNTIME = [PACKAGE, *(name for name in MODULES if layer_of(name) == "runtime")]


@pytest.mark.parametrize("module", RUNTIME)
def test_the_runtime_is_python_3_8(module: str) -> None:
    ast.parse(MODULES[module].read_bytes(), feature_version=(3, 8))


@pytest.mark.parametrize("module", RUNTIME)
def test_importing_the_runtime_takes_the_standard_library_alone(module: str) -> None:
    outside = [
        name
        for name in top_level_imports(parse(module))
        if (root := name.split(".")[0]) not in sys.stdlib_module_names
        and root != "azureml"
        and not f"{name}.".startswith(f"{PACKAGE}.runtime.")
        and name != PACKAGE
    ]

    assert outside == []
