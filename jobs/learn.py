"""How well the method learns: the CPU cascade on 40 synthetic people, evaluated on eight that it never saw.

Two CPU workers, at most an hour per seed on two cores. ``seeds=(0, 1, 2)`` also gives mean and spread.

    mas-ray learn       or        python -m jobs.learn
"""

from mas_ray.config.jobs import LearnJob, Workers

JOB = LearnJob(output="learn", front_cue="easy", seeds=(0,), workers=Workers(num=2))

if __name__ == "__main__":
    from mas_ray.cli.learn import show

    raise SystemExit(show(JOB))
