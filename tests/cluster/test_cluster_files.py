"""Every file of docker/ and cluster/ is valid and keeps our rules; a mistake in each kind of file is found."""

import copy
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from dataclasses import replace
from functools import partial, reduce
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from cluster_checks import JOB, ROOT, errors, load

from mas_ray import __version__
from mas_ray.config import codec
from mas_ray.pipelines.rayjob import render
from mas_ray.pipelines.submission import RECORD, Record, submission

COMPOSE = "cluster/compose.yaml"
RAYCLUSTER = "cluster/kuberay/raycluster.yaml"
RAYJOB = "mas_ray/pipelines/rayjob.yaml"
POLICIES = "cluster/kuberay/policies.yaml"
AWS = "cluster/launcher/aws.yaml"
DOCKERFILE = "docker/Dockerfile"
SLURM = "cluster/slurm.sh"
FILES = sorted(
    str(path.relative_to(ROOT))
    for folder in ("docker", "cluster")
    for pattern in ("*.yaml", "*.sh", "*Dockerfile")
    for path in (ROOT / folder).rglob(pattern)
)


@pytest.mark.parametrize("name", [*FILES, RAYJOB])
def test_the_file_is_valid_and_keeps_the_rules(name):
    assert errors(name, load(name)) == []


def test_no_file_is_forgotten():
    beside = {"docker/healthcheck.py", "docker/mlflow/basic_auth.ini", "cluster/.env.example"}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "docker", "cluster"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert set(listed) == set(FILES) | beside


def _put(path, value):
    """A change: the value at a path of keys and indices in the first document; ... takes what is there away."""

    def change(documents):
        *way, last = path
        node = reduce(lambda found, key: found[key], way, documents[0])
        if value is ...:
            del node[last]
        else:
            node[last] = value

    return change


def _line(old, new):
    """A change of a text."""

    def change(text):
        assert old in text
        return text.replace(old, new)

    return change


