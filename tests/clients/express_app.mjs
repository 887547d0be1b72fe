// An Express application by the book: @fanoutio/eventstream and @fanoutio/serve-grip, unmodified.
// Whatever does not come from the proxy is refused, so that nothing streams by itself.
import express from "express";
import { EventStream } from "@fanoutio/eventstream";
import { ServeGrip } from "@fanoutio/serve-grip";

const grip = process.env.GRIP_URL;
const app = express();
const prefix = "events-"; // of EventStream, which leaves the holds to the middleware
const serveGrip = new ServeGrip({ grip, gripProxyRequired: true, prefix });
const eventStream = new EventStream({ grip });
const publisher = serveGrip.getPublisher();

app.use(serveGrip);

app.get("/events", eventStream("room"));

app.get("/poll", (req, res) => {
  const instruct = res.grip.startInstruct();
  instruct.addChannel("polls");
  instruct.setHoldLongPoll(20);
  res.end("nothing\n");
});

app.post("/ws", (req, res) => {
  const { wsContext } = req.grip;
  if (wsContext.isOpening()) {
    wsContext.accept();
    wsContext.subscribe(`${prefix}sockets`); // here the middleware adds none
  }
  while (wsContext.canRecv()) {
    const message = wsContext.recv();
    if (message === null) wsContext.close();
    else wsContext.send(`you said ${message}`);
  }
  res.end();
});

app.post("/say", express.text(), async (req, res) => {
  await eventStream.publishEvent("room", { event: "message", data: { text: req.body } });
  await publisher.publishHttpResponse("polls", `${req.body}\n`);
  await publisher.publishFormats("sockets", { name: () => "ws-message", export: () => ({ content: req.body }) });
  res.status(204).end();
});

app.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening"));
