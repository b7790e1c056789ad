"""How well the method learns: of 40 synthetic people the CPU cascade trains on 28, and is measured on 8 others.

Four more choose checkpoints, by their masks. Two CPU workers, about a quarter of an hour per seed on two cores.
``seeds=(0, 1, 2)`` also gives mean and spread.

    mas-ray learn       or        python -m jobs.learn
"""

from mas_ray.config.jobs import LearnJob, Workers

JOB = LearnJob(output="learn", front_cue="easy", seeds=(0,), workers=Workers(num=2))

if __name__ == "__main__":
    from mas_ray.cli.learn import show

    raise SystemExit(show(JOB))
