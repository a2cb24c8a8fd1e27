"""Public functions and classes say what they do."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("annyfaces", "bench", "methods")
MOST = 0.02  # share of public functions and classes without a docstring


def public(body, prefix=""):
    """(name, node) of functions and classes whose names have no leading underscore, in such classes too."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def of_command_line(path, name):
    """Verbs of the command line, whose help text says what they do."""
    return path.parent == ROOT / "bench" / "cli" and name in ("register", "command") and "help=" in path.read_text()


def test_at_most_two_in_a_hundred_public_names_lack_a_docstring():
    names, without = 0, []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for name, node in public(ast.parse(path.read_text()).body):
                names += 1
                if not ast.get_docstring(node) and not of_command_line(path, name):
                    without.append(f"{path.relative_to(ROOT)}:{node.lineno} {name}")
    assert names > 1000
    assert len(without) <= MOST * names, "\n".join(without)
