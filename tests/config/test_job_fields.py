import pytest

from mas_ray.config.jobs import IngestJob, TrainJob

TRAIN = {"manifest": "m.json", "storage": "runs"}
INGEST = {"root": "corpus", "output": "dataset"}


@pytest.mark.parametrize("field", ["manifest", "storage", "checkpoints", "single_view_manifest", "initial"])
def test_an_empty_path_of_a_training_is_an_error_that_names_it(field):
    with pytest.raises(ValueError, match=rf"^{field}: expected a path or a URI, got an empty text$"):
        TrainJob(**{**TRAIN, field: ""})


@pytest.mark.parametrize("field", ["root", "output", "work", "annotations"])
def test_an_empty_path_of_an_ingest_is_an_error_that_names_it(field):
    with pytest.raises(ValueError, match=rf"^{field}: expected a path or a URI, got an empty text$"):
        IngestJob(**{**INGEST, field: ""})


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a"])
def test_a_runs_name_is_that_of_a_folder(name):
    with pytest.raises(ValueError, match=r"^name: expected the name of a folder in the storage"):
        TrainJob(**TRAIN, name=name)
