"""Whether the Ray node of this container is well: its raylet, and on the head the control store as well.

python healthcheck.py [--node]

A container without a Ray node (one that runs a single verb) has nothing to check and is well; with ``--node`` it must
have one. The agent answers this question without a token and tells nothing else.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

_URL = "http://127.0.0.1:52365/api/healthz"


def main(arguments: list[str], url: str = _URL) -> int:
    """Exit status 0: well."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        print(error.read().decode(errors="replace"))
        return 1
    except TimeoutError:
        print(f"no answer from {url}")
        return 1
    except urllib.error.URLError as error:
        print(f"no Ray node: {error.reason}")
        return int("--node" in arguments or not isinstance(error.reason, ConnectionRefusedError))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
