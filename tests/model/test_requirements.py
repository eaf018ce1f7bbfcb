import pytest

from airflow_azureml.model.conda import CondaDependencies
from airflow_azureml.model.requirements import package_name, read_requirements, without_sdk
from airflow_azureml.runtime.exceptions import UserErrorException


@pytest.fixture
def requirements_file(tmp_path):
    def write(text, name="requirements.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("pandas", "pandas"),
        ("Pandas == 1.5.3", "pandas"),
        ("scikit_learn>=1,<2", "scikit-learn"),
        ("azureml.dataset.runtime[pandas,fuse]~=1.40", "azureml-dataset-runtime"),
        ("pkg @ https://x/y.whl", "pkg"),
        ("x; python_version < '3.9'", "x"),
        ("@@", None),
    ],
)
def test_the_name_of_a_package_is_normalised(line, name):
    assert package_name(line) == name


def test_requirements_are_read_without_comments_and_line_breaks(requirements_file):
    path = requirements_file(
        "\ufeff# head\n\npandas==1.5.3  # pinned\nnumpy  ==  1.23.5 \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd\n"
        "pkg @ https://x/y.whl#sha256=ef\nlast \\\n"
    )
    assert read_requirements(path).packages == [
        "pandas==1.5.3",
        "numpy == 1.23.5 --hash=sha256:ab --hash=sha256:cd",
        "pkg @ https://x/y.whl#sha256=ef",
        "last",
    ]


def test_options_get_one_spelling(requirements_file):
    path = requirements_file(
        "-i https://index\n--extra-index-url=https://more\n-f links\n--trusted-host host\n--pre\n--no-binary :all:\n"
    )
    assert read_requirements(path).options == [
        "--index-url https://index", "--extra-index-url https://more", "--find-links links", "--trusted-host host",
        "--pre", "--no-binary :all:",
    ]  # fmt: skip


def test_included_files_are_read_relative_to_the_including_one(requirements_file):
    requirements_file("numpy\n-r ../top.txt\n", "sub/inner.txt")
    requirements_file("scipy\n", "top.txt")
    path = requirements_file("--requirement=sub/inner.txt\npandas\n")
    assert read_requirements(path).packages == ["numpy", "scipy", "pandas"]


def test_files_that_include_each_other_are_refused(requirements_file):
    requirements_file("-r requirements.txt\n", "b.txt")
    with pytest.raises(UserErrorException, match="includes itself"):
        read_requirements(requirements_file("-r b.txt\n"))


@pytest.mark.parametrize("line", ["-e .", "./lib", "/abs/x.whl", "--editable=lib", "~/x", "file:///x.whl"])
def test_paths_are_refused_with_line_and_advice(requirements_file, line):
    with pytest.raises(
        UserErrorException, match=r"requirements.txt, line 2: .* is a path; .*source_directory"
    ):
        read_requirements(requirements_file(f"pandas\n{line}\n"))


@pytest.mark.parametrize("line", ["-c constraints.txt", "--process-dependency-links", "-x"])
def test_other_options_are_refused_with_their_line(requirements_file, line):
    with pytest.raises(UserErrorException, match=r"line 1: option .* is not supported; take it out"):
        read_requirements(requirements_file(line))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserErrorException, match=r"requirements file .*none.txt cannot be read"):
        read_requirements(tmp_path / "none.txt")


def test_the_sdk_is_dropped_and_said_so():
    lines = [
        "azureml-core",
        "AzureML_Defaults==1.48.0",
        "azureml-sdk[notebooks]",
        "pandas==1.5",
        "azureml-mlflow",
    ]
    assert without_sdk(lines) == (["pandas==1.5", "azureml-mlflow"], lines[:3])


def test_the_dataset_runtime_for_pandas_becomes_pandas_and_pyarrow():
    assert without_sdk(["azureml-dataset-runtime[fuse, Pandas]"])[0] == ["pandas", "pyarrow"]
    assert without_sdk(["azureml-dataprep[pandas]", "Pandas==1.5"])[0] == ["Pandas==1.5", "pyarrow"]
    assert without_sdk(["azureml-dataset-runtime"])[0] == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://reader:hunter2@packages.example.com/simple",
        "--extra-index-url https://token@packages.example.com/simple",
    ],
)
def test_an_index_url_with_credentials_is_refused_without_repeating_them(line: str) -> None:
    with pytest.raises(UserErrorException, match="holds credentials") as refused:
        CondaDependencies().set_pip_option(line)
    assert "hunter2" not in str(refused.value)
    assert "token@" not in str(refused.value)


def test_a_requirement_from_a_url_with_credentials_is_refused() -> None:
    with pytest.raises(UserErrorException, match="holds credentials"):
        CondaDependencies.create(pip_packages=["tool @ https://me:secret@example.com/tool.whl"])


def test_an_account_name_for_git_over_ssh_is_no_secret() -> None:
    dependencies = CondaDependencies.create(pip_packages=["tool @ git+ssh://git@example.com/tool.git"])
    assert dependencies.pip_packages == ["tool @ git+ssh://git@example.com/tool.git"]
