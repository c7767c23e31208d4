// DingTalk's official Node SDK for a token, and its HTTP client for an upload, for the simulator tests.
//
// Environment: BOT_API_URL (base URL of the API), BOT_CLIENT_ID, BOT_CLIENT_SECRET, NODE_PATH (where the SDK
// is). Uploads one file and prints the answer as one JSON line.
//
// The SDK has its hosts in constants; see bot.cjs.
"use strict";

console.info = console.error;
console.warn = console.error;

const axios = require("axios");
const FormData = require("form-data");
const { DWClient } = require("dingtalk-stream");

const base = process.env.BOT_API_URL;
axios.interceptors.request.use((config) => {
  config.url = config.url.replace(/^https:\/\/(api|oapi)\.dingtalk\.com/, base);
  return config;
});

const client = new DWClient({
  clientId: process.env.BOT_CLIENT_ID,
  clientSecret: process.env.BOT_CLIENT_SECRET,
});

(async () => {
  const token = await client.getAccessToken();
  const form = new FormData();
  form.append("media", Buffer.alloc(300_000, 7), { filename: "报告.pdf", contentType: "application/pdf" });
  const url = `https://oapi.dingtalk.com/media/upload?access_token=${token}&type=file`;
  const answer = await axios.post(url, form, { headers: form.getHeaders() });
  process.stdout.write(JSON.stringify({ kind: "media", answer: answer.data }) + "\n");
})();
