// Twelve steps of a client on Node's `ws`, written from docs/protocol.md alone: connect, authenticate, publish, ack, subscribe,
// receive a command, ping, large frame, bad frame, revoke, close, resume.
//
// Usage: node twelve.cjs URL TOKEN NEXT_TOKEN OPERATOR_TOKEN DEVICE. TOKEN and NEXT_TOKEN are both the device's. Prints a line of
// JSON for each step; after {"wants": "revocation"} whoever started it revokes TOKEN.
"use strict";
const assert = require("node:assert/strict");
const WebSocket = require("ws");

const [url, token, nextToken, operatorToken, device] = process.argv.slice(2);
const START = 1_767_225_600_000_000;
const EPOCH = `js-${Date.now().toString(16)}`;
const COMMANDS = [{ name: "set_led", params: [{ name: "on", kind: "bool", required: true }] }];
let readings = 0;

// A connection whose messages are taken one by one.
class Line {
  constructor(path, token) {
    this.waiting = [];
    this.heard = [];
    this.socket = new WebSocket(url + path, ["telemetry.v1.json"], {
      headers: { Authorization: `Bearer ${token}` },
      perMessageDeflate: true, // offered, and declined by the hub
      maxPayload: 4 << 20,
    });
    this.socket.on("message", (data, binary) => this.put(binary ? { type: "binary" } : JSON.parse(data)));
    this.socket.on("close", (code, reason) => this.put({ type: "closed", code, reason: reason.toString() }));
    this.socket.on("pong", (payload) => this.put({ type: "pong", payload: payload.toString() }));
    this.opened = new Promise((resolve, reject) => {
      this.socket.on("open", () => resolve(this));
      this.socket.on("unexpected-response", (request, response) => {
        let body = "";
        response.on("data", (part) => (body += part));
        response.on("end", () => reject({ status: response.statusCode, body: JSON.parse(body) }));
      });
      this.socket.on("error", (error) => reject(error));
    });
  }

  put(message) {
    const taker = this.waiting.shift();
    if (taker) taker(message);
    else this.heard.push(message);
  }

  next() {
    if (this.heard.length) return Promise.resolve(this.heard.shift());
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("nothing was heard for 20 s")), 20_000);
      this.waiting.push((message) => {
        clearTimeout(late);
        resolve(message);
      });
    });
  }

  // The next message of this type; others but errors are passed over.
  async hear(kind) {
    for (;;) {
      const message = await this.next();
      if (message.type === kind) return message;
      assert(!["error", "refuse", "closed", "binary"].includes(message.type), JSON.stringify(message));
    }
  }

  async closed() {
    for (;;) {
      const message = await this.next();
      if (message.type === "closed") return message.code;
    }
  }

  say(message) {
    this.socket.send(JSON.stringify(message));
  }

  batch(seq, count = 1) {
    const at = START + seq * 10_000_000;
    const points = Array.from({ length: count }, (_, n) => ({ at: at + n, values: { count: seq * 10_000 + n } }));
    this.say({ type: "readings", seq, points });
    readings += count;
  }

  async acked(seq) {
    for (let last = 0; last < seq; ) {
      const ack = await this.hear("ack");
      assert(ack.seq >= last && ack.seq <= seq, JSON.stringify(ack));
      last = ack.seq;
    }
  }
}

const open = (path, token) => new Line(path, token).opened;
const step = (number, name, more = {}) => console.log(JSON.stringify({ step: number, name, ...more }));

async function refused(token) {
  const refusal = await open("/v1/device", token).then(
    () => assert.fail("a wrong token was let in"),
    (refusal) => refusal,
  );
  assert.equal(refusal.status, 401);
  assert.equal(typeof refusal.body.error, "string");
}

async function hello(line, epoch = EPOCH) {
  line.say({ type: "hello", device, epoch, metrics: [{ name: "count" }], commands: COMMANDS });
  return line.hear("welcome");
}

async function welcomed(token, epoch = EPOCH) {
  const line = await open("/v1/device", token);
  return [line, await hello(line, epoch)];
}

async function operator() {
  const line = await open("/v1/viewer", operatorToken);
  assert.equal((await line.hear("welcome")).role, "operator");
  let devices = [];
  for (let more = true; more; ) {
    const part = await line.hear("devices");
    assert(part.snapshot);
    devices = devices.concat(part.devices);
    more = part.more ?? false;
  }
  const ours = devices.find((one) => one.id === device);
  return [line, ours.metrics.find((metric) => metric.name === "count").series];
}

