"""The ablations beside the paper's Tables 4 and 5 and Fig. 4, on the dataset that ``jobs.learn`` leaves.

One process without Ray; every recipe takes three tenths of its steps. Components beyond the paper
have rows of their own.

    mas-ray tables      or        python -m jobs.tables
"""

from mas_ray.config.jobs import TablesJob

JOB = TablesJob(
    manifest="learn/easy/dataset/manifest.json",
    annotations="learn/easy/annotations",
    output="tables",
    steps_share=0.3,
    seed=0,
)

if __name__ == "__main__":
    from mas_ray.cli.tables import show

    raise SystemExit(show(JOB))
