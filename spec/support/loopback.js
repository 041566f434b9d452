// Preloaded (node -r) into the local services: every server listens on
// 127.0.0.1, on a port that the kernel chooses (or on the one remembered in
// LOOPBACK_PLAIN), and the ports are appended to the file LOOPBACK_PORTS as
// "plain N" and "tls N" (the server that asked for the port LOOPBACK_TLS).
// A request whose client is killed while it sends does not end the service.
// With LOOPBACK_FOLLOW=1 the service ends with the process that started it,
// should that one be killed.
"use strict";
const fs = require("fs");
const net = require("net");
const env = process.env;

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const kind = env.LOOPBACK_TLS && String(args[0]) === env.LOOPBACK_TLS ? "tls" : "plain";
  const callback = args.find((a) => typeof a === "function");
  const port = Number((kind === "plain" && env.LOOPBACK_PLAIN) || 0);
  this.once("listening", () => {
    if (env.LOOPBACK_PORTS)
      fs.appendFileSync(env.LOOPBACK_PORTS, `${kind} ${this.address().port}\n`);
  });
  return listen.call(this, { host: "127.0.0.1", port }, ...(callback ? [callback] : []));
};

process.on("uncaughtException", (error) => {
  if (error.code === "ECONNRESET") return;
  console.error(error);
  process.exit(1);
});

if (env.LOOPBACK_FOLLOW === "1") {
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.exit(0), 500).unref();
}
