"""A device written from docs/protocol.md alone, chapter 5 above all: takes commands and does them well, badly, slowly or twice
said, cuts its own connection, and is killed at any time. It never does one twice, and never says what is not so.

Usage: worker.py URL TOKEN DEVICE DEEDS [MEMORY]. DEEDS is a file to which it adds what it does; with MEMORY it knows over a
restart what it did.
"""
import asyncio, json, os, random, secrets, sys, time, zlib
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

url, token, device, deeds_path = sys.argv[1:5]
options = {"subprotocols": ["telemetry.v1.json"], "additional_headers": {"Authorization": "Bearer " + token},
           "compression": None, "proxy": None, "open_timeout": 20}
FINAL = {"succeeded", "failed", "rejected", "cancelled", "unresolved"}
append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
deeds = os.open(deeds_path, append, 0o600)


def micros():
    return time.time_ns() // 1000


def note(did, id):
    line = {"at": micros(), "device": device, "command": id, "did": did}
    os.write(deeds, (json.dumps(line) + "\n").encode())


class Memory:
    """The last answer for each command. Stored durably before a command starts, and before its end is told."""

    def __init__(self, path):
        self.answers, self.since, self.file = {}, None, None
        if path:
            lines = open(path).read().split("\n")[:-1] if os.path.exists(path) else []
            for line in map(json.loads, lines):
                if "since" in line:
                    self.since = line["since"]
                else:
                    self.answers[line.pop("id")] = line
            self.file = os.open(path, append, 0o600)
            os.ftruncate(self.file, sum(len(line.encode()) + 1 for line in lines))  # a line that was cut short
            for id, answer in self.answers.items():
                if answer["state"] not in FINAL:
                    self.set(id, state="unresolved", code="interrupted", error="switched off meanwhile")

    def keep(self, line):
        if self.file is not None:
            os.write(self.file, (json.dumps(line) + "\n").encode())
            os.fsync(self.file)

    def begin(self, server_time):
        """The first welcome of all: the memory reaches back to here."""
        if self.since is None:
            self.since = server_time
            self.keep({"since": server_time})

    def reaches(self, message):
        return message.get("sent_at", 0) >= self.since

    def set(self, id, **answer):
        first = id not in self.answers
        self.answers[id] = answer
        if first or answer["state"] in FINAL:
            self.keep({"id": id, **answer})


memory = Memory(sys.argv[5] if len(sys.argv) > 5 else None)
unsaid, something = [], asyncio.Event()  # ids whose last answer is to be sent, in order
work = {}  # what is being done, by id
line = None  # the connection, while there is one
offline_until = 0


def say(id):
    unsaid.append(id)
    something.set()


def answer(id, **answer):
    memory.set(id, **answer)
    say(id)


async def speak(ws):
    while True:
        while unsaid:
            id = unsaid[0]
            await ws.send(json.dumps({"type": "command_update", "id": id, **memory.answers[id]}))
            unsaid.pop(0)  # what was not sent is sent on the next connection
        something.clear()
        await something.wait()


async def do(id, luck):
    """Does a command in one of some ways."""
    global offline_until
    if luck != 2:  # else it says nothing until it is asked again
        answer(id, state="received")
        answer(id, state="running", progress=0)
    note("begun", id)
    seconds = {5: 0.3, 6: 0.4}.get(luck, luck / 1000)
    if luck == 5:  # the connection is gone while it ends
        offline_until = time.monotonic() + 2 * seconds
    if luck in (4, 5) and line:
        line.transport.abort()
    for tenth in range(1, 11):
        await asyncio.sleep(seconds / 10)
        if luck == 6 and tenth < 10:
            answer(id, state="running", progress=tenth / 10)
    if luck == 1:
        note("failed", id)
        end = {"state": "failed", "code": "overload", "error": "the motor drew too much current"}
    else:
        note("done", id)
        end = {"state": "succeeded", "result": {"seconds": seconds}}
    memory.set(id, **end)
    del work[id]
    if luck != 2:
        say(id)
    if luck == 3:
        say(id)


def on_command(m, hub_now):
    id, luck = m["id"], zlib.crc32(m["id"].encode()) % 40
    if id in memory.answers:
        return say(id)
    if m["attempt"] > 1 and not memory.reaches(m):
        return answer(id, state="unresolved", code="forgotten")
    if m["name"] != "work":
        return answer(id, state="rejected", error="no such command")
    if luck == 0:
        return answer(id, state="rejected", code="locked_out", error="not now")
    if hub_now >= m["expires_at"]:
        return answer(id, state="rejected", code="expired", error="too late")
    memory.set(id, state="received")
    work[id] = asyncio.create_task(do(id, luck))


def on_cancel(m):
    id = m["id"]
    if id in work:
        work.pop(id).cancel()
        note("stopped", id)
        answer(id, state="cancelled", error="stopped as asked")
    elif id in memory.answers:
        say(id)
    elif memory.reaches(m):
        answer(id, state="cancelled", code="never_received")
    else:
        answer(id, state="unresolved", code="forgotten")


async def session():
    global line
    async with connect(url + "/v1/device", **options) as ws:
        hello = {"type": "hello", "device": device, "epoch": secrets.token_hex(16), "commands": [{"name": "work"}]}
        await ws.send(json.dumps(hello))
        welcome = json.loads(await asyncio.wait_for(ws.recv(), 20))
        assert welcome["type"] == "welcome", welcome
        memory.begin(welcome["server_time"])
        ahead = welcome["server_time"] - micros()
        line, speaking = ws, asyncio.create_task(speak(ws))
        try:
            async for text in ws:
                m = json.loads(text)
                if m["type"] == "command":
                    on_command(m, micros() + ahead)
                elif m["type"] == "cancel":
                    on_cancel(m)
                elif m["type"] == "error":
                    assert m["code"] == "wrong_state" or m["code"] == "internal", m
        finally:
            line = None
            speaking.cancel()


async def main():
    while True:
        try:
            await session()
        except (OSError, WebSocketException, TimeoutError) as error:
            print("connection ended:", error, file=sys.stderr)
        await asyncio.sleep(max(random.uniform(0, 0.05), offline_until - time.monotonic()))


asyncio.run(main())
