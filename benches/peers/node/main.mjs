// DingTalk's official Node SDK with nats.js doing the bridge's job in the simplest way: publish with a
// message id, wait for the PubAck, answer.
import { createRequire } from "node:module";

const require = createRequire(process.env.SDK_NODE + "/");
const { DWClient, TOPIC_ROBOT } = require("dingtalk-stream");
const axios = require("axios");
const { connect } = require("@nats-io/transport-node");
const { jetstream } = require("@nats-io/jetstream");

// The SDK has one fixed host; its HTTP client is told another one.
axios.interceptors.request.use((request) => {
  request.url = request.url.replace("https://api.dingtalk.com", process.env.DINGTALK_API);
  return request;
});

const broker = jetstream(await connect({ servers: process.env.NATS_URL }));
const client = new DWClient({ clientId: "dingbench", clientSecret: "secret" });
client.registerCallbackListener(TOPIC_ROBOT, async (frame) => {
  const data = JSON.parse(frame.data);
  await broker.publish("dingtalk.inbound.bench.group." + data.conversationId, frame.data, {
    msgID: "bench:" + data.msgId,
  });
  client.socketCallBackResponse(frame.headers.messageId, "OK");
});
await client.connect();
