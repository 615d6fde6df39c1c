"""What a poll of the page costs its server: processor time of GET /metrics, which all views share.

Usage: cost.py [RANKS...]    (2 and 8)
"""

import os
import pathlib
import sys
import tempfile
import time

from servers import post, read, serve

LOOKS = 500


def seconds(process):
    """Processor time of a process so far, its threads together."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(work, ranks):
    server = serve(work, f"serve-{ranks}", "--ranks", str(ranks))
    try:
        process = server.process.pid
        post(server.url + "/v1/completions", {"prompt": "Once", "max_tokens": 5})
        time.sleep(2)
        before, begun = seconds(process), time.monotonic()
        time.sleep(10)
        idle = (seconds(process) - before) / (time.monotonic() - begun)
        before, begun = seconds(process), time.monotonic()
        for _ in range(LOOKS):
            text = read(server.url + "/metrics")
        used = seconds(process) - before - idle * (time.monotonic() - begun)
        print(f"{ranks} ranks: {1000 * used / LOOKS:.2f} ms of processor time and {len(text)} "
              f"bytes per poll, one a second", flush=True)
    finally:
        server.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for count in [int(word) for word in sys.argv[1:]] or [2, 8]:
            measure(pathlib.Path(temporary), count)
