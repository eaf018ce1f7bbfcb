import pytest

from airflow_azureml.model.conda import CondaDependencies
from airflow_azureml.runtime.exceptions import UserErrorException


def test_create_takes_what_v1_took():
    dependencies = CondaDependencies.create(
        pip_indexurl="https://index",
        pip_packages=["pandas==1.5.3", "numpy"],
        conda_packages=["python==3.8.13", "scikit-learn=1.1", "pip=21"],
        python_version="3.9",
        pin_sdk_version=False,
    )
    assert dependencies.python_version == "3.8.13"
    assert dependencies.pip_packages == ["pandas==1.5.3", "numpy"]
    assert dependencies.conda_packages == ["scikit-learn=1.1"]
    assert dependencies.pip_options == ["--index-url https://index"]


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("python=3.8", "3.8"),
        ("python==3.8.13", "3.8.13"),
        ("conda-forge::python=3.9.*", "3.9"),
        ("python", None),
    ],
)
def test_python_among_the_conda_packages_sets_the_version(package, version):
    dependencies = CondaDependencies()
    dependencies.add_conda_package(package)
    assert dependencies.get_python_version() == version
    assert dependencies.conda_packages == []


def test_adding_a_package_again_replaces_it():
    dependencies = CondaDependencies.create(pip_packages=["pandas==1.4"], conda_packages=["numpy=1.22"])
    dependencies.add_pip_package("Pandas==1.5")
    dependencies.add_conda_package("conda-forge::numpy=1.23")
    assert (dependencies.pip_packages, dependencies.conda_packages) == (
        ["Pandas==1.5"],
        ["conda-forge::numpy=1.23"],
    )


def test_what_was_added_can_be_removed():
    dependencies = CondaDependencies.create(pip_packages=["pandas==1.4"], conda_packages=["numpy=1.22"])
    dependencies.add_channel("conda-forge")
    dependencies.set_pip_option("--pre")
    dependencies.remove_pip_package("pandas")
    dependencies.remove_conda_package("numpy")
    dependencies.remove_channel("conda-forge")
    dependencies.remove_pip_option("--pre")
    assert dependencies.as_dict()["dependencies"] == []


def test_setting_the_index_again_replaces_it():
    dependencies = CondaDependencies()
    dependencies.set_pip_index_url("https://one")
    dependencies.set_pip_option("--extra-index-url https://more")
    dependencies.set_pip_index_url("--index-url https://two")
    assert dependencies.pip_options == ["--extra-index-url https://more", "--index-url https://two"]


def test_lists_that_are_handed_out_are_copies():
    dependencies = CondaDependencies.create(pip_packages=["a"])
    dependencies.pip_packages.append("b")
    assert dependencies.pip_packages == ["a"]


def test_a_conda_file_is_read_and_written_back(tmp_path):
    (tmp_path / "pip.txt").write_text("scipy\n")
    source = tmp_path / "env.yml"
    source.write_text(
        "name: x\nchannels: [conda-forge, defaults]\ndependencies:\n"
        "- python=3.8\n- pip\n- lightgbm=3.3\n- pip:\n  - --extra-index-url https://more\n  - pandas==1.5\n  - -r pip.txt\n"
    )
    dependencies = CondaDependencies(source)
    assert dependencies.python_version == "3.8"
    assert dependencies.conda_packages == ["lightgbm=3.3"]
    assert dependencies.pip_packages == ["pandas==1.5", "scipy"]
    assert dependencies.conda_channels == ["conda-forge", "defaults"]
    assert dependencies.save_to_file(str(tmp_path / "out"), "again.yml") == "again.yml"
    assert CondaDependencies(tmp_path / "out" / "again.yml").as_dict() == dependencies.as_dict()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "is no conda environment"),
        ("dependencies: x", "is no conda environment"),
        ("dependencies: [{conda: [a]}]", "neither a package nor a pip list"),
        ("a: [", "is no YAML"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "env.yml"
    path.write_text(text)
    with pytest.raises(UserErrorException, match=message) as caught:
        CondaDependencies(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserErrorException, match=r"conda file .*none.yml cannot be read"):
        CondaDependencies(tmp_path / "none.yml")
