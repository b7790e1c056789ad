"""The paper's tables, and every component of ours taken away by itself, on the dataset that ``jobs.learn`` leaves.

One process without Ray; every recipe takes three tenths of its steps: hours. ``mas-ray tables`` by itself does the
paper's rows in a tenth of the steps.

    python -m jobs.tables
"""

from mas_ray.config.jobs import TablesJob

JOB = TablesJob(
    manifest="learn/easy/dataset/manifest.json",
    annotations="learn/easy/annotations",
    output="tables",
    components=True,
    steps_share=0.3,
    seed=0,
)

if __name__ == "__main__":
    from mas_ray.cli.tables import show

    raise SystemExit(show(JOB))
