// Attacks by name, as in ../python/attacks: what was got, or what kept it from being got.
"use strict";
const fs = require("fs");
const http = require("http");
const net = require("net");
const dgram = require("dgram");
const os = require("os");
const path = require("path");
const { execFileSync } = require("child_process");

class Denied extends Error {}
const read = (file) => fs.readFileSync(file).toString();
const temporary = (name) => path.join(os.tmpdir(), name);
const SECONDS = 2;

/** What somebody at a socket answers. */
function asked(options, request = "", until = null) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(options, () => socket.write(request));
    let answer = "";
    socket.setTimeout(SECONDS * 1000, () => socket.destroy(new Denied("no answer")));
    socket.on("data", (piece) => (answer += piece));
    socket.on("error", reject);
    socket.on("close", () => (answer && (!until || answer.includes(until)) ? resolve(answer) : reject(new Denied(`it answered ${answer.slice(0, 80)}`))));
  });
}

const request = (method, where, body = "") =>
  `${method} ${where} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

function inStatus(name, harmless) {
  const line = read("/proc/self/status").split("\n").find((line) => line.startsWith(name));
  if (harmless.test(line)) throw new Denied(line);
  return line;
}

function secondName(make, target) {
  const link = temporary("name");
  fs.rmSync(link, { force: true });
  make(target.secret, link);
  try {
    return read(link);
  } finally {
    fs.unlinkSync(link);
  }
}

const ATTACKS = {
  read_secret: (target) => read(target.secret),
  read_ledger: (target) => read(`${target.data}/ledger.sqlite`).slice(0, 15),
  list_data: (target) => fs.readdirSync(target.data).join(" "),
  read_sibling_tree: (target) => read(`${target.sibling_tree}/model.py`),
  symlink_to_secret: (target) => secondName(fs.symlinkSync, target),
  hard_link_to_secret: (target) => secondName(fs.linkSync, target),
  victim_environ: (target) => read(`/proc/${target.victim}/environ`).replaceAll("\0", " "),
  victim_cmdline: (target) => read(`/proc/${target.victim}/cmdline`).replaceAll("\0", " "),
  victim_root: (target) => read(`/proc/${target.victim}/root${target.secret}`),
  list_processes(target) {
    if (!fs.readdirSync("/proc").includes(String(target.victim))) throw new Denied("it is not seen");
    return "it is seen";
  },
  shared_memory_file: (target) => read(target.shared_file),
  temporary_of_others: (target) => read(target.tmp_file),
  write_outside: (target) => fs.writeFileSync(`${target.outside}/made`, "hostile"),
  remove_outside: (target) => fs.unlinkSync(`${target.outside}/removed`),
  chmod_outside: (target) => fs.chmodSync(`${target.outside}/mode`, 0o777),
  own_tree_write(target) {
    const before = fs.statSync("model.js");
    fs.chmodSync("model.js", 0o644);
    try {
      fs.appendFileSync("model.js", "\n");
      fs.truncateSync("model.js", before.size);
    } finally {
      fs.chmodSync("model.js", before.mode & 0o7777);
      fs.utimesSync("model.js", before.atime, before.mtime);
    }
  },
  signal_zero: (target) => process.kill(target.victim, 0),
  signal_stop: (target) => process.kill(target.victim, "SIGSTOP"),
  signal_kill: (target) => process.kill(target.victim, "SIGKILL"),
  sibling_socket(target) {
    const tensor = { name: "name", datatype: "BYTES", shape: [1], data: ["SIBLING_SECRET"] };
    const body = JSON.stringify({ inputs: [tensor] });
    return asked({ path: target.sibling_socket }, request("POST", `/v2/models/${target.sibling}/infer`, body), '"outputs"');
  },
  path_socket: (target) => asked({ path: target.path_socket }),
  tcp: (target) => asked({ host: "127.0.0.1", port: target.tcp }),
  tcp_api: (target) => asked({ host: "127.0.0.1", port: target.api }, request("GET", "/healthz"), "HTTP/1.1 200"),
  udp: (target) =>
    new Promise((resolve, reject) => {
      const socket = dgram.createSocket("udp4");
      const fail = (error) => (socket.close(), reject(error));
      const timer = setTimeout(() => fail(new Denied("no answer")), SECONDS * 1000);
      socket.on("error", fail);
      socket.on("message", (text) => (clearTimeout(timer), socket.close(), resolve(text.toString())));
      socket.send("x", target.udp, "127.0.0.1", (error) => error && (clearTimeout(timer), fail(error)));
    }),
  netlink(target) {
    if (!(target.interface in os.networkInterfaces())) throw new Denied("the interface is not among them");
    return target.interface;
  },
  run_program: (target) => execFileSync("/bin/cat", [target.secret], { stdio: ["ignore", "pipe", "pipe"] }).toString(),
  own_capabilities: () => inStatus("CapEff", /\t0+$/),
  new_privileges: () => inStatus("NoNewPrivs", /1$/),
};

async function attempt({ attack, target }) {
  if (!Object.hasOwn(ATTACKS, attack)) return { outcome: "broken", detail: `there is no attack ${attack}` };
  try {
    return { outcome: "possible", detail: String(await ATTACKS[attack](JSON.parse(target))) };
  } catch (error) {
    // What the system says has a code; a program that was refused says so by its status.
    const isRefused = error instanceof Denied || error.syscall || error.status > 0;
    return { outcome: isRefused ? "denied" : "broken", detail: `${error.code ?? error.name}: ${error.message}` };
  }
}

const server = http.createServer(async (incoming, outgoing) => {
  const pieces = [];
  for await (const piece of incoming) pieces.push(piece);
  const { rows } = JSON.parse(Buffer.concat(pieces).toString() || '{"rows": []}');
  const answers = [];
  for (const row of rows) answers.push(await attempt(row));
  const body = Buffer.from(JSON.stringify({ rows: answers }));
  outgoing.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length });
  outgoing.end(body);
});
process.umask(0o077);
server.listen(process.env.DECALOG_SOCKET);
process.on("SIGTERM", () => process.exit(0));
