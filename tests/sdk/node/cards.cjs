// DingTalk's official Node SDK answering presses of card buttons, for the simulator tests; it has no
// other card helper.
//
// Environment: as for bot.cjs. Prints one JSON line per press; the SDK's own log goes to stderr.
"use strict";

console.info = console.error;
console.warn = console.error;

const axios = require("axios");
const { DWClient, TOPIC_CARD } = require("dingtalk-stream");

const base = process.env.BOT_API_URL;
axios.interceptors.request.use((config) => {
  config.url = config.url.replace(/^https:\/\/(api|oapi)\.dingtalk\.com/, base);
  return config;
});

const client = new DWClient({
  clientId: process.env.BOT_CLIENT_ID,
  clientSecret: process.env.BOT_CLIENT_SECRET,
});

client.registerCallbackListener(TOPIC_CARD, (frame) => {
  const press = JSON.parse(frame.data);
  const told = {
    kind: "press",
    id: press.outTrackId,
    user: press.userId,
    content: JSON.parse(press.content),
  };
  process.stdout.write(JSON.stringify(told) + "\n");
  client.socketCallBackResponse(frame.headers.messageId, {
    cardUpdateOptions: { updateCardDataByKey: true, updatePrivateDataByKey: true },
    cardData: { cardParamMap: { tips: "pressed" } },
    userPrivateData: { cardParamMap: { mine: "true" } },
  });
});

client.connect();
