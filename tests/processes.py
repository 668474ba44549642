"""Code that needs a process of its own, in several that share the time to load torch."""

import json
import subprocess
import sys

#: torch is loaded, nothing of infomax is; each code runs in a fork.
START = """
import json, os, sys, traceback
import numpy, scipy.integrate, scipy.stats, torch
assert not any(name.startswith("infomax") for name in sys.modules)
printed = {}
for name, code in json.loads(sys.stdin.read()).items():
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        sys.stdout = os.fdopen(writing, "w")
        status = 0
        try:
            exec(code, {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        printed[name] = pipe.read()
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{name} failed")
print(json.dumps(printed))
"""


def printed_by(codes):
    """What each of several named codes prints, each in a process in which nothing of infomax is loaded."""
    done = subprocess.run(
        [sys.executable, "-c", START], input=json.dumps(codes), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
