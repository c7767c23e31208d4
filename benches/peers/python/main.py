"""DingTalk's official Python SDK with nats-py doing the bridge's job in the simplest way: publish with a message id,
wait for the PubAck, answer."""

import asyncio
import json
import os

import dingtalk_stream
import nats

dingtalk_stream.DingTalkStreamClient.OPEN_CONNECTION_API = os.environ["DINGTALK_API"] + "/v1.0/gateway/connections/open"


class Forward(dingtalk_stream.CallbackHandler):
    jetstream = None

    async def process(self, callback):
        if self.jetstream is None:
            Forward.jetstream = (await nats.connect(os.environ["NATS_URL"])).jetstream()
        data = callback.data
        await self.jetstream.publish(
            "dingtalk.inbound.bench.group." + data["conversationId"],
            json.dumps(data).encode(),
            headers={"Nats-Msg-Id": "bench:" + data["msgId"]},
        )
        return dingtalk_stream.AckMessage.STATUS_OK, "OK"


client = dingtalk_stream.DingTalkStreamClient(dingtalk_stream.Credential("dingbench", "secret"))
client.register_callback_handler(dingtalk_stream.chatbot.ChatbotMessage.TOPIC, Forward())
asyncio.run(client.start())
