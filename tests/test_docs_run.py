"""Every command and every block of Python in the documents runs, or stands in a table with the reason and its test."""

import ast
import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

import pytest

from document_data import lay_out, lay_out_fields
from document_pages import ELSEWHERE, PAGES_RUN, SMALL, WORDS, Page
from documents import PAGES, ROOT, Step, name, steps
from mosaic_fl.cli.main import main
from mosaic_fl.storage.folder_lock import vacate

RUN = ("mosaic", "ls", "cat")
"""Programs whose commands are run."""


def elsewhere(step: Step) -> str | None:
    """How its entry in the table begins, the longest that does; None where it is to be run."""
    found = [start for start in ELSEWHERE if step.text.startswith(start) and not step.text.endswith("--show")]
    return max(found, key=len) if found else None


def page_steps(page: str) -> list[Step]:
    """What a reader types there."""
    return steps((ROOT / page).read_text())


def test_every_page_with_commands_is_in_the_table() -> None:
    assert {name(page) for page in PAGES if steps(page.read_text())} == set(PAGES_RUN)


@pytest.mark.parametrize("page", PAGES_RUN)
def test_each_step_runs_or_stands_in_the_table(page: str) -> None:
    for step in page_steps(page):
        runs = step.kind == "python" or step.text.split()[0] in RUN
        assert runs or elsewhere(step), f"{page}: {step.text!r} is no command that the tests run, and not in ELSEWHERE"


def test_what_stands_in_the_table_is_in_a_page_and_its_test_is_there() -> None:
    entries = {elsewhere(step) for page in PAGES_RUN for step in page_steps(page)}
    assert set(ELSEWHERE) - entries == set()
    for reason in ELSEWHERE.values():
        for test in re.findall(r"tests/\w+\.py", reason):
            assert (ROOT / test).exists(), reason


def test_a_new_command_is_seen() -> None:
    """The check itself: commands in any kind of block, with a prompt or continued, and code."""
    text = "    north$ mosaic run\\\n  --web  # so\n\n```bash\nhelm lint\n```\n\n```python\nprint(1)\n```\n\n"
    text += "    cat a\n    x = 1\n"
    assert steps(text) == [
        Step("shell", "mosaic run--web", "north"),
        Step("shell", "helm lint"),
        Step("python", "print(1)"),
        Step("shell", "cat a", "", ("x = 1",)),
    ]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the pages name."""
    return lay_out(tmp_path_factory.mktemp("documents"))


@pytest.mark.documents
@pytest.mark.parametrize("page", PAGES_RUN)
def test_a_page_runs_from_top_to_bottom(
    page: str, stock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = PAGES_RUN[page]
    todo = [step for step in page_steps(page) if not elsewhere(step)]
    if not todo:
        return
    reader = Reader(given, stock, tmp_path / "page")
    monkeypatch.syspath_prepend(tmp_path / "page")
    for line in given.before:
        reader.type(Step("shell", line))
    for step in todo:
        try:
            reader.type(step)
        except Exception as error:
            pytest.fail(f"{page}: {step.text}\n{type(error).__name__}: {error}")


class Reader:
    """Somebody who types what a page says, in a folder of each machine."""

    def __init__(self, page: Page, stock: Path, root: Path) -> None:
        self.page = page
        self.root = root
        self.names: dict[str, object] | None = None
        machines = ("server", "north", "south") if page.machines else ("",)
        for machine in machines:
            shutil.copytree(stock, root / machine)
            if page.fields:
                lay_out_fields(root / machine)
        # The model that a site keeps, as docs/black-box.md has it.
        (root / "own.py").write_text("def predict(samples):\n    return [[0.1] * 10] * len(samples)\n")

    def type(self, step: Step) -> None:
        """One step, as it stands but for placeholders and small budgets. Raises where it does not end as it should."""
        for start, files in self.page.fetched.items():
            if step.text.startswith(start):
                for source, target in files:
                    (self.root / target).parent.mkdir(parents=True, exist_ok=True)
                    copy = shutil.copytree if (self.root / source).is_dir() else shutil.copy
                    copy(self.root / source, self.root / target)
        folder = self.root / step.machine if self.page.machines else self.root
        with contextlib.chdir(folder):
            if step.kind == "python":
                self._python(step.text)
            else:
                for line in step.text.split("&&"):
                    self._shell(line.strip(), step)

    def _shell(self, line: str, step: Step) -> None:
        program, *words = shlex.split(line.split("|")[0])
        if program == "ls":
            assert sorted(path.name for path in Path(words[0]).iterdir()) == " ".join(step.shown).split()
        elif program == "cat":
            if "…" not in step.shown:  # else a line to add to the file
                Path(words[0]).write_text("\n".join(step.shown) + "\n")
        else:
            assert program == "mosaic", line
            *words, into = words if len(words) > 1 and words[-2] == ">" else (*words, "")
            words = [word for part in words if part != ">" for word in self._filled(part)]
            self._begin_anew(words)
            out = self._mosaic(line, [*words, *WORDS.get(words[0], ())])
            if into:
                Path(into).write_text(out)

    def _filled(self, word: str) -> list[str]:
        """What stands for a word: a placeholder's words, the files of a pattern, or itself."""
        if word in self.page.words:
            return shlex.split(self.page.words[word])
        return sorted(map(str, Path().glob(word))) if "*" in word else [word]

    def _begin_anew(self, words: list[str]) -> None:
        """Remove what an earlier command wrote to the same place: a page tells of several ways to go."""
        if not {"--resume", "--force", "--dry-run", "--show"} & set(words) and ("--out" in words or words[0] == "run"):
            there = Path(words[words.index("--out") + 1] if "--out" in words else "runs/latest")
            if there.is_dir():
                shutil.rmtree(there)
            else:
                there.unlink(missing_ok=True)

    def _mosaic(self, line: str, words: list[str]) -> str:
        """The stdout of `mosaic WORDS`, which ends as the page says."""
        code = next((code for start, code in self.page.codes.items() if line == start), 0)
        out = io.StringIO()
        err = io.StringIO()
        ended = pytest.raises(SystemExit)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), ended as exit:
            main(words)
        vacate()
        assert exit.value.code == code, f"exit code {exit.value.code}: {err.getvalue()}"
        return out.getvalue()

    def _python(self, code: str) -> None:
        """A block, after those before it."""
        if self.names is None:
            self.names = {"__name__": "page"}
            exec(compile(quick(self.page.names), "before", "exec"), self.names)  # noqa: S102
        exec(compile(quick(code), "page", "exec"), self.names)  # noqa: S102


def quick(code: str) -> ast.Module:
    """The code with small budgets: `settings=` at each call of mosaic_fl that trains, below its own settings."""
    tree = ast.parse(code)
    small = dict(word.split("=") for word in SMALL if "=" in word)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function = call.func
        if not isinstance(function, ast.Attribute) or function.attr not in ("contribute", "distill", "run", "compare"):
            continue
        if isinstance(function.value, ast.Name) and function.value.id in ("mosaic", "mosaic_fl"):
            own = next((keyword for keyword in call.keywords if keyword.arg == "settings"), None)
            if own is None:
                own = ast.keyword("settings", ast.Dict([], []))
                call.keywords.append(own)
            given = ast.Dict([None, None], [ast.parse(repr(small), mode="eval").body, own.value])
            own.value = given
    return ast.fix_missing_locations(tree)
