import uuid

import pytest

from mas_ray.cli.job_file import load_job
from mas_ray.config import codec
from mas_ray.config.jobs import DemoJob, LearnJob
from mas_ray.shards.location import location
from mas_ray.shards.write import write_text

JOB = LearnJob(output="out", seeds=(1, 2))
LITERAL = """
from mas_ray.config.jobs import LearnJob

JOB = LearnJob(output="out", seeds=(1, 2))

if __name__ == "__main__":
    raise SystemExit("ran as a program")
"""


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_record_and_a_literal_are_the_same_job(tmp_path):
    assert load_job(write(tmp_path, "job.json", codec.dumps(JOB)), LearnJob) == JOB
    assert load_job(write(tmp_path, "job.py", LITERAL), LearnJob) == JOB


def refusal(path: str) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is compared as a plain text
        load_job(path, LearnJob)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(path)
    return message.removeprefix(path)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", "job = 1\n", ": has no JOB; expected JOB = LearnJob(...)"),
        ("a.py", "JOB = None\n", ": expected JOB = LearnJob(...), got a NoneType"),
        (
            "a.py",
            "from mas_ray.config.jobs import DemoJob\nJOB = DemoJob()\n",
            ": expected JOB = LearnJob(...), got a DemoJob",
        ),
        ("a.py", "x = 1\nJOB = LearnJob(\n", ", line 2: SyntaxError: '(' was never closed"),
        ("a.py", "\n\nJOB = LearnJob()\n", ", line 3: NameError: name 'LearnJob' is not defined"),
        ("a.py", "import sys\nsys.exit()\n", ", line 2: SystemExit"),
        ("a.py", "import json\n\njson.loads('{')\n", ", line 3: Expecting property name"),
        ("a.py", "raise RuntimeError('one\\ntwo')\n", ", line 1: RuntimeError: one"),
        ("a.yaml", "", ": expected a Python file (.py) with a JOB, or a job's record (.json)"),
        ("a.json", "{", ": not valid JSON"),
        ("a.json", '{"sedes": [1]}', ": unknown key 'sedes'; did you mean 'seeds'?"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, name, text, expected):
    assert refusal(write(tmp_path, name, text)).startswith(expected)


def test_a_job_that_its_own_checks_refuse_is_named_by_its_line(tmp_path):
    text = LITERAL.replace("seeds=(1, 2)", "seeds=(1, 1)")
    assert refusal(write(tmp_path, "job.py", text)) == (
        ", line 4: seeds: expected different numbers of at least 0, got (1, 1)"
    )


def test_a_mistake_in_an_imported_module_is_named_by_the_line_that_imports_it(tmp_path, monkeypatch):
    write(tmp_path, "broken_helper_of_a_job.py", "x = 1\ny = (\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = write(tmp_path, "job.py", "\n\n\n\nimport broken_helper_of_a_job\n")
    assert refusal(path).startswith(", line 5: SyntaxError")


def test_no_file_and_no_text(tmp_path):
    assert refusal(str(tmp_path / "none.py")) == ": no such file"
    assert refusal(str(tmp_path)) == ": no such file"
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    assert refusal(str(tmp_path / "bytes.json")) == ": expected a text of JSON, got other bytes"


def test_an_interrupt_is_not_the_files_mistake(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        load_job(write(tmp_path, "job.py", "raise KeyboardInterrupt\n"), DemoJob)


def test_a_record_may_be_in_a_store():
    where = f"fsspec+memory://{uuid.uuid4()}"
    write_text(location(f"{where}/job.json"), codec.dumps(JOB))
    assert load_job(f"{where}/job.json", LearnJob) == JOB
    with pytest.raises(ValueError, match=r"fsspec.*other\.json: no such file"):
        load_job(f"{where}/other.json", LearnJob)
