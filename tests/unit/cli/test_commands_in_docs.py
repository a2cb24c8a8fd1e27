"""Every command printed in the documentation and in --help is one the real parsers accept. None is carried out."""

import logging
import re
import shlex
from configparser import ConfigParser
from pathlib import Path

import pytest
import typer

from bench import registry
from bench.cli.app import app
from bench.config.project import load_ablations, profile_names
from bench.data.manifest import dataset_ids
from bench.weights.manifest import read_manifest

ROOT = Path(__file__).parents[3]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "datasets").glob("*.md")),
    ROOT / "weights" / "README.md",
]
ROOT_COMMAND = typer.main.get_command(app)
PROGRAMS = ("bench", "dvc", "tox")


def commands(text):
    """Command lines in code blocks, and in `code` that has more than one word."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines()]
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for line in [*lines, *inline]:
        for part in re.split(r"&&|\|\||;", re.sub(r"^\s*\$ ", "", line).split("#")[0]):
            part = re.sub(r"^python3? -m ", "", part.strip())
            words = part.split(" ", 1)
            if words[0] in PROGRAMS and len(words) > 1 and "..." not in part and "…" not in part:
                yield part


def from_pages():
    return [
        (path.relative_to(ROOT).as_posix(), c) for path in PAGES if path.is_file() for c in commands(path.read_text())
    ]


def from_help():
    found = []
    for name, verb in ROOT_COMMAND.commands.items():
        lines = [line.strip() for line in (verb.epilog or "").splitlines()]
        found += [(f"bench {name} --help", line) for line in lines if line.startswith(PROGRAMS)]
    return found


def parse(line):
    """Raise what the parser raises for a command line; options that end it at once (--help) are well."""
    program, *words = shlex.split(line)
    words = [w for w in words if w not in ("[--resume]", "--debug")]
    {"bench": parse_bench, "dvc": parse_dvc, "tox": parse_tox}[program](words)


def complaint(line):
    """What a parser says against a line, "" for nothing."""
    try:
        parse(line)
    except (AssertionError, pytest.fail.Exception) as error:
        return str(error)
    except Exception as error:
        if not hasattr(error, "format_message"):  # not one of the command line parser's
            raise
        return error.format_message()
    return ""


def parse_bench(words):
    if not words or words[0].startswith("-"):
        assert set(words) <= {"--help", "--version"}, f"unknown option {words}"
        return
    verb = ROOT_COMMAND.commands.get(words[0])
    assert verb is not None, f"unknown verb {words[0]!r}"
    if "--help" not in words:
        verb.make_context(words[0], words[1:])  # parses and converts, and runs nothing


def stray(line, page):
    """What a command line names that there is not, "" for nothing. A reader's own things are called so (my_faces), stand
    in capitals, or are made on the same page."""
    words = shlex.split(line)
    if words[0] != "bench":
        return ""
    directions = {path.stem for path in (ROOT / "bench" / "directions" / "finders").glob("*.py")}
    known = {
        "--profile": set(profile_names(ROOT)),
        "--dataset": set(dataset_ids(ROOT)) | set(re.findall(r"prepare --dataset (\S+) --images", page)),
        "--domain": set(read_manifest(ROOT).all_domains()),
        "--method": set(registry.methods(ROOT).names()) | set(re.findall(r"methods/(\w+)\.py", page)),
        "--ablation": set(load_ablations(ROOT)),
    }
    known["--method"] |= directions if words[1] == "directions" else set()
    for option, name in zip(words, words[1:], strict=False):
        own = name.isupper() or name.startswith("my")
        if option in known and not own and name not in known[option]:
            return f"there is no {option.strip('-')} {name!r}"
    return ""


def parse_dvc(words):
    from dvc.cli import parse_args
    from dvc.cli.parser import DvcParserError

    logging.disable()  # dvc logs to the stream of the test in which it was first imported, closed by now
    try:
        parse_args(words)
    except DvcParserError:
        pytest.fail(f"dvc does not know {words}")
    finally:
        logging.disable(logging.NOTSET)


def parse_tox(words):
    ini = ConfigParser(interpolation=None)
    ini.read(ROOT / "tox.ini")
    own = words[: words.index("--")] if "--" in words else words
    names = [n for k, w in enumerate(own) if w == "-e" for n in own[k + 1].split(",")]
    for name in names:
        assert ini.has_section(f"testenv:{name}"), f"tox.ini has no environment {name!r}"
    if "--" in words:
        rest = words[words.index("--") + 1 :]
        if rest and rest[0] in PROGRAMS:
            parse(shlex.join(rest))


@pytest.mark.parametrize(("where", "line"), sorted(set(from_pages() + from_help())))
def test_the_parser_knows_it(where, line):
    if mistake := complaint(line):
        pytest.fail(f"{where}: `{line}`: {mistake}")


@pytest.mark.parametrize(("where", "line"), sorted(set(from_pages() + from_help())))
def test_what_it_names_is_there(where, line):
    page = (ROOT / where).read_text() if (ROOT / where).is_file() else ""
    if mistake := stray(line, page):
        pytest.fail(f"{where}: `{line}`: {mistake}")


@pytest.mark.parametrize(
    "line",
    [
        "bench repro --profile fulll",
        "bench edit --method hfgi --domain ffhq",
        "bench run --method hgfi",
        "bench run --method sefa",
        "bench prepare --dataset annyfaces_15000",
        "bench score-edits --ablation no_adda",
    ],
)
def test_stray_names_are_seen(line):
    assert stray(line, "")
    assert not stray("bench directions --method sefa --domain annyfaces", "")


def test_the_search_finds_what_is_printed():
    found = {line for _, line in from_pages()}
    assert len(found) >= 30
    assert any(line.startswith("tox run -e repro") for line in found)
    assert any(line.startswith("bench train generator") for line in found)


def test_every_verb_has_an_example():
    assert {line.split()[1] for _, line in from_help() if line.startswith("bench ")} == set(ROOT_COMMAND.commands)


@pytest.mark.parametrize(
    "line",
    ["bench rnu", "bench run --metod x", "dvc reproo", "tox run -e nope", "bench run --limit x"],
)
def test_mistakes_are_seen(line):
    assert complaint(line)
