"""What the documentation names exists, and the recipe that docs/paper.md tells is the one in the code.

The documentation: docs/, the pages at the root, and the docstrings of jobs/.
"""

import ast
import builtins
import contextlib
import dataclasses
import importlib
import importlib.util
import io
import re
from functools import cache
from pathlib import Path

import pytest

from mas_ray.cli.main import VERBS, main
from mas_ray.config import cascade as cascade_config
from mas_ray.config import model as model_config
from mas_ray.config.cascade import paper_cascade

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mas_ray"
PAPER = ROOT / "docs" / "paper.md"
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / f"{n}.md" for n in ("README", "ARCHITECTURE", "CONTRIBUTING")),
]
JOBS = sorted(path for path in (ROOT / "jobs").glob("*.py") if path.name != "__init__.py")
PARTS = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("_")}
READ = [*PAGES, *JOBS]
OTHERS = {"camera.project", "nn.Module", "Dataset.write_parquet", "Tuner.restore"}  # a batch's field, torch's, Ray's
NO_CLASSES_OF_OURS = {"TorchTrainer", "FrameSet", "ChairMasks"}  # Ray's; a row; a folder
FILE_SUFFIXES = {"html", "jpg", "json", "jsonl", "md", "mp4", "npz", "parquet", "png", "pt", "py", "toml", "txt"} | {
    *("avi", "calib", "calibration", "mat", "sh"),
}


def _name(page):
    return page.name


def _text(page):
    """A page, or a module's docstring with its code spans marked as in a page."""
    if page.suffix == ".md":
        return page.read_text()
    return ast.get_docstring(ast.parse(page.read_text())).replace("``", "`")


def _spans(text):
    """The code spans, which may go over the end of a line; fenced blocks are left out."""
    spans = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    return [" ".join(span.split()) for span in spans]


def _commands(page):
    """What a page tells to type: its code spans and the lines of its blocks, in a docstring up to a wide gap."""
    text = _text(page)
    if page.suffix == ".md":
        blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
        lines = [line for block in blocks for line in re.sub(r"\\\n", " ", block).splitlines()]
    else:
        indented = re.findall(r"^ {4}(\S.*)$", text, flags=re.MULTILINE)
        lines = [part for line in indented for part in re.split(r"\s{4,}", line)]
    return [*_spans(text), *(line.strip() for line in lines if line.strip())]


@cache
def _flags(*verb):
    """The flags that the help of a verb, or of a verb and its subcommand, names."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([*verb, "--help"])
    return {"--help", "--debug", *re.findall(r"--[a-z][a-z.-]*", said.getvalue())}


def _can_be_typed(command):
    """Whether verb and flags, targets of make, module or script exist; what is none of these is not looked at."""
    if command.startswith("mas-ray submit ") and " -- " in command:
        submit, _, submitted = command.partition(" -- ")
        return _can_be_typed(submit) and _can_be_typed(f"mas-ray {submitted}")
    first, *words = command.partition(" | ")[0].split()
    flags = {word.partition("=")[0] for word in (first, *words) if word.startswith("--")}
    match first, words:
        case "mas-ray", ["jobs", subcommand, *_]:
            return flags <= _flags("jobs", subcommand)
        case "mas-ray", [verb, *_]:
            return verb in VERBS and flags <= _flags(verb)
        case "make", _:
            return set(words) <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
        case "python", ["-m", module]:
            return importlib.util.find_spec(module) is not None
        case "python", [script]:
            return (ROOT / script).is_file()
        case _:
            return not first.startswith("--") or any(flags <= _flags(verb) for verb in VERBS)


@cache
def _modules_of_classes():
    """By class name, the modules that define one."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name in re.findall(r"^class (\w+)", path.read_text(), flags=re.MULTILINE):
            found.setdefault(name, []).append(module)
    return found


def _has(thing, names):
    """Whether the attributes, one of another, are there; fields without a default are no attributes of a class."""
    if not names:
        return True
    if dataclasses.is_dataclass(thing) and names[0] in {field.name for field in dataclasses.fields(thing)}:
        return len(names) == 1
    return hasattr(thing, names[0]) and _has(getattr(thing, names[0]), names[1:])


def _exists(dotted):
    """Whether a name such as ``losses.symmetry`` or ``StageConfig.anchor`` is one of the package's."""
    first, *rest = dotted.split(".")
    if first[0].isupper():
        modules = map(importlib.import_module, _modules_of_classes().get(first, []))
        return any(_has(getattr(module, first), rest) for module in modules)
    if first not in PARTS:
        return importlib.util.find_spec(dotted if first == "jobs" else first) is not None
    path = PACKAGE / first
    while rest and ((path / rest[0]).is_dir() or (path / f"{rest[0]}.py").is_file()):
        path /= rest.pop(0)
    return _has(importlib.import_module(".".join(path.relative_to(ROOT).parts)), rest)


def _named(text):
    """The dotted names in a page: classes with a field, functions with their module; files are none."""
    dotted = [re.fullmatch(r"((?:[A-Za-z]\w*\.)+[A-Za-z_]\w*)(?:\(\))?", span) for span in _spans(text)]
    names = [match[1].removeprefix("mas_ray.") for match in dotted if match]
    return [name for name in names if name.rpartition(".")[2] not in FILE_SUFFIXES and name not in OTHERS]


