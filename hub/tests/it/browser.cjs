// A browser that we did not write: serves twelve.html from two origins, opens it in headless Chromium, and passes on what the
// page says.
//
// Usage: node browser.cjs CHROMIUM FOLDER URL TOKEN NEXT_TOKEN OPERATOR_TOKEN DEVICE. FOLDER is for what Chromium writes. The page
// is http://dash.example, which the hub must name among its origins; http://evil.example is another that it must not. Both names
// lead to this program, inside Chromium alone. Prints a line of JSON for each step, as the page says it; ends when it is done.
"use strict";
const { spawn } = require("node:child_process");
const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");
const { join } = require("node:path");

const [chromium, folder, url, token, nextToken, operatorToken, device] = process.argv.slice(2);
const pages = { "dash.example": "twelve.html", "evil.example": "evil.html" };

const server = createServer((request, response) => {
  const page = pages[request.headers.host];
  if (request.method === "GET" && request.url === "/" && page) {
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    return response.end(readFileSync(join(__dirname, page)));
  }
  if (request.method === "GET" && request.url === "/settings") {
    return response.end(JSON.stringify({ url, token, nextToken, operatorToken, device }));
  }
  if (request.method === "POST" && request.url === "/said") {
    let text = "";
    request.on("data", (part) => (text += part));
    return request.on("end", () => {
      response.end();
      const said = JSON.parse(text);
      if (said.problem) end(1, said.problem);
      else if (said.done) end(0);
      else console.log(text);
    });
  }
  response.statusCode = 404;
  response.end();
});

let browser;
function end(code, problem) {
  if (problem) console.error(problem);
  if (!browser?.pid) process.exit(code);
  browser.removeAllListeners("exit").on("exit", () => process.exit(code)).kill();
  setTimeout(() => browser.kill("SIGKILL"), 3_000);
}

server.listen(0, "127.0.0.1", () => {
  const here = `127.0.0.1:${server.address().port}`;
  const flags = [
    "--no-sandbox", // it may run as root, and opens our own pages only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-proxy-server",
    "--remote-debugging-pipe", // it ends when this program does
    `--user-data-dir=${folder}`,
    `--host-resolver-rules=MAP dash.example ${here}, MAP evil.example ${here}`,
    "http://dash.example/",
  ];
  browser = spawn(chromium, flags, { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] });
  let log = "";
  browser.stderr.on("data", (part) => (log += part));
  browser.on("exit", (code, signal) => end(1, `the browser ended: ${code ?? signal}: ${log}`));
  browser.on("error", (error) => end(1, `no browser: ${error.message}`));
});
