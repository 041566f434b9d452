// A server that nobody is to visit: prints "PID PORT", then the first line of whatever comes, which it refuses.
import net from "node:net";

const server = net.createServer((socket) => {
  socket.on("error", () => {});
  socket.once("data", (data) => {
    console.log(String(data).split("\r\n")[0]);
    socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  });
});
server.listen(0, "127.0.0.1", () => console.log(`${process.pid} ${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