@pytest.mark.parametrize("page", READ, ids=_name)
def test_named_files_exist(page):
    """From the root, or from the package."""
    paths = re.findall(r"\b(?:mas_ray|tests|benchmarks|jobs)/[\w/]+\.py\b", _text(page))
    paths += [span for span in _spans(_text(page)) if re.fullmatch(r"\w+/[\w/]+\.py", span)]
    assert [path for path in paths if not any((folder / path).is_file() for folder in (ROOT, PACKAGE))] == []


@pytest.mark.parametrize("page", READ, ids=_name)
def test_named_functions_and_fields_exist(page):
    assert [name for name in _named(_text(page)) if not _exists(name)] == []


@pytest.mark.parametrize("page", READ, ids=_name)
def test_named_classes_exist(page):
    names = {span for span in _spans(_text(page)) if re.fullmatch(r"(?:[A-Z][a-z]+)+", span)}
    ours = _modules_of_classes().keys() | NO_CLASSES_OF_OURS
    assert sorted(name for name in names - ours if not hasattr(builtins, name)) == []


@pytest.mark.parametrize("page", READ, ids=_name)
def test_named_commands_exist(page):
    assert [command for command in _commands(page) if not _can_be_typed(command)] == []


@pytest.mark.parametrize(
    "command",
    [
        "mas-ray lern",
        "mas-ray train --job J --seeds 0",
        "mas-ray learn --seeds=0 --sedes=1",
        "--no-such-flag",
        "make chek test",
        "python -m jobs.lern",
        "python benchmarks/lern.py",
    ],
)
def test_a_wrong_command_is_found(command):
    assert not _can_be_typed(command)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_resolve(page):
    targets = re.findall(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)", page.read_text())
    files = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in files if not (page.parent / target).exists()] == []


def test_the_readmes_map_is_of_what_is_there():
    (block,) = re.findall(
        r"^```\nmas_ray/\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE
    )
    package = re.findall(r"^  (\S+)", block, flags=re.MULTILINE)
    beside = re.findall(r"^(\w\S+)", block, flags=re.MULTILINE)
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert {name.rstrip("/") for name in package if name.endswith("/")} == folders
    assert [name for name in package if not (PACKAGE / name).exists()] == []
    assert beside
    assert [name for name in beside if not (ROOT / name).exists()] == []


def test_the_types_are_where_the_architecture_says():
    rows = re.findall(r"^\| (`\w+`.*?) \| ([\w/]+\.py) \|", (ROOT / "ARCHITECTURE.md").read_text(), flags=re.MULTILINE)
    told = {(name, path) for names, path in rows for name in re.findall(r"`(\w+)`", names)}
    assert len(told) >= 9
    assert {path for _, path in told if not (PACKAGE / path).is_file()} == set()
    wrong = {
        name
        for name, path in told - {("FrameSet", "shards/schema.py")}  # a row has no class
        if not re.search(rf"^class {name}\b", (PACKAGE / path).read_text(), flags=re.MULTILINE)
    }
    assert wrong == set()


def test_the_recipe_told_is_the_recipe():
    cascade = paper_cascade()
    holders = {
        "StageConfig": cascade.stages,
        "LossWeights": [stage.loss_weights for stage in cascade.stages],
        "CascadeConfig": [cascade],
        "DetectorConfig": [cascade.detector],
        "ShapePriorConfig": [cascade.shape_prior],
        "GeodesicConfig": [cascade.geodesic],
    }
    seen = set()
    for name, field, cells in re.findall(r"^\| `(\w+)\.(\w+)` \| (.+) \|$", PAPER.read_text(), flags=re.MULTILINE):
        told = [ast.literal_eval(cell.strip("` ")) for cell in cells.split(" | ")[: len(holders[name])]]
        assert told == [getattr(holder, field) for holder in holders[name]], f"{name}.{field}"
        seen.add(name)
    assert seen == holders.keys()


def test_every_number_of_the_recipe_is_told():
    named = set(_named(PAPER.read_text()))
    classes = [
        value
        for module in (cascade_config, model_config)
        for value in vars(module).values()
        if dataclasses.is_dataclass(value)
    ]
    fields = {f"{cls.__name__}.{field.name}" for cls in classes for field in dataclasses.fields(cls)}
    names = {"CascadeConfig.detector", "CascadeConfig.shape_prior", "CascadeConfig.geodesic", "CascadeConfig.stages"}
    assert sorted(fields - named - names - {"StageConfig.name", "StageConfig.loss_weights"}) == []


@pytest.mark.parametrize(
    "name",
    [
        "losses.symetry",
        "loses.symmetry",
        "StageConfig.num_anchor",
        "StagesConfig.anchor",
        "geometry.naming.link",
        "training.objective.LossBreakdown.sum",
    ],
)
def test_a_wrong_name_is_found(name):
    assert _named(f"see `{name}`") == [name]
    assert not _exists(name)


@pytest.mark.parametrize(
    "name",
    ["losses.symmetry", "StageConfig.name", "skeleton.H36M_18", "training.objective.LossBreakdown.depth", "Camera.K"],
)
def test_a_right_name_is_found(name):
    assert _named(f"`{name}` and `mas_ray.{name}`") == [name, name]
    assert _exists(name)
