"""What a fuzzer should find: `scene.py CONTROL PUBLIC HOLDLINE` places calls, begins activeflows, lets some of them fail,
and writes to stdout a configuration by which Schemathesis asks for what is there as often as for what is not."""

import json
import subprocess
import sys
import urllib.request

control, public, holdline = sys.argv[1:]
HEADERS = {"authorization": "Bearer fuzz", "content-type": "application/json"}
LIVE, ENDED, RUNS, LETTERS = 8, 2, 12, 4


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(control + path, data, HEADERS, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def until(what, look):
    for _ in range(2_000):
        if found := look():
            return found
    sys.exit(f"this did not come to be: {what}")


def calls(state):
    return [call["sid"] for call in ask("GET", f"/v1/calls?page_size=100&state={state}")["result"]]


def letters():
    return [letter["id"] for letter in ask("GET", "/v1/dead-letters?page_size=100")["result"]]


def place(workflow, count):
    return subprocess.Popen([holdline, "call", workflow, "--server", public, "--calls", str(count)], stdout=2, stdin=subprocess.DEVNULL)


assert place("hello", ENDED).wait() == 0
# They end when the server does, if nothing ends them before.
place("line", LIVE)
live = until("live calls", lambda: len(calls("live")) == LIVE and calls("live"))
asleep = [{"type": "sleep", "parameters": {"duration": "10m"}}]
fails = [{"type": "http/request", "parameters": {"url": "http://127.0.0.1:9/"}, "retry": {"attempts": 1}}]
# Nobody listens there, so it is a letter that nobody took.
owes = [{"type": "webhook_send", "parameters": {"uri": "http://127.0.0.1:9/", "data": "{}"}}]
for _ in range(LETTERS):
    ask("POST", "/v1/activeflows", {"actions": owes})
runs = [ask("POST", "/v1/activeflows", {"actions": actions})["id"] for actions in [asleep, fails] * (RUNS // 2)]

found = {
    "calls": live + until("ended calls", lambda: calls("ended")),
    # As they are named; they are there once the call is over.
    "files": [f"{call}-1.wav" for call in live],
    "runs": runs,
    "flows": ["hello", "line"],
    "letters": until("messages and steps that died", lambda: len(letters()) == LETTERS + RUNS // 2 and letters()),
}
where = [
    ("^/v1/calls/", "call", "calls"),
    ("^/v1/calls/", "file", "files"),
    ("^/v1/activeflows/", "id", "runs"),
    ("^/v1/flows/", "id", "flows"),
    ("^/v1/dead-letters/", "id", "letters"),
]
for name, values in found.items():
    print(f"[dictionaries.{name}]\nvalues = {json.dumps(values)}")
for path, parameter, name in where:
    print(f'[[operations]]\ninclude-path-regex = "{path}"')
    print(f'parameters = {{ "path.{parameter}" = {{ dictionary = "{name}", probability = 0.7 }} }}')
