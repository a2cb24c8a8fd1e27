"""One word for one thing: words that the glossary replaces name nothing in the code (see docs/glossary.md)."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("annyfaces", "bench", "methods")
MOST_TERMS = 40
OLD = {  # old word -> the field's
    "CodePool": "LatentPool",
    "ImageJudge": "ImageAdversarialLoss",
    "LatentJudge": "LatentAdversarialLoss",
    "check_judge": "check_predictor",
    "judges": "attribute_predictors",
    "opponent_loss": "discriminator_loss",
    "Wanted": "EditSpec",
    "wanted": "edit_spec",
    "wanted_edits": "edit_specs_of",
    "meant": "targets",
    "seen": "attributes",
    "seen_meant": "target_attributes",
    "seen_source": "source_attributes",
    "seen_start": "inversion_attributes",
    "told": "describe",
    "room": "in_range",
    "with_room": "in_range",
    "unseen": "no_visible_change",
    "Matched": "EditStrength",
    "matched": "strengths",
    "brief": "edit_only",
    "Move": "EditStep",
    "moves_of": "plan_edit_steps",
    "Held": "QuantisedBatch",
    "Kept": "QuantisedTensor",
    "Spot": "OperatingPoint",
    "Films": "VideoResult",
    "films": "videos",
    "read_films": "read_videos",
    "squares_of": "crop_boxes_of",
    "Asked": "VideoPlan",
    "asked": "requested",
    "asked_of": "video_plan_of",
    "engine_asked": "engine_requested",
    "found": "a noun",
    "held": "a noun",
    "kept": "a noun",
    "Pictures": "EditInputs",
    "picture": "image",
    "pictures_of": "image_ids_of",
    "read_codes": "read_latents",
    "write_codes": "write_latents",
    "training_codes": "training_latents",
}


def identifiers(text):
    """(line, name) of all names in Python source, those inside f-strings included."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string
        elif token.type == tokenize.STRING and re.match(r"[rR]?[fF]", token.string):
            for inner in re.findall(r"(?<!\{)\{([^{}'\"]+)[}:!]", token.string):
                for name in re.findall(r"(?<![\w'\"])[A-Za-z_]\w*", inner):
                    yield token.start[0], name


def test_names_inside_f_strings_are_seen():
    assert ("picture" in {name for _, name in identifiers('x = f"{picture.id:>4} {{kept}}"\n')}) is True
    assert "kept" not in {name for _, name in identifiers('x = f"{picture.id:>4} {{kept}}"\n')}


@pytest.mark.parametrize("folder", FOLDERS)
def test_old_words_name_nothing(folder):
    places = [
        f"{path.relative_to(ROOT)}:{line} {name} -> {OLD[name]}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in identifiers(path.read_text())
        if name in OLD
    ]
    assert not places


def test_the_glossary_has_at_most_forty_terms_each_with_meaning_and_source():
    lines = (ROOT / "docs" / "glossary.md").read_text().splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| ")][1:]
    terms = [row[0].strip() for row in rows]
    assert 20 <= len(rows) <= MOST_TERMS
    assert len(set(terms)) == len(terms)
    assert all(len(row) == 3 and all(cell.strip() for cell in row) for row in rows)
