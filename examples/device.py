"""A device for the telemetry hub, written from docs/protocol.md alone. Needs Python 3.11 and `websockets`."""
import argparse, asyncio, json, os, pathlib, random, secrets, signal, sys, time
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus, WebSocketException

METRICS = [{"name": "temperature", "unit": "Cel"}, {"name": "led", "kind": "bool"}, {"name": "state", "kind": "text"}]
COMMANDS = [{"name": "set_led", "params": [{"name": "on", "kind": "bool", "required": True}]}]
FINAL_CLOSES = {1002, 1003, 1007, 1008, 1009, 4000, 4001, 4003, 4007}  # do not connect again by oneself
FINAL_REFUSALS = {"malformed", "too_large", "unknown_metric", "wrong_kind", "bad_time"}

class Device:
    seq, settled, expected = 0, 0, 1  # the newest batch; the last settled one; the one that the hub takes next
    measuring, led, window, paused_until, attempt = True, False, 0, 0, 0

    def __init__(self):
        self.batches, self.answers = {}, {}  # not settled, by seq; the last answer to each command
        self.counts = {"sent": 0, "acked": 0, "refused": 0, "reconnects": 0, "commands": 0}

    async def measure(self, rate, seconds):
        start = time.monotonic()
        while self.seq < rate * seconds:
            values = {"temperature": round(random.gauss(20, 0.5), 2), "led": self.led, "state": "idle"}
            self.seq += 1
            points = [{"at": time.time_ns() // 1000, "values": values}]
            self.batches[self.seq] = json.dumps({"type": "readings", "seq": self.seq, "points": points})
            self.counts["sent"] += len(METRICS)
            if len(self.batches) > 100_000: del self.batches[min(self.batches)]  # full: the oldest is lost
            await asyncio.sleep(start + self.seq / rate - time.monotonic())

    async def send(self, ws):
        while self.measuring or self.batches:
            if self.expected > min(self.seq, self.settled + self.window) or time.monotonic() < self.paused_until:
                await asyncio.sleep(0.01)
            elif text := self.batches.get(self.expected):
                self.expected += 1
                await ws.send(text)
            elif self.expected > self.settled + 1:  # lost, but not to be skipped while anything is in flight
                await asyncio.sleep(0.01)
            else:
                self.expected = min(self.batches, default=self.seq + 1)
                await ws.send(json.dumps({"type": "skip", "seq": self.expected - 1}))
        await ws.close(1000, "done")

    def settle(self, through):
        for seq in range(self.settled + 1, through + 1): self.drop(seq, "acked")
        self.settled = max(self.settled, through)

    def drop(self, seq, count):
        if self.batches.pop(seq, None): self.counts[count] += len(METRICS)

    async def answer(self, ws, id, state, **more):
        self.answers[id] = json.dumps({"type": "command_update", "id": id, "state": state, **more})
        await ws.send(self.answers[id])

    async def handle(self, ws, m):
        match m["type"]:
            case "welcome":
                self.settle(m["acked_seq"])
                self.settled, self.expected, self.paused_until = m["acked_seq"], m["acked_seq"] + 1, 0
                self.window, self.clock_offset = m["limits"]["unacked_batches"], m["server_time"] / 1e6 - time.time()
            case "ack": self.settle(m["seq"])
            case "refuse" if m["code"] in FINAL_REFUSALS: self.drop(m["seq"], "refused")
            case "refuse":  # go back to this batch, later
                self.expected, self.paused_until = m["seq"], time.monotonic() + m.get("retry_after_ms", 1000) / 1000
            case "command" | "cancel" if m["id"] in self.answers: await ws.send(self.answers[m["id"]])  # not again
            case "cancel": await self.answer(ws, m["id"], "cancelled")
            case "command" if m["name"] != "set_led" or time.time() + self.clock_offset >= m["expires_at"] / 1e6:
                state = "rejected" if m["attempt"] == 1 else "failed"
                await self.answer(ws, m["id"], state, error="not a command of this device, or too late")
            case "command":
                for state in "received", "running": await self.answer(ws, m["id"], state)
                self.led, self.counts["commands"] = m["args"]["on"], self.counts["commands"] + 1
                await self.answer(ws, m["id"], "succeeded", result={"on": self.led})
            case "error": print("the hub says:", m["message"], file=sys.stderr)

    async def session(self, ws, hello):
        await ws.send(json.dumps({"type": "hello", **hello}))
        sender = asyncio.create_task(self.send(ws))
        try:
            async for text in ws: await self.handle(ws, json.loads(text))
        finally: sender.cancel()

    async def run(self, url, token, device):
        hello = {"device": device, "epoch": secrets.token_hex(16), "metrics": METRICS, "commands": COMMANDS}
        headers, attempt = {"Authorization": "Bearer " + token}, 0
        while self.measuring or self.batches:
            self.window, started = 0, time.monotonic()
            try:
                async with connect(url + "/v1/device", subprotocols=["telemetry.v1.json"], additional_headers=headers,
                                   compression=None, proxy=None, max_size=4 << 20) as ws:
                    await self.session(ws, hello)
                ending, final = ws.close_reason, ws.close_code in FINAL_CLOSES
            except ConnectionClosedError as error: ending, final = error, error.rcvd and error.rcvd.code in FINAL_CLOSES
            except InvalidStatus as error: ending, final = error.response.body, error.response.status_code < 500
            except (OSError, WebSocketException) as error: ending, final = error, False
            if self.measuring or self.batches: print("connection ended:", ending, file=sys.stderr)
            if final: return
            if self.measuring or self.batches:
                if self.window and time.monotonic() > started + 10: attempt = 0  # it lasted
                await asyncio.sleep(random.uniform(0, min(30, 0.5 * 2**attempt)))  # full jitter
                attempt, self.counts["reconnects"] = min(attempt + 1, 6), self.counts["reconnects"] + 1

async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for flag, kind, default in [("url", str, "ws://127.0.0.1:7878"), ("token-file", pathlib.Path, None),
                                ("device", str, "python-1"), ("rate", float, 1.0), ("seconds", float, float("inf"))]:
        parser.add_argument("--" + flag, type=kind, default=default)
    args, device, loop = parser.parse_args(), Device(), asyncio.get_running_loop()
    token = args.token_file.read_text().strip() if args.token_file else os.environ["TELEMETRY_TOKEN"]
    measuring = asyncio.create_task(device.measure(args.rate, args.seconds))
    running = asyncio.create_task(device.run(args.url, token, args.device))
    for number in signal.SIGINT, signal.SIGTERM: loop.add_signal_handler(number, measuring.cancel)
    await asyncio.wait([measuring, running], return_when=asyncio.FIRST_COMPLETED)
    device.measuring = False
    await asyncio.wait([running], timeout=30)  # what waits is sent and acknowledged
    print(json.dumps(device.counts))
    sys.exit(1 if device.batches else 0)

asyncio.run(main())
