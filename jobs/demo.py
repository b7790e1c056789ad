"""The main job on real four-camera video: ingest, fine-tuning, evaluation, prediction, report.

Two CPU workers, about ten minutes on two cores once everything is installed. What it wrote is listed at its end.

    mas-ray demo        or        python -m jobs.demo
"""

from mas_ray.config.jobs import DemoJob, Workers

JOB = DemoJob(output="demo", corpus="balancing", workers=Workers(num=2))

if __name__ == "__main__":
    from mas_ray.cli.demo import show

    raise SystemExit(show(JOB))
