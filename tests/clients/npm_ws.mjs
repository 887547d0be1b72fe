// A client by npm's `ws`: connects to the URL, says what it is told, tells what it hears.
import { createInterface } from "node:readline";
import WebSocket from "ws";

const tell = (...said) => console.log(JSON.stringify(said));
const client = new WebSocket(process.argv[2], ["chat.example"]);

client.on("open", () => tell("open", client.protocol, client.extensions));
client.on("message", (content, binary) => tell(binary ? "binary" : "text", content.toString(binary ? "hex" : "utf8")));
client.on("pong", content => tell("pong", content.toString()));
client.on("close", (code, reason) => { tell("close", code, reason.toString()); process.exit(); });
client.on("error", error => tell("error", String(error)));

createInterface({ input: process.stdin }).on("line", line => {
  const [what, ...rest] = JSON.parse(line);
  if (what === "binary") client.send(Buffer.from(rest[0], "hex"));
  else if (what === "text") client.send(rest[0]);
  else client[what](...rest);
});
