"""RESULTS.md is what the files in benchmarks/results/ say; their schema; means, targets and differences by hand."""

import json
import re
import sys
from pathlib import Path

import pytest

from documents import RESULTS, ROOT, anchors

sys.path.append(str(ROOT / "benchmarks"))
import result_files
import results

CLAIM = {
    "order": 1,
    "chapter": "Toys",
    "title": "Coins, thrown",
    "claim": "A coin is fair.",
    "setting": "Two coins.",
    "command": "python coin.py",
    "version": "0.1.0",
    "columns": ["", "ours", "theirs"],
    "rows": [["a", [1.0, 2.0, 6.0], [0.5, 2.5, 3.0]], ["b", 1234.5, "–"]],
    "figures": [{"what": "mean", "of": ["a", "ours"], "unit": "%", "at_least": 3}],
}


def claim(folder: Path, **changes: object) -> Path:
    """The file of the toy claim, with other values; without those keys that are None."""
    values = {key: value for key, value in (CLAIM | changes).items() if value is not None}
    path = folder / "toy.toml"
    path.write_text(result_files.dump({"figures": []} | values))
    return path


def figure(**words: object) -> tuple[str, str]:
    """What was measured and the state of a figure of the toy claim."""
    values = {"what": "it", **words}
    return results.measured(CLAIM, values), results.state(CLAIM, values)


def test_the_page_is_what_the_files_say() -> None:
    assert results.page(result_files.read_all()) == RESULTS.read_text(), "make results"


def test_each_file_is_as_a_benchmark_would_write_it() -> None:
    for path in sorted(result_files.FOLDER.glob("*.toml")):
        assert result_files.dump(result_files.read(path)) == path.read_text(), path.name


def test_every_claim_has_its_section_and_none_has_a_path_of_a_machine() -> None:
    text = RESULTS.read_text()
    for result in result_files.read_all():
        assert results.anchor(result["title"]) in anchors(text)
    assert not re.search(r"/(work|tmp|home|root)/", text)


def test_means_and_deviations_by_hand() -> None:
    assert results.shown([1.0, 2.0, 6.0], 1) == "3.0 ± 2.6", "√((4 + 1 + 9) / 2) = 2.65"
    assert results.shown([1.0, 3.0], 2) == "2.00 ± 1.41"
    assert results.shown([98.75], 1) == "98.8"
    assert results.shown(1536, 1) == "1,536"
    assert results.shown("no", 1) == "no"


def test_numbers_of_a_column_have_the_digits_of_the_longest() -> None:
    rows = [["a", 0.5, 3], ["b", 14.25, 1.5]]
    assert results.body({"columns": ["", "x", "y"], "rows": rows, "strong": ["b"]}) == [
        ["a", "0.50", "3"],
        ["**b**", "**14.25**", "**1.5**"],
    ]


def test_figures_by_hand() -> None:
    ours, theirs = ["a", "ours"], ["a", "theirs"]
    assert figure(of=ours) == ("3.0", "no target")
    assert figure(of=ours, take="median", at_most=2) == ("2.0", "reached")
    assert figure(of=ours, take="least", at_least=1.5) == ("1.0", "missed")
    assert figure(of=ours, minus=theirs, take="least", at_least=-0.5, unit="points") == ("-0.5 points", "reached")
    assert figure(of=ours, minus=theirs, take="most") == ("3.0", "no target")
    assert figure(of=["*", "ours"], take="most", at_least=1000) == ("1,234.5", "reached")
    assert figure(of=["*", "ours"], minus=["*", "theirs"]) == ("1.0", "no target"), "a row without both is left out"
    assert figure(value="yes", equals="yes") == ("yes", "reached")
    assert figure(value="no", equals="yes") == ("no", "missed")
    assert figure(value=3, at_most=2) == ("3", "missed")
    assert results.differences([3.0, 5.0], 1.0) == [2.0, 4.0]
    with pytest.raises(ValueError, match="other seeds"):
        results.differences([1.0, 2.0], [1.0, 2.0, 3.0])


def test_what_was_not_measured_says_so() -> None:
    assert figure(at_least=5) == ("not measured", "not measured")
    assert figure(of=["b", "theirs"], at_least=5) == ("not measured", "not measured"), "a cell with a word"
    text = results.page([CLAIM | {"name": "toy.toml", "figures": [{"what": "speed", "at_most": 2}]}])
    assert "| [A coin is fair](#coins-thrown) | speed | not measured | at most 2 | **not measured** | 0 of 1 |" in text
    assert "## Not measured" in text
    assert "## Missed" not in text


