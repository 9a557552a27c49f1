"""What a wheel must have, it has."""

import re
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]


CONFIG = ConfigParser()
CONFIG.read(ROOT / "setup.cfg")


def test_every_file_that_is_no_module_is_package_data():
    patterns = {
        f"{package.replace('.', '/')}/{pattern}"
        for package, listed in CONFIG["options.package_data"].items()
        for pattern in listed.split()
    }
    assert {"tinycnn/py.typed", "fer_demo/py.typed"} <= patterns
    for package in ("tinycnn", "fer_demo"):
        for path in (ROOT / package).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
                assert any(fnmatch(name, pattern) for pattern in patterns), name


def test_every_folder_with_modules_is_a_package():
    for package in ("tinycnn", "fer_demo"):
        folders = {path.parent for path in (ROOT / package).rglob("*.py")}
        assert all((folder / "__init__.py").exists() for folder in folders)


def test_every_extra_is_documented():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    text = "".join(page.read_text() for page in pages)
    for extra in CONFIG["options.extras_require"]:
        assert re.search(rf"\[{extra}\][\"']", text), extra
