"""Runs a bridge under callgrind, idle and then at work, and writes the linker script of its functions. See scripts/order."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

bridge, server, written = sys.argv[1:]
bridge = os.path.abspath(bridge)
# Bytes of functions that a pattern may bring along although they did not run. Names hold for one compiler and one set of
# features, patterns for all.
IDLERS = 64 << 10
SECRETS = {"DINGTALK_CLIENT_ID": "id", "DINGTALK_CLIENT_SECRET": "made-up"}


def port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, holds):
    for _ in range(600):
        try:
            if holds():
                return
        except OSError:
            pass
        time.sleep(0.2)
    sys.exit(f"waited two minutes in vain: {what}")


def fetched(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=5) as answer:
        return answer.read()


def functions(dump):
    """Mangled names of all functions of the bridge that ran, and some that are no functions."""
    names, objects, ran = {}, {}, set()
    own = called = False
    for line in open(dump, encoding="utf-8"):
        kind, _, rest = line.partition("=")
        if kind in ("ob", "cob"):
            number, _, path = rest.strip().partition(" ")
            path = objects.setdefault(number, path)
            if kind == "ob":
                own = called = path == bridge
            else:
                called = path == bridge
        elif kind in ("fn", "cfn"):
            number, _, name = rest.strip().partition(" ")
            name = names.setdefault(number, name)
            # A call names its object only where it is another one.
            if own if kind == "fn" else called:
                ran.add(name.split("'")[0])
            called = own
    return ran


def sizes():
    """Mangled name and size of every function of the bridge."""
    listed = subprocess.run(["nm", "--print-size", "--defined-only", bridge], capture_output=True, text=True, check=True)
    lines = (line.split() for line in listed.stdout.splitlines())
    return {line[3]: int(line[1], 16) for line in lines if len(line) == 4 and line[2] in "tTwW"}


def pattern(name):
    """A function's name without what differs from compiler to compiler: hashes of crates, types and units."""
    if name.startswith("_ZN"):
        return re.sub(r"17h[0-9a-f]{16}E.*$", "17h*", name)
    return re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", re.sub(r"\.llvm\..*$", "*", name))


def chosen(ran, known):
    """What the linker looks for: patterns, but names where a pattern would bring along much that did not run."""
    alike = {}
    for name, size in known.items():
        alike.setdefault(pattern(name), []).append((name, size))
    found = set()
    for name in ran:
        others = [size for other, size in alike.get(pattern(name), []) if other not in ran]
        found.add(name if sum(others) > IDLERS else pattern(name))
    return found


with tempfile.TemporaryDirectory() as folder:
    broker, api, gateway, admin = port(), port(), port(), port()
    with open(f"{folder}/server.conf", "w", encoding="utf-8") as settings:
        settings.write(f'listen: "127.0.0.1:{broker}"\njetstream {{ store_dir: "{folder}/store" }}\n')
    nats = f"nats://127.0.0.1:{broker}"
    dingtalk = f"http://127.0.0.1:{api}"
    # With all that people commonly set, as each kind of value has functions of its own.
    with open(f"{folder}/bridge.toml", "w", encoding="utf-8") as settings:
        settings.write(f'''# A comment.
[nats]
url = "{nats}"
[dingtalk]
api_url = "{dingtalk}"
oapi_url = "{dingtalk}"
[spool]
dir = "{folder}/spool"
[admin]
listen = "127.0.0.1:{admin}"
[log]
filter = "info"
[accounts.default]
client_id = "id"
client_secret = "made-up"
connections = 2
events = false
''')
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = []
    try:
        started.append(subprocess.Popen([server, "-c", f"{folder}/server.conf"], **quiet))
        started.append(subprocess.Popen([bridge, "sim", "--listen", f"127.0.0.1:{api}", "--gateway-listen", f"127.0.0.1:{gateway}"], **quiet))
        until("the simulated DingTalk", lambda: fetched(f"{dingtalk}/sim/state"))
        started.append(subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={folder}/out", bridge, "run",
             "--config", f"{folder}/bridge.toml"],
            env=os.environ | SECRETS, **quiet))
        traced = started[-1]
        until("the bridge is ready", lambda: fetched(f"http://127.0.0.1:{admin}/ready"))
        time.sleep(20)
        fetched(f"http://127.0.0.1:{admin}/metrics")
        subprocess.run(["callgrind_control", "--dump=idle", str(traced.pid)], check=True, **quiet)
        until("the idle functions", lambda: os.path.exists(f"{folder}/out.1"))
        for at in range(20):
            fetched(f"{dingtalk}/sim/say", {"user": "manager1", "text": f"hello {at}"})
            subprocess.run([bridge, "send", "--nats-url", nats, "default", "user:manager1", f"answer {at}"],
                           check=True, env=os.environ | SECRETS, **quiet)
        traced.send_signal(signal.SIGTERM)
        traced.wait(60)
        dumps = sorted(name for name in os.listdir(folder) if re.fullmatch(r"out(\.\d+)?", name))
        # The first dump holds the way into idleness, the others all that came after.
        idle = functions(f"{folder}/out.1")
        rest = set().union(*(functions(f"{folder}/{name}") for name in dumps if name != "out.1"))
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()

known = sizes()
idle, rest = idle & known.keys(), rest & known.keys()
names = sorted(idle)
rest = chosen(idle | rest, known)
idle = chosen(idle, known) - idle
rest -= idle | set(names)
if len(names) < 1000:
    sys.exit(f"only {len(names)} functions were seen: has {bridge} symbols?")
with open(written, "w", encoding="utf-8") as script:
    script.write("/* Written by scripts/order: what runs until the bridge is idle, then what its work needs besides. */\n")
    script.write("SECTIONS\n{\n")
    # A function goes where it is named first: with the same compiler nothing is left for the patterns.
    for section, wanted in ((".text.idle", names + sorted(idle)), (".text.work", sorted(rest))):
        script.write(f"  {section} :\n  {{\n")
        script.writelines(f"    *(.text*.{name})\n" for name in wanted)
        script.write("  }\n")
    script.write("}\nINSERT BEFORE .text\n")
print(f"{len(names)} functions and {len(idle)} patterns of the idle bridge, {len(rest)} of its work")
