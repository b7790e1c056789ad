"""What the documentation names exists, and the recipe that docs/paper.md tells is the one in the code."""

import ast
import dataclasses
import importlib
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

from mas_ray.cli.main import VERBS
from mas_ray.config import cascade as cascade_config
from mas_ray.config import model as model_config
from mas_ray.config.cascade import paper_cascade

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mas_ray"
PAPER = ROOT / "docs" / "paper.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
LINKING = [*PAGES, ROOT / "README.md", ROOT / "ARCHITECTURE.md"]
PARTS = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("_")}
FILE_SUFFIXES = {"html", "jpg", "json", "jsonl", "md", "mp4", "npz", "parquet", "png", "pt", "py", "toml", "txt"}


def _name(page):
    return page.name


def _spans(text):
    """The code spans; fenced blocks are left out."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


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
        return importlib.util.find_spec(first) is not None
    path = PACKAGE / first
    while rest and ((path / rest[0]).is_dir() or (path / f"{rest[0]}.py").is_file()):
        path /= rest.pop(0)
    return _has(importlib.import_module(".".join(path.relative_to(ROOT).parts)), rest)


def _named(text):
    """The dotted names in a page: classes with a field, functions with their module; files are none."""
    dotted = [re.fullmatch(r"((?:[A-Za-z]\w*\.)+[A-Za-z_]\w*)(?:\(\))?", span) for span in _spans(text)]
    names = [match[1].removeprefix("mas_ray.") for match in dotted if match]
    return [name for name in names if name.rpartition(".")[2] not in FILE_SUFFIXES]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_named_files_exist(page):
    paths = re.findall(r"\b(?:mas_ray|tests|benchmarks|jobs)/[\w/]+\.py\b", page.read_text())
    assert [path for path in paths if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_named_functions_and_fields_exist(page):
    assert [name for name in _named(page.read_text()) if not _exists(name)] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_named_verbs_exist(page):
    verbs = [match[1] for span in _spans(page.read_text()) if (match := re.match(r"mas-ray ([a-z]+)", span))]
    assert [verb for verb in verbs if verb not in VERBS] == []


@pytest.mark.parametrize("page", LINKING, ids=_name)
def test_relative_links_resolve(page):
    targets = re.findall(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)", page.read_text())
    files = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in files if not (page.parent / target).exists()] == []


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