async function main() {
  await refused("device_" + "0".repeat(64));
  let ws = await open("/v1/device", token);
  step(1, "connect");

  assert.equal(ws.socket.protocol, "telemetry.v1.json");
  assert.equal(ws.socket.extensions, "");
  let welcome = await hello(ws);
  assert.equal(welcome.acked_seq, 0);
  step(2, "authenticate");

  for (let seq = 1; seq <= 100; seq++) ws.batch(seq, 10);
  step(3, "publish", { readings });
  await ws.acked(100);
  step(4, "ack");

  let [viewer, series] = await operator();
  viewer.say({ type: "subscribe", id: 1, select: { devices: [device] }, max_hz: 60 });
  const subscribed = await viewer.hear("subscribed");
  assert.equal(subscribed.series, 1);
  assert.equal(subscribed.resumed, false);
  const snapshot = await viewer.hear("readings");
  assert(snapshot.snapshot);
  assert.deepEqual(snapshot.series[0].points, [[START + 100 * 10_000_000 + 9, 1_000_009]]);
  ws.batch(101);
  await ws.acked(101);
  let live = await viewer.hear("readings");
  assert.deepEqual(live.series, [{ series, points: [[START + 101 * 10_000_000, 1_010_000]] }]);
  step(5, "subscribe");

  viewer.say({ type: "send_command", id: 2, device, name: "set_led", args: { on: true } });
  const command = await ws.hear("command");
  assert.deepEqual([command.name, command.args, command.attempt], ["set_led", { on: true }, 1]);
  for (const answer of [{ state: "received" }, { state: "running" }, { state: "succeeded", result: { led: true } }]) {
    ws.say({ type: "command_update", id: command.id, ...answer });
  }
  let said;
  do {
    said = (await viewer.hear("command")).command;
    assert.equal(said.id, command.id);
  } while (said.state !== "succeeded");
  assert.deepEqual(said.result, { led: true });
  step(6, "command");

  ws.socket.ping("are you there?");
  assert.equal((await ws.hear("pong")).payload, "are you there?");
  // Longer than three of the hub's pings: the library has answered them.
  await new Promise((resolve) => setTimeout(resolve, 4_500));
  ws.batch(102);
  await ws.acked(102);
  step(7, "ping");

  ws.batch(103, 4096);
  await ws.acked(103);
  ws.socket.send(" ".repeat(welcome.limits.message_bytes + 1));
  assert.equal(await ws.closed(), 1009);
  [ws, welcome] = await welcomed(token);
  assert.equal(welcome.acked_seq, 103);
  step(8, "large frame");

  ws.socket.send("this is not JSON");
  const error = await ws.next();
  assert.deepEqual([error.type, error.code], ["error", "malformed"]);
  ws.socket._socket.write(Buffer.from([0x83, 0x80, 0, 0, 0, 0])); // an opcode that RFC 6455 reserves
  assert.equal(await ws.closed(), 1002);
  [ws, welcome] = await welcomed(token);
  step(9, "bad frame");

  console.log(JSON.stringify({ wants: "revocation" }));
  assert.equal(await ws.closed(), 4003);
  await refused(token);
  step(10, "revoke");

  [ws, welcome] = await welcomed(nextToken);
  assert.equal(welcome.acked_seq, 103);
  ws.batch(104);
  await ws.acked(104);
  ws.socket.close(1000, "done");
  assert.equal(await ws.closed(), 1000);
  step(11, "close");

  do {
    live = await viewer.hear("readings");
  } while (live.series.at(-1).points.at(-1)[1] !== 1_040_000);
  viewer.socket.close(1000);
  [ws, welcome] = await welcomed(nextToken);
  assert.equal(welcome.acked_seq, 104);
  ws.batch(104); // again: harmless
  readings -= 1;
  ws.batch(105);
  await ws.acked(105);
  [viewer, series] = await operator();
  viewer.say({ type: "subscribe", id: 1, select: { devices: [device] }, since: live.position });
  assert((await viewer.hear("subscribed")).resumed);
  const missed = await viewer.hear("readings");
  assert.deepEqual(missed.series, [{ series, points: [[START + 105 * 10_000_000, 1_050_000]] }]);
  const [other, again] = await welcomed(nextToken, EPOCH + "-2");
  assert.equal(again.acked_seq, 0);
  assert.equal(await ws.closed(), 4000, "the newer connection wins");
  other.socket.close(1000);
  viewer.socket.close(1000);
  step(12, "resume", { readings });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
