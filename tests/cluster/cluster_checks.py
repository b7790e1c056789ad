"""What is wrong with a file of docker/ or cluster/: what its schema or linter says, and what breaks our own rules."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import ray.autoscaler
import yaml
from jsonschema.protocols import Validator
from ray.autoscaler._private.util import prepare_config, validate_config
from referencing import Registry, Resource

from mas_ray.config.jobs import TrainJob, Workers
from mas_ray.pipelines.rayjob import render
from mas_ray.pipelines.submission import submission

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES = "1.30"  # the oldest that is looked after with KubeRay 1.6
IMAGE = "registry.example.com/mas-ray:0.1.0"
JOB = TrainJob(
    manifest="s3://datasets/d/manifest.json", storage="s3://runs", workers=Workers(num=8, cpus_each=8.0, gpus_each=1.0)
)
_SECRET_NAME = re.compile(r"(password|secret|token|secret_key|access_key|access_key_id)$", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"\b[0-9a-f]{32,}\b|AKIA[0-9A-Z]{16}|-----BEGIN|://[^/\s:@]+:[^/\s:@$]+@"  # keys, and passwords in addresses
)

Document = dict[str, Any]
Contents = str | list[Document]


def load(name: str) -> Contents:
    """The documents of a YAML file, or the text of another one; the template of a job is filled first."""
    text = (ROOT / name).read_text()
    if not name.endswith(".yaml"):
        return text
    return list(yaml.safe_load_all(render(submission(JOB), image=IMAGE) if name.endswith("rayjob.yaml") else text))


def errors(name: str, contents: Contents) -> list[str]:
    """What is wrong with the contents of a file; nothing if they are right."""
    if isinstance(contents, str):
        found = _dockerfile(contents) if name.endswith("Dockerfile") else _shell_script(contents)
        return [*found, *_secret_values(contents)]
    check: Callable[[Document], Iterator[str]] = {
        "compose.yaml": _compose,
        "kuberay": _kubernetes_object,
        "pipelines": _kubernetes_object,
        "launcher": _launcher,
    }[Path(name).name if name.endswith("compose.yaml") else Path(name).parent.name]
    return [error for document in contents for error in (*check(document), *_secrets(document))]


def _compose(document: Document) -> Iterator[str]:
    yield from _by_schema("compose.json", document)
    for name, service in document["services"].items():
        yield from (f"{name}: {breach}" for breach in _service(service, document))


def _service(service: Document, document: Document) -> Iterator[str]:
    for port in service.get("ports", []):
        if not port.startswith("127.0.0.1:"):
            yield f"port {port} is not bound to 127.0.0.1"
    if service.get("user", "0:0").split(":")[0] == "0":
        yield "runs as root"
    if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
        yield "has privileges"
    if not (service.get("healthcheck", {}).get("test") or service.get("restart") == "no"):
        yield "has no health check"
    if "mem_limit" not in service:
        yield "has no limit of memory"
    yield from _image(service["image"])
    mounted = [secret if isinstance(secret, str) else secret["source"] for secret in service.get("secrets", [])]
    used = {
        "services": service.get("depends_on", {}),
        "secrets": mounted,
        "networks": service.get("networks", []),
        "volumes": [volume.split(":")[0] for volume in service.get("volumes", [])],
    }
    for kind, names in used.items():
        yield from (f"no {kind[:-1]} {name}" for name in names if name not in document.get(kind, {}))
    environment = service.get("environment", {})
    if "ray" in service.get("entrypoint", []) and not (
        environment.get("RAY_AUTH_MODE") == "token" and "ray_token" in mounted
    ):
        yield "Ray runs without token authentication"


def _kubernetes_object(document: Document) -> Iterator[str]:
    kind = document["kind"]
    if kind == "Kustomization":
        for name in document["resources"]:
            if not (ROOT / "cluster/kuberay" / name).is_file():
                yield f"no file {name}"
    elif kind in ("RayCluster", "RayJob"):
        yield from _by_schema(f"{kind.lower()}.json", document)
        yield from _ray(document)
    else:
        yield from _by_kubernetes(document)


def _ray(document: Document) -> Iterator[str]:
    spec = document["spec"]
    cluster = spec if document["kind"] == "RayCluster" else spec["rayClusterSpec"]
    if cluster.get("authOptions", {}).get("mode") != "token":
        yield "Ray runs without token authentication"
    templates = [cluster["headGroupSpec"]["template"]]
    templates += [group["template"] for group in cluster["workerGroupSpecs"]]
    if "submitterPodTemplate" in spec:
        templates.append(spec["submitterPodTemplate"])
    for template in templates:
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": template}
        yield from _by_kubernetes(pod)
        yield from _pod(template["spec"])
    yield from _container("autoscaler", cluster["autoscalerOptions"])
    for template in (group["template"] for group in cluster["workerGroupSpecs"]):
        environment = {variable["name"]: variable for variable in template["spec"]["containers"][0]["env"]}
        drain = environment.get("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", {}).get("value", "0")
        if not 0 < int(drain) < template["spec"].get("terminationGracePeriodSeconds", 30):
            yield "a worker has no time to drain"


def _pod(spec: Document) -> Iterator[str]:
    context = spec.get("securityContext", {})
    if not (context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > 0):
        yield "a pod runs as root"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "a pod has no seccomp profile"
    for container in spec["containers"]:
        yield from _container(container["name"], container)
        yield from _image(container["image"])
        for variable in container.get("env", []):
            if _SECRET_NAME.search(variable["name"]) and "value" in variable:
                yield f"{variable['name']} is not a reference to a secret"


def _container(name: str, container: Document) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{name}: has privileges"
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield f"{name}: runs as root"
    resources = container.get("resources", {})
    for bound in ("requests", "limits"):
        if not {"cpu", "memory"} <= resources.get(bound, {}).keys():
            yield f"{name}: names no {bound} of CPU and memory"


def _launcher(document: Document) -> Iterator[str]:
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    found = [_told(error) for error in jsonschema.Draft7Validator(schema).iter_errors(document)]
    yield from found
    if not found:
        try:
            validate_config(prepare_config(copy.deepcopy(document)))
        except (ValueError, click.ClickException) as error:
            yield str(error)
    if "~/.ray/auth_token" not in document.get("file_mounts", {}):
        yield "the token is not sent to the nodes"
    starts = [
        command
        for commands in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in document[commands]
        if "ray start" in command
    ]
    if len(starts) != 2 or not all("RAY_AUTH_MODE=token " in command for command in starts):
        yield "Ray runs without token authentication"
    for command in starts:
        if "--head" in command and "--dashboard-host=127.0.0.1" not in command:
            yield "the dashboard is not bound to 127.0.0.1"
    if "0.0.0.0/0" in json.dumps(document):
        yield "a port is open to everybody"


def _dockerfile(text: str) -> Iterator[str]:
    yield from _linter("hadolint", ["--no-color", "-"], text)
    blocks = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    names = [re.findall(r"^\S+(?: AS (\S+))?$", block.splitlines()[0])[0] or "final" for block in blocks]
    built_upon = {block.split()[0] for block in blocks} | set(re.findall(r"\bfrom=(\w+)", text))
    for name, block in zip(names, blocks, strict=True):
        if block.split()[0] not in names:
            yield from _image(block.split()[0])
        users = re.findall(r"^USER (\S+)$", block, flags=re.MULTILINE) or ["root"]
        if name not in built_upon and not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
            yield f"{name} runs as {users[-1]}; expected the numbers of a user without rights"
    if re.search(r"^ADD\b", text, flags=re.MULTILINE):
        yield "ADD: expected COPY"
    for instruction in ("HEALTHCHECK", "ENTRYPOINT", "LABEL org.opencontainers"):
        if not re.search(rf"^{instruction}", text, flags=re.MULTILINE):
            yield f"no {instruction}"


def _shell_script(text: str) -> Iterator[str]:
    yield from _linter("shellcheck", ["--format=gcc", "-"], text)
    if not re.search(r"^set -eu", text, flags=re.MULTILINE):
        yield "goes on after errors"
    if "ray start" in text and "RAY_AUTH_MODE=token" not in text:
        yield "Ray runs without token authentication"


def _linter(tool: str, arguments: list[str], text: str) -> Iterator[str]:
    """The lines that a linter of the environment prints; its binary comes with a package of the development extra."""
    binary = shutil.which(tool, path=sysconfig.get_path("scripts"))
    assert binary, f"{tool} is not installed beside python: pip install --editable '.[dev]'"
    run = subprocess.run([binary, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False)
    yield from (run.stdout + run.stderr).splitlines()
    assert run.returncode in (0, 1), f"{tool} failed"


def _by_schema(name: str, document: Document) -> Iterator[str]:
    schemas = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    registry = Registry().with_resources((key, Resource.from_contents(schema)) for key, schema in schemas.items())
    validator: Validator = jsonschema.Draft202012Validator(schemas[name], registry=registry)
    yield from (_told(error) for error in validator.iter_errors(document))


def _by_kubernetes(document: Document) -> Iterator[str]:
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield _told(error)


def _told(error: jsonschema.ValidationError) -> str:
    return f"{'.'.join(map(str, error.absolute_path))}: {error.message}"


def _image(image: str) -> Iterator[str]:
    _, _, tag = image.rpartition("/")[2].partition(":")
    if not re.search(r"\d", tag) or "latest" in tag:
        yield f"image {image} is not pinned"


def _secrets(node: Any, name: str = "") -> Iterator[str]:
    """Values under names of secrets that are no path, and values that look like secrets anywhere."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _secrets(value, str(key))
    elif isinstance(node, list):
        for value in node:
            yield from _secrets(value, name)
    elif isinstance(node, str):
        if _SECRET_NAME.search(name) and not re.match(r"[~/]", node) and not node.startswith("secrets/"):
            yield f"{name} is a secret in the file"
        yield from _secret_values(node)


def _secret_values(text: str) -> Iterator[str]:
    yield from (f"{found[0][:12]} looks like a secret" for found in _SECRET_VALUE.finditer(text))
