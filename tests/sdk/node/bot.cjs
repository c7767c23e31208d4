// DingTalk's official Node SDK as a bot, for the simulator tests.
//
// Environment: BOT_API_URL (base URL of the API), BOT_CLIENT_ID, BOT_CLIENT_SECRET,
// BOT_IGNORE (how many messages are left without an ack first), NODE_PATH (where the SDK is).
// Prints one JSON line per message and event; the SDK's own log goes to stderr.
//
// The SDK has its hosts in constants, so the requests of its HTTP client (axios, which it shares
// with this program) are sent elsewhere by an interceptor; its code stays as published.
"use strict";

console.info = console.error;
console.warn = console.error;

const axios = require("axios");
const { DWClient, TOPIC_ROBOT, EventAck } = require("dingtalk-stream");

const base = process.env.BOT_API_URL;
axios.interceptors.request.use((config) => {
  config.url = config.url.replace(/^https:\/\/(api|oapi)\.dingtalk\.com/, base);
  return config;
});

const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");
let ignore = Number(process.env.BOT_IGNORE ?? 0);

const client = new DWClient({
  clientId: process.env.BOT_CLIENT_ID,
  clientSecret: process.env.BOT_CLIENT_SECRET,
});

client.registerCallbackListener(TOPIC_ROBOT, async (frame) => {
  const message = JSON.parse(frame.data);
  const ignored = ignore > 0;
  tell({
    kind: "message",
    msg_id: message.msgId,
    frame: frame.headers.messageId,
    chat: message.conversationId,
    sender: message.senderStaffId,
    text: message.text?.content,
    acked: !ignored,
  });
  if (ignored) {
    ignore -= 1;
    return;
  }
  client.socketCallBackResponse(frame.headers.messageId, { success: true });
  // The SDK has no reply helper; this is the reply of its own example.
  const token = await client.getAccessToken();
  const answer = await axios({
    url: message.sessionWebhook,
    method: "POST",
    responseType: "json",
    data: {
      at: { atUserIds: [message.senderStaffId] },
      text: { content: `echo: ${message.text?.content.trim()}` },
      msgtype: "text",
    },
    headers: { "x-acs-dingtalk-access-token": token },
  });
  tell({ kind: "reply", result: answer.data });
});

client.registerAllEventListener((frame) => {
  tell({ kind: "event", event_id: frame.headers.eventId, event_type: frame.headers.eventType });
  return { status: EventAck.SUCCESS };
});

client.connect();