def test_the_page_of_a_toy() -> None:
    text = results.page([CLAIM | {"name": "toy.toml", "notes": ["Heads."]}])
    assert "| [A coin is fair](#coins-thrown) | mean | 3.0 % | at least 3 % | reached | 1 of 1 | 0.1.0 |" in text
    assert "## Toys\n\n### Coins, thrown\n\n**A coin is fair.**\n\nTwo coins.\n\n" in text
    assert "|  | ours | theirs |\n| --- | ---: | ---: |\n| a | 3.0 ± 2.6 | 2.0 ± 1.3 |\n| b | 1,234.5 | – |\n" in text
    assert text.endswith("- Heads.\n\nVersion 0.1.0, file `toy.toml`:\n\n    python coin.py\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claim": None}, "claim is missing"),
        ({"order": "first"}, "order = 'first' is of the wrong type"),
        ({"order": True}, "order = True is of the wrong type"),
        ({"title": "α = 0.1 (digits)"}, "title is a link's anchor"),
        ({"rows": [["a", 1.0]]}, "rows: ['a', 1.0] has not one cell for each of the 3 columns"),
        ({"rows": [["a", 1.0, []]]}, "rows: [] is neither"),
        ({"rows": [["a", 1.0, [1.0, "x"]]]}, "rows: [1.0, 'x'] is neither"),
        ({"strong": ["c"]}, "strong: 'c' is neither a row nor a column"),
        ({"notes": [1]}, "notes are texts"),
        ({"figures": []}, "figures is missing"),
        ({"figures": [{"value": 1}]}, "figures, number 1: what is missing"),
        ({"figures": [{"what": "x", "of": ["z", "ours"]}]}, "of = ['z', 'ours']: no such row"),
        ({"figures": [{"what": "x", "of": ["a", "yours"]}]}, "of = ['a', 'yours']: no such column"),
        ({"figures": [{"what": "x", "minus": ["a", "ours"]}]}, "minus needs of"),
        ({"figures": [{"what": "x", "of": ["a", "ours"], "value": 1}]}, "either of or value"),
        ({"figures": [{"what": "x", "of": ["a", "ours"], "take": "best"}]}, "take is one of mean"),
        ({"figures": [{"what": "x", "value": 1, "at_least": 1, "at_most": 2}]}, "one of at_least, at_most, equals"),
        ({"figures": [{"what": "x", "value": 1, "at_least": "much"}]}, "at_least = 'much' is of the wrong type"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_a_wrong_file_is_named_with_its_key(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    path = claim(tmp_path, **changes)
    with pytest.raises(ValueError, match=re.escape(message)) as told:
        result_files.read(path)
    assert str(told.value).startswith("toy.toml: ")
    assert "\n" not in str(told.value)


def test_an_unknown_key_and_broken_toml_are_named(tmp_path: Path) -> None:
    path = claim(tmp_path)
    text = path.read_text()
    path.write_text('colour = "red"\n' + text)
    with pytest.raises(ValueError, match=r"toy.toml: colour is not a key; these are: order, "):
        result_files.read(path)
    path.write_text("figures = []\n" + text.split("[[figures]]")[0])
    with pytest.raises(ValueError, match=r"toy.toml: figures: at least one"):
        result_files.read(path)
    path.write_text("order = \n" + text)
    with pytest.raises(ValueError, match=r"toy.toml: Invalid value \(at line 1"):
        result_files.read(path)


def test_two_claims_have_two_places_and_two_titles(tmp_path: Path) -> None:
    text = claim(tmp_path).read_text()
    (tmp_path / "other.toml").write_text(text.replace("Coins, thrown", "Dice"))
    with pytest.raises(ValueError, match=r"toy.toml: order 1 is that of other.toml, too"):
        result_files.read_all(tmp_path)
    (tmp_path / "other.toml").write_text(text.replace("order = 1", "order = 2"))
    with pytest.raises(ValueError, match=r"toy.toml: title 'Coins, thrown' is that of other.toml, too"):
        result_files.read_all(tmp_path)


def test_the_command_writes_checks_and_names_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    words = ["--results", str(tmp_path), "--out", str(page)]
    claim(tmp_path)
    results.main(words)
    results.main([*words, "--check"])
    page.write_text(page.read_text().replace("3.0 %", "4.0 %"))
    with pytest.raises(SystemExit, match=r"RESULTS.md is not what the files in .* say: make results"):
        results.main([*words, "--check"])
    claim(tmp_path, version=None)
    with pytest.raises(SystemExit, match=r"^toy.toml: version is missing$"):
        results.main(words)


def test_a_benchmark_fills_in_its_file_and_leaves_the_words(tmp_path: Path) -> None:
    figures = [*CLAIM["figures"], {"what": "alike", "value": "no", "equals": "yes"}]  # type: ignore[misc]
    claim(tmp_path, figures=figures, command="python coin.py \\\n    --often\n", strong=["a"])
    result_files.save("toy", [["a", [1.23456, 2.0], 7], ["b", 3, "–"]], {"alike": "yes"}, tmp_path)
    result = result_files.read(tmp_path / "toy.toml")
    assert result["rows"] == [["a", [1.23, 2.0], 7], ["b", 3, "–"]], "one digit more than is shown"
    assert result["figures"][1]["value"] == "yes"
    assert result["claim"] == CLAIM["claim"]
    assert result["command"] == "python coin.py \\\n    --often\n"
    assert result["version"] != CLAIM["version"]
    with pytest.raises(ValueError, match=r"toy.toml: strong: 'a' is neither"):
        result_files.save("toy", [["c", 1, 2]], None, tmp_path)
    with pytest.raises(ValueError, match=r"toy.toml: no figure is called 'speed'"):
        result_files.save("toy", result["rows"], {"speed": 1}, tmp_path)
