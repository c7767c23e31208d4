// Answers every message with its own text. Needs @nats-io/transport-node and @nats-io/jetstream;
// the broker's address is NATS_URL.
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const stream = "DINGTALK_INBOUND";
const connection = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });
const manager = await jetstreamManager(connection);
// Durable: it goes on where it stopped. New: the first start does not answer old messages.
await manager.consumers.add(stream, {
  durable_name: "echo",
  filter_subjects: ["dingtalk.inbound.*.group.>", "dingtalk.inbound.*.user.>"],
  ack_policy: AckPolicy.Explicit,
  deliver_policy: DeliverPolicy.New,
});

const broker = jetstream(connection);
const inbound = await broker.consumers.get(stream, "echo");
for await (const message of await inbound.consume()) {
  const said = message.json();
  const text = said.message?.text;
  if (text) {
    // The same id on every redelivery: DingTalk gets the answer once.
    const answer = { id: `echo-${said.id}`, text };
    await broker.publish(said.reply.subject, JSON.stringify(answer));
  }
  message.ack();
}
