"""The rules of the house that no linter knows: what lies at the top, what code may not do, where links lead."""

import ast
import fnmatch
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP = {
    *("toolbox", "configs", "tools", "tests", "benchmarks", "requirements", "setup.py", "docs", ".ci"),
    *("README.md", "LICENSE", "CONTRIBUTING.md", "Makefile", "pyproject.toml", ".gitignore"),
}
IGNORED = (ROOT / ".gitignore").read_text().split()
UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X])\b")
FOREIGN_PATH = re.compile(r"(?<![\w.$}/<])/(root|work|home|Users)/\w")


def is_ignored(path: Path) -> bool:
    """Whether .gitignore names it; '/NAME/' there means the top level, 'NAME' anything on the way."""
    parts = path.relative_to(ROOT).parts
    return any(
        fnmatch.fnmatch(part, pattern.strip("/"))
        for pattern in IGNORED
        for part in (parts[:1] if pattern.startswith("/") else parts)
    )


def files(*patterns: str) -> list[Path]:
    """Files of the project of these names, without what .gitignore names."""
    return sorted(
        path
        for entry in TOP
        for path in ([ROOT / entry] if (ROOT / entry).is_file() else (ROOT / entry).rglob("*"))
        if path.is_file() and any(fnmatch.fnmatch(path.name, p) for p in patterns) and not is_ignored(path)
    )


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file: what is called (as written), and the call."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> object:
    """A keyword argument's constant, or None."""
    return next((k.value.value for k in call.keywords if k.arg == name and isinstance(k.value, ast.Constant)), None)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


PRODUCTION = [
    path for path in files("*.py") if path.relative_to(ROOT).parts[0] in ("toolbox", "tools", "configs", "benchmarks")
]
PACKAGE = [path for path in PRODUCTION if path.relative_to(ROOT).parts[0] == "toolbox"]


def test_the_top_level_is_exactly_this():
    found = {path.name for path in ROOT.iterdir() if path.name != ".git" and not is_ignored(path)}
    assert found == TOP


def test_imports_only_point_down():
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Imports only ever point down KEPT" in done.stdout


def test_every_folder_of_the_package_is_a_room_of_the_contract():
    rooms = {path.stem for path in (ROOT / "toolbox").glob("[!_]*") if path.is_dir() or path.suffix == ".py"}
    layers = re.search(r"layers = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), flags=re.DOTALL)[1]
    assert rooms == set(re.findall(r"\w+", layers))


def test_files_are_short():
    assert [name_of(path) for path in files("*.py", "*.sh") if len(path.read_text().splitlines()) >= 400] == []


def test_files_are_finished_and_name_no_path_of_somebodys_machine():
    texts = files("*.py", "*.sh", "*.md", "*.txt", "*.toml", "Makefile", "run")
    assert len(texts) > len(PRODUCTION)
    assert [
        f"{name_of(path)}: {line}"
        for path in texts
        for line in path.read_text().splitlines()
        if UNFINISHED.search(line) or FOREIGN_PATH.search(line)
    ] == []


def faults(path: Path) -> Iterator[str]:
    """Calls that fix a device, or that would run what a file tells them to."""
    for function, call in calls(path):
        placed = [keyword(call, "device")]
        if function.endswith(".to"):
            placed += [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        if function.endswith(".cuda") or any(str(value).startswith("cuda") for value in placed):
            yield "fixes a device"
        if function == "torch.load" and keyword(call, "weights_only") is not True:
            yield "torch.load without weights_only=True"
        if function in ("np.load", "numpy.load") and keyword(call, "allow_pickle") is not False:
            yield "np.load without allow_pickle=False"
        if function in ("pickle.load", "pickle.loads"):
            yield "unpickles"


def test_code_is_device_agnostic_and_unpickles_nothing_freely():
    assert [f"{name_of(path)}: {fault}" for path in PRODUCTION for fault in faults(path)] == []


@pytest.mark.parametrize(
    "line",
    [
        "x.cuda()",
        "x.to('cuda:1')",
        "torch.zeros(3, device='cuda')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "pickle.load(file)",
    ],
)
def test_the_rule_above_notices(tmp_path, line):
    (tmp_path / "a.py").write_text(line)
    assert len(list(faults(tmp_path / "a.py"))) == 1


def test_only_tests_know_of_the_reference_data():
    known = re.compile(r"TOOLBOX_SHARED|\.\./shared")
    assert [name_of(path) for path in PRODUCTION if known.search(path.read_text())] == []


def test_public_functions_and_classes_say_what_they_are():
    silent = []
    for path in PACKAGE:
        tree = ast.parse(path.read_text())
        public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
        silent += [f"{name_of(path)}: {node.name}" for node in public if ast.get_docstring(node) is None]
        silent += [name_of(path)] if tree.body and ast.get_docstring(tree) is None else []
    assert silent == []


def test_shapes_in_signatures_are_objects_and_not_text():
    """``from __future__ import annotations`` would hide the shapes from the checks that run with the tests."""
    hidden = "from __future__ import annotations"
    assert [name_of(p) for p in PACKAGE if "jaxtyping" in p.read_text() and hidden in p.read_text()] == []


def test_links_and_commands_in_the_documents_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    absent = []
    for path in files("*.md"):
        text = path.read_text()
        links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text)
        absent += [f"{name_of(path)}: {link}" for link in links if not (path.parent / link).exists()]
        commands = re.findall(r"(?<![\w/.])((?:tools|configs)/[\w/.]+\.(?:py|sh))", text)
        absent += [f"{name_of(path)}: {name}" for name in commands if not (ROOT / name).exists()]
        made = re.findall(r"\bmake (?:[A-Z]+=\S+ )*(demo|bench|test|check|format|clean|docs)\b", text)
        absent += [f"{name_of(path)}: make {target}" for target in made if target not in targets]
    assert absent == []
