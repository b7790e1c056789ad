import json

from made_up_sweep import WEIGHT, sweep_job, write_trial

from mas_ray.config import codec
from mas_ray.pipelines.sweep_folder import Outcome, begin_trial, end_trial, ranked, ranking, read_trials, short_names
from mas_ray.pipelines.sweep_summary import write_summary


def _sweep(tmp_path):
    """One stopped, one finished, one failed before its first word, one better and finished, one that goes on."""
    job = sweep_job(tmp_path)
    sweep = tmp_path / "sweep"
    write_trial(job, 0, 5.0, [0.9])
    end_trial(sweep, 0, Outcome(ending="stopped"))
    write_trial(job, 1, 2.0, [0.8, 0.5, 0.6])
    end_trial(sweep, 1, Outcome(ending="finished"))
    write_trial(job, 2, 9.0, [])
    end_trial(sweep, 2, Outcome(ending="failed", reason="stage 'torso': the loss is not finite"))
    write_trial(job, 3, 1.0, [0.7, 0.4, 0.3])
    end_trial(sweep, 3, Outcome(ending="finished"))
    write_trial(job, 4, 3.0, [0.2, 0.1])
    return job, sweep


def test_a_trial_is_what_its_folder_says(tmp_path):
    _, sweep = _sweep(tmp_path)
    trials = read_trials(sweep)
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert trials[1].drawn == {WEIGHT: 2.0, "without": ()}
    assert [told.num_epochs for told in trials[1].told] == [1, 2, 3]
    # A finished trial counts by the checkpoint that it hands on, the second epoch's; others by what they told last.
    assert [trial.score for trial in trials] == [0.9, 0.5, None, 0.3, 0.1]


def test_a_trial_whose_values_were_never_written_is_none(tmp_path):
    _, sweep = _sweep(tmp_path)
    (sweep / "trials" / "0005").mkdir()
    assert len(read_trials(sweep)) == 5
    begin_trial(sweep, 5, {WEIGHT: 1.0})  # the next driver takes up its number
    assert len(read_trials(sweep)) == 6


def test_the_ranking_puts_whole_trials_first(tmp_path):
    job, sweep = _sweep(tmp_path)
    trials = ranked(read_trials(sweep))
    assert [trial.number for trial in trials] == [3, 1, 0, 4, 2]
    header, first, *_, last = ranking(job, trials)
    assert header == ["trial", "end", "epochs", "score", "skeleton_mask", "without"]
    assert first == ["0003", "finished", "3", "0.30000", "1", "-"]
    assert last[:4] == ["0002", "failed", "0", "-"]


def test_the_best_job_is_the_base_with_what_the_best_trial_drew(tmp_path):
    job, sweep = _sweep(tmp_path)
    write_summary(job, sweep, read_trials(sweep))
    best = codec.loads(type(job.base), (sweep / "best_job.json").read_text())
    assert (
        best.cascade.stages[0].loss_weights.skeleton_mask == 1.0 * job.base.cascade.stages[0].loss_weights.skeleton_mask
    )
    assert (best.name, best.storage) == ("sweep-best", str(tmp_path))
    assert [line["trial"] for line in json.loads((sweep / "trials.json").read_text())] == [3, 1, 0, 4, 2]
    assert "| 0003 | finished |" in (sweep / "trials.md").read_text()


def test_plots_need_no_network(tmp_path):
    job, sweep = _sweep(tmp_path)
    write_summary(job, sweep, read_trials(sweep))
    page = (sweep / "sweep.html").read_text()
    assert page.count('<div id="') >= 3
    assert "<script src=" not in page
    assert 'charset="utf-8" src=' not in page


def test_without_a_finished_trial_there_is_no_best_job(tmp_path):
    job = sweep_job(tmp_path)
    write_trial(job, 0, 5.0, [0.9])
    end_trial(tmp_path / "sweep", 0, Outcome(ending="stopped"))
    write_summary(job, tmp_path / "sweep", read_trials(tmp_path / "sweep"))
    assert not (tmp_path / "sweep" / "best_job.json").exists()
    assert (tmp_path / "sweep" / "sweep.html").is_file()


def test_fields_are_told_apart_by_the_ends_of_their_paths():
    fields = ["a.stages.*.bone_width", "a.stages.one.rates.0.1", "a.stages.two.rates.0.1", "seed"]
    assert list(short_names(fields).values()) == ["bone_width", "one.rates.0.1", "two.rates.0.1", "seed"]
    assert short_names(["seed", "a.seed"]) == {"seed": "seed", "a.seed": "a.seed"}
