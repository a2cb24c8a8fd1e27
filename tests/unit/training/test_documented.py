"""The method that docs/adding_a_method.md trains, read from there: it learns, exports, passes its check and inverts."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "adding_a_method.md"


def block(name: str) -> str:
    """The code block that begins with a comment naming its file, for the toy domain."""
    found = re.search(rf"```\w+\n(# {re.escape(name)}\n.*?)```", PAGE.read_text(), re.S)
    assert found, name
    text = found[1]
    for words, toy in (("annyfaces_train", "toy"), ("annyfaces", "toy"), ("images: 32000", "images: 160")):
        text = text.replace(words, toy)
    return re.sub(r"batch: 8\nheld_out: 1000\n", "batch: 4\nheld_out: 2\nlog_every: 16\n", text)


def test_the_example_is_trained_exported_checked_and_run(project, cli, training):
    (project / "methods" / "mine.py").write_text(block("methods/mine.py"))
    preset = project / "weights" / "toy" / "mine.yaml"
    preset.parent.mkdir()
    preset.write_text(block("weights/annyfaces/mine.yaml"))
    for command in (["--dry-run"], [], ["--export"]):
        answer = cli("train", "mine", "--preset", "toy", *command)
        assert answer.code == 0, answer.err
    assert "critic: 577 parameters to train" in cli("train", "mine", "--preset", "toy", "--dry-run").out
    losses = training.curve("mine", "l2")
    assert len(losses) == 10 and losses[-1] < losses[0]
    assert training.curve("mine", "critic")[-1] < 2 * 0.6931, "better than a guess"
    checked = cli("check", "mine")
    assert checked.code == 0, checked.out + checked.err
    ran = cli("run", "--method", "mine", "--limit", "2")
    assert ran.code == 0, ran.err
    assert len(list((project / "results" / "runs").rglob("head_*.png"))) == 2