_head = ("spec", "headGroupSpec", "template", "spec")
_head_container = (*_head, "containers", 0)
_train = ("spec", "rayClusterSpec", "workerGroupSpecs", 1)
_ray_start = ("worker_start_ray_commands", 1)
MISTAKES = {
    # Compose
    "a field that is none": (COMPOSE, _put(("services", "head", "prots"), []), "'prots' was unexpected"),
    "a duration without unit": (
        COMPOSE,
        _put(("services", "mlflow", "healthcheck", "interval"), "10"),
        "does not match",
    ),
    "a service that is none": (COMPOSE, _put(("services", "head", "depends_on"), {"db": {}}), "no service db"),
    "a secret that is none": (COMPOSE, _put(("services", "postgres", "secrets"), ["pg"]), "no secret pg"),
    "a port for all": (COMPOSE, _put(("services", "head", "ports", 0), "8265:8265"), "not bound to 127.0.0.1"),
    "a container as root": (COMPOSE, _put(("services", "object-store", "user"), "0:0"), "object-store: runs as root"),
    "the image's user": (COMPOSE, _put(("services", "mlflow", "user"), ...), "mlflow: runs as root"),
    "privileges": (COMPOSE, _put(("services", "worker", "cap_drop"), ...), "worker: has privileges"),
    "no health check": (COMPOSE, _put(("services", "mlflow", "healthcheck"), {"disable": True}), "no health check"),
    "an image of today": (COMPOSE, _put(("services", "postgres", "image"), "postgres:latest"), "not pinned"),
    "an image without tag": (COMPOSE, _put(("services", "postgres", "image"), "postgres"), "not pinned"),
    "no token": (COMPOSE, _put(("services", "worker", "environment", "RAY_AUTH_MODE"), "disabled"), "without token"),
    "no token's file": (COMPOSE, _put(("services", "head", "secrets"), []), "head: Ray runs without token"),
    "a password": (
        COMPOSE,
        _put(("services", "postgres", "environment", "POSTGRES_PASSWORD"), "hunter2"),
        "POSTGRES_PASSWORD is a secret",
    ),
    "a password in an address": (
        COMPOSE,
        _put(("services", "mlflow", "command", 0), "--backend-store-uri=postgresql://mlflow:hunter2@postgres/mlflow"),
        "looks like a secret",
    ),
    # KubeRay
    "a field of no RayCluster": (RAYCLUSTER, _put(("spec", "headGroup"), {}), "'headGroup' was unexpected"),
    "a mode that is none": (RAYCLUSTER, _put(("spec", "authOptions", "mode"), "tokens"), "is not one of"),
    "authentication off": (RAYCLUSTER, _put(("spec", "authOptions", "mode"), "disabled"), "without token"),
    "authentication left out": (RAYCLUSTER, _put(("spec", "authOptions"), ...), "without token"),
    "a number for a parameter": (
        RAYCLUSTER,
        _put(("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        "not of type",
    ),
    "a field of no pod": (RAYCLUSTER, _put((*_head, "tolerates"), []), "'tolerates' was unexpected"),
    "a field of no container": (RAYCLUSTER, _put((*_head_container, "resource"), {}), "'resource' was unexpected"),
    "a pod as root": (RAYCLUSTER, _put((*_head, "securityContext", "runAsNonRoot"), False), "a pod runs as root"),
    "escalation": (RAYCLUSTER, _put((*_head_container, "securityContext"), ...), "ray-head: has privileges"),
    "no limits": (RAYCLUSTER, _put((*_head_container, "resources", "limits"), ...), "names no limits"),
    "an autoscaler with privileges": (
        RAYCLUSTER,
        _put(("spec", "autoscalerOptions", "securityContext"), {}),
        "autoscaler: has privileges",
    ),
    "an unpinned image": (RAYCLUSTER, _put((*_head_container, "image"), "rayproject/ray"), "not pinned"),
    "a secret in a pod": (
        RAYCLUSTER,
        _put((*_head_container, "env", 0), {"name": "AWS_SECRET_ACCESS_KEY", "value": "hunter2"}),
        "AWS_SECRET_ACCESS_KEY is not a reference",
    ),
    "no time to drain": (
        RAYCLUSTER,
        _put(("spec", "workerGroupSpecs", 0, "template", "spec", "terminationGracePeriodSeconds"), 60),
        "no time to drain",
    ),
    "a submission mode that is none": (RAYJOB, _put(("spec", "submissionMode"), "Job"), "is not one of"),
    "a lifetime without shutdown": (RAYJOB, _put(("spec", "shutdownAfterJobFinishes"), False), "True was expected"),
    "too long a name": (RAYJOB, _put(("metadata", "name"), "x" * 48), "is too long"),
    "a submitter as root": (
        RAYJOB,
        _put(("spec", "submitterPodTemplate", "spec", "securityContext"), {}),
        "a pod runs as root",
    ),
    "a job's cluster without token": (RAYJOB, _put(("spec", "rayClusterSpec", "authOptions"), ...), "without token"),
    "a job's worker without bound": (RAYJOB, _put((*_train, "maxReplicas"), ...), "'maxReplicas' is a required"),
    # Kubernetes' own objects
    "a policy for no pods": (POLICIES, _put(("spec", "podSelector"), "mas-ray"), "is not of type"),
    "a policy's type": (POLICIES, _put(("spec", "policyTypes", 0), 1), "is not of type"),
    "a misspelt rule": (POLICIES, _put(("spec", "ingres"), []), "'ingres' was unexpected"),
    "a claim without size": (
        "cluster/kuberay/storage.yaml",
        _put(("spec", "resource"), {}),
        "'resource' was unexpected",
    ),
    "a namespace's spec": ("cluster/kuberay/namespace.yaml", _put(("labels",), {}), "'labels' was unexpected"),
    "a file that is none": ("cluster/kuberay/kustomization.yaml", _put(("resources", 0), "x.yaml"), "no file x.yaml"),
    # Ray's launcher
    "a field of no launcher": (AWS, _put(("max_worker",), 1), "'max_worker' was unexpected"),
    "no provider": (AWS, _put(("provider",), ...), "'provider' is a required property"),
    "a head of no kind": (AWS, _put(("head_node_type",), "hed"), "head_node_type"),
    "nodes without token": (AWS, _put(("file_mounts", "~/.ray/auth_token"), ...), "the token is not sent"),
    "a start without token": (
        AWS,
        _put(_ray_start, "~/venv/bin/ray start --address=$RAY_HEAD_IP:6379"),
        "without token",
    ),
    "a dashboard for all": (
        "cluster/launcher/onprem.yaml",
        _put(("head_start_ray_commands", 1), "RAY_AUTH_MODE=token ray start --head --dashboard-host=0.0.0.0"),
        "the dashboard is not bound",
    ),
    "no head": ("cluster/launcher/onprem.yaml", _put(("provider", "head_ip"), ...), "head_ip"),
    "ssh from everywhere": (
        AWS,
        _put(("provider", "security_group", "IpPermissions", 0, "IpRanges", 0, "CidrIp"), "0.0.0.0/0"),
        "open to everybody",
    ),
    "GPUs in words": (
        "cluster/launcher/gcp.yaml",
        _put(("available_node_types", "train", "resources", "GPU"), "one"),
        "is not of type 'integer'",
    ),
    # Dockerfiles
    "a base of today": (DOCKERFILE, _line("python:3.11.14-slim-bookworm", "python:latest"), "not pinned"),
    "a stage as root": (DOCKERFILE, _line("USER 10001:10001\n\n\n# CUDA", "\n\n# CUDA"), "cpu runs as root"),
    "a file from the network": (DOCKERFILE, _line("COPY jobs jobs", "ADD https://example.com/j jobs"), "expected COPY"),
    "an unpinned package": (DOCKERFILE, _line("RUN pip wheel", "RUN pip install numpy\nRUN pip wheel"), "DL3013"),
    "a secret in a layer": (
        DOCKERFILE,
        _line("RAY_USAGE_STATS_ENABLED=0", f"TOKEN={'0123456789abcdef' * 4}"),
        "secret",
    ),
    "no entry point": (DOCKERFILE, _line("ENTRYPOINT", "# "), "no ENTRYPOINT"),
    "the store as root": (
        "docker/object-store.Dockerfile",
        _line("USER 10001:10001", "USER root"),
        "final runs as root",
    ),
    # Shell scripts
    "an unquoted variable": (SLURM, _line('"$SLURM_JOB_NODELIST"', "$SLURM_JOB_NODELIST"), "SC2086"),
    "on after errors": ("docker/mlflow/serve.sh", _line("set -eu", ""), "goes on after errors"),
    "a syntax error": ("cluster/make-secrets.sh", _line("fi\n", "\n"), "SC1"),
    "a job without token": (SLURM, _line("RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled"), "without token"),
}


@pytest.mark.parametrize(("name", "change", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_found(name, change, said):
    contents = copy.deepcopy(load(name))
    changed = change(contents)
    found = errors(name, contents if changed is None else changed)
    assert any(said in error for error in found), found


def test_every_kind_of_file_has_its_mistakes():
    assert {name for name, _, _ in MISTAKES.values()} >= set(FILES) - {RAYCLUSTER}


def test_a_rendered_job_carries_any_name_of_a_users():
    """A value with all that YAML and shells know arrives as it is, and in the job's record alone."""
    hostile = "a'b\"c: {d} # $e ${name}\n- f"
    (job,) = yaml.safe_load_all(render(submission(replace(JOB, name=hostile))))
    record = yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"][RECORD]
    assert codec.loads(Record, record).job == replace(JOB, name=hostile)
    assert job["spec"]["entrypoint"] == "python -m mas_ray.cli.submitted train"
    assert re.fullmatch(r"train-a-b-c-d-e-name-f-[0-9a-f]{6}", job["metadata"]["name"])


def test_a_jobs_cluster_is_the_cluster():
    (cluster,), (job,) = load(RAYCLUSTER), load(RAYJOB)
    for group in cluster["spec"]["workerGroupSpecs"]:
        group["maxReplicas"] = {"ingest": 1, "train": 8}[group["groupName"]]  # as the job needs them
    assert job["spec"]["rayClusterSpec"] == cluster["spec"]


def test_the_policies_choose_the_pods_of_cluster_and_job():
    network, budget = load(POLICIES)
    (job,) = load(RAYJOB)
    spec = job["spec"]["rayClusterSpec"]
    templates = [spec["headGroupSpec"]["template"], job["spec"]["submitterPodTemplate"]]
    templates += [group["template"] for group in spec["workerGroupSpecs"]]
    for template in templates:
        assert network["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    chosen = [budget["spec"]["selector"]["matchLabels"].items() <= t["metadata"]["labels"].items() for t in templates]
    assert chosen == [True, False, False, False]


def test_versions_are_those_of_the_package():
    text = "".join((ROOT / name).read_text() for name in FILES)
    assert set(re.findall(r"mas-ray:(\d+\.\d+\.\d+)-(?:cpu|gpu|mlflow)", text)) == {__version__}
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))
    assert {d["spec"]["rayVersion"] for d in load(RAYCLUSTER)} == {pins["ray"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = ".".join(re.findall(r"python:(\d+)\.(\d+)", text)[0])
    assert project["requires-python"] == f">={python}"
    assert {"setuptools", "boto3", "psycopg", "psycopg-binary", "Flask-WTF"} <= pins.keys()


def test_the_settings_told_are_the_settings():
    told = re.findall(r"^(\w+)=(.*)$", (ROOT / "cluster/.env.example").read_text(), flags=re.MULTILINE)
    assert dict(told) == dict.fromkeys(re.findall(r"\$\{(\w+):-", (ROOT / COMPOSE).read_text()), "")


def test_what_the_dockerfile_copies_is_sent_to_the_builder():
    ignored = (ROOT / ".dockerignore").read_text().split()
    copied = re.findall(r"^COPY (?:--chmod=\d+ )?(.+) \S+$", (ROOT / DOCKERFILE).read_text(), flags=re.MULTILINE)
    paths = {path for line in copied for path in line.split()}
    assert ignored.index("*") < min(ignored.index(line) for line in ignored if line.startswith("!"))
    assert all((ROOT / path).exists() for path in paths)
    assert [p for p in paths if not any(p == i[1:] or p.startswith(f"{i[1:]}/") for i in ignored if i[0] == "!")] == []


def test_the_programs_in_the_compose_file_compile():
    (compose,) = load(COMPOSE)
    for program in (
        compose["services"]["buckets"]["command"][0],
        compose["services"]["mlflow"]["healthcheck"]["test"][3],
    ):
        compile(program, "compose.yaml", "exec")


def test_secrets_are_made_once(tmp_path):
    folder = tmp_path / "secrets"
    command = ["sh", str(ROOT / "cluster/make-secrets.sh"), str(folder)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    made = {path.name: path.read_text() for path in folder.iterdir()}
    (compose,) = load(COMPOSE)
    assert {f"secrets/{name}" for name in made} == {secret["file"] for secret in compose["secrets"].values()}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
    assert re.fullmatch(r"[0-9a-f]{64}", made["ray_token"])
    assert made["mlflow_admin_password"] in made["mlflow_credentials"]
    (identity,) = json.loads(made["s3_identities"])["identities"][0]["credentials"]
    assert all(key in made["s3_credentials"] for key in identity.values())
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (again.returncode, {path.name: path.read_text() for path in folder.iterdir()}) == (1, made)
    assert "expected no such folder" in again.stderr


class _Agent(BaseHTTPRequestHandler):
    def __init__(self, status, *arguments):
        self.status = status
        super().__init__(*arguments)

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("answer", "arguments", "well"), [(200, [], 0), (503, [], 1), (None, [], 0), (None, ["--node"], 1)]
)
def test_the_health_check(answer, arguments, well):
    code = "import runpy, sys; m = runpy.run_path(sys.argv[1])['main']; sys.exit(m(sys.argv[3:], sys.argv[2]))"
    server = HTTPServer(("127.0.0.1", 0), partial(_Agent, answer))
    url = f"http://127.0.0.1:{server.server_port}/api/healthz"
    if answer is None:
        server.server_close()
    else:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        command = [sys.executable, "-c", code, str(ROOT / "docker/healthcheck.py"), url, *arguments]
        assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == well
    finally:
        if answer is not None:
            server.shutdown()
            server.server_close()


STUBS = {
    "scontrol": 'printf "node1\\nnode2\\nnode3\\n"',
    "hostname": "echo 127.0.0.1 10.0.0.1",
    "srun": 'echo "srun $*" >> "$LOG"; while case $1 in -*) true;; *) false;; esac; do shift; done; exec "$@"',
    "python": "echo ${NODES:-3}",
    "sleep": "exit 0",
    "ray": """echo "ray $* mode=$RAY_AUTH_MODE token=${#RAY_AUTH_TOKEN}" >> "$LOG"
trap 'echo "ended $2" >> "$LOG"; exit 0' TERM
while true; do /bin/sleep 0.05; done""",
    "mas-ray": 'echo "verb $*" >> "$LOG"; exit 3',
}


def _slurm(tmp_path, *arguments, **environment):
    """The script on stand-ins for Slurm, Ray and mas-ray, and what they were called with."""
    for name, body in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"
    log.touch()
    variables = {
        "PATH": f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "LOG": str(log),
        "SLURM_JOB_ID": "1234567",
        "SLURM_JOB_NODELIST": "node[1-3]",
        "SLURM_CPUS_PER_TASK": "8",
    }
    run = subprocess.run(
        ["bash", str(ROOT / SLURM), *arguments],
        env=variables | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return run, log.read_text()


def test_a_slurm_job_runs_its_verb_and_ends_ray(tmp_path):
    run, log = _slurm(tmp_path, "train", "--job", "a b.json")
    assert run.returncode == 3, run.stderr  # the verb's
    assert "verb train --job a b.json\n" in log
    starts = [line for line in log.splitlines() if line.startswith("ray start")]
    assert sorted("--head" in line for line in starts) == [False, True]
    assert all("mode=token token=64" in line for line in starts)
    assert all("10.0.0.1:24567" in line or "--port=24567" in line for line in starts)
    assert "--nodes=2 --ntasks=2 --nodelist=node2,node3" in log
    assert sorted(re.findall(r"ended (\S+)", log)) == ["--address=10.0.0.1:24567", "--head"]
    assert not re.search(r"[0-9a-f]{32}", log)


def test_a_slurm_job_whose_nodes_do_not_join_fails(tmp_path):
    run, log = _slurm(tmp_path, "doctor", NODES="2")
    assert run.returncode == 1
    assert "2 of 3 nodes joined" in run.stderr
    assert "verb" not in log
    assert log.count("ended") == 2


def test_a_slurm_job_without_verb_is_refused(tmp_path):
    run, log = _slurm(tmp_path)
    assert (run.returncode, log) == (2, "")
