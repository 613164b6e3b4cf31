"""A device for the telemetry hub, written from docs/protocol.md alone. Needs Python 3.11 and `websockets`."""
import argparse, contextlib, json, math, os, random, secrets, signal, sys, threading, time
import websockets.sync.client

METRICS = [{"name": "temperature"}, {"name": "led", "kind": "bool"}, {"name": "state", "kind": "text"}]
COMMANDS = [{"name": "set_led", "params": [{"name": "on", "kind": "bool", "required": True}]}]
HELLO = {"type": "hello", "epoch": secrets.token_hex(16), "metrics": METRICS, "commands": COMMANDS}
FINAL_REFUSALS = {"malformed", "too_large", "unknown_metric", "wrong_kind", "bad_time"}
FINAL_ENDS = {400, 401, 403, 404, 405, 426, 4000, 4001, 4003, 4007}  # HTTP statuses and close codes

class Device(threading.Thread):
    batches, refused, answers = {}, set(), {}  # not settled, by seq; refused for good; last answers
    settled, next, resume_at = 0, 1, 0  # the last batch settled; the one to send next, and not before when
    since = 0  # how far back `answers` reaches
    measuring, led, reconnects, obeyed = True, False, -1, 0

    def run(self):
        attempt, code = -1, None
        while code not in FINAL_ENDS and (self.measuring or self.batches):
            ws, steady_at = None, math.inf
            try:
                with websockets.sync.client.connect(args.url + "/v1/device", **options, proxy=None) as ws:
                    ws.send(json.dumps({**HELLO, "device": args.device}))
                    welcome = json.loads(ws.recv(timeout=20))
                    self.since = self.since or welcome["server_time"]
                    steady_at = time.monotonic() + welcome["heartbeat_seconds"]
                    self.handle(ws, {"type": "ack", "seq": welcome["acked_seq"]})
                    self.next, self.resume_at, self.reconnects = self.settled + 1, 0, self.reconnects + 1
                    while self.measuring or self.batches:
                        self.exchange(ws, self.settled + welcome["limits"]["unacked_batches"])
            except (OSError, websockets.WebSocketException) as error:
                refusal = getattr(error, "response", None)  # an answer without a WebSocket: its body says why
                code = refusal.status_code if refusal else ws and ws.close_code
                why = (refusal.body or b"").decode() if refusal else ws and ws.close_reason
                end = "connection ended for good:" if code in FINAL_ENDS else "connection ended:"
                print(end, *[code] if code else [], why or error, file=sys.stderr)
            attempt = 0 if time.monotonic() >= steady_at else min(attempt + 1, 6)
            time.sleep(random.uniform(0, min(20, 0.5 * 2**attempt)))  # full jitter

    def exchange(self, ws, last):
        while self.next in self.batches and self.next <= last and time.monotonic() >= self.resume_at:
            ws.send(json.dumps(self.batches[self.next]))
            self.next += 1
        with contextlib.suppress(TimeoutError):
            self.handle(ws, json.loads(ws.recv(timeout=0.02)))

    def handle(self, ws, m):
        if m["type"] == "ack":
            for self.settled in range(self.settled + 1, m["seq"] + 1):
                del self.batches[self.settled]
        elif m["type"] == "refuse" and m["code"] in FINAL_REFUSALS:
            self.refused.add(m["seq"])  # and kept until an ack: a hub that crashes now will ask for it again
        elif m["type"] == "refuse":
            self.next, self.resume_at = m["seq"], time.monotonic() + m.get("retry_after_ms", 1000) / 1000
        elif m["type"] == "command":
            forgot = m["attempt"] > 1 and m.get("sent_at", 0) < self.since  # perhaps done before we were started
            unknown = {"state": "unresolved", "code": "forgotten"} if forgot else {"state": "rejected"}
            answers = [self.answers.get(m["id"], unknown)]
            if m["name"] == "set_led" and m["id"] not in self.answers and not forgot:
                self.led, self.obeyed = m["args"]["on"], self.obeyed + 1
                answers = [{"state": "received"}, {"state": "running"}, {"state": "succeeded"}]
            self.answers[m["id"]] = answers[-1]
            for answer in answers:
                ws.send(json.dumps({"type": "command_update", "id": m["id"], **answer}))

parser = argparse.ArgumentParser(description=__doc__)
for flag, default in [("url", "ws://127.0.0.1:7878"), ("token-file", ""), ("device", "python-1"),
                      ("rate", 1.0), ("seconds", math.inf)]:
    parser.add_argument("--" + flag, type=type(default), default=default)
args, device, seq, start = parser.parse_args(), Device(daemon=True), 0, time.monotonic()
token = open(args.token_file).read().strip() if args.token_file else os.environ.get("TELEMETRY_TOKEN")
if not token:
    parser.error("no token: --token-file FILE or TELEMETRY_TOKEN; `hub device add ID` makes one")
options = {"subprotocols": ["telemetry.v1.json"], "additional_headers": {"Authorization": "Bearer " + token}}
device.start()
signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C
with contextlib.suppress(KeyboardInterrupt):
    while device.is_alive() and seq < args.rate * args.seconds:
        values = {"temperature": round(random.gauss(20, 0.5), 2), "led": device.led, "state": "idle"}
        points = [{"at": time.time_ns() // 1000, "values": values}]
        seq += 1
        device.batches[seq] = {"type": "readings", "seq": seq, "points": points}
        time.sleep(max(0, start + seq / args.rate - time.monotonic()))
device.measuring = False
device.join(timeout=30)  # what waits is sent and acknowledged
print(json.dumps({"sent": 3 * seq, "acked": 3 * (device.settled - len(device.refused)),
    "refused": 3 * len(device.refused), "reconnects": max(0, device.reconnects), "commands": device.obeyed}))
sys.exit(1 if device.batches else 0)
