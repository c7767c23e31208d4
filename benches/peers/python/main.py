"""DingTalk's official Python SDK with nats-py doing the bridge's job in the simplest way: publish with a message id,
wait for the PubAck, answer."""

import asyncio
import json
import os

import dingtalk_stream
import nats

dingtalk_stream.DingTalkStreamClient.OPEN_CONNECTION_API = os.environ["DINGTALK_API"] + "/v1.0/gateway/connections/open"


class Forward(dingtalk_stream.CallbackHandler):
    def __init__(self, broker):
        super().__init__()
        self.broker = broker

    async def process(self, callback):
        data = callback.data
        await self.broker.publish(
            "dingtalk.inbound.bench.group." + data["conversationId"],
            json.dumps(data).encode(),
            headers={"Nats-Msg-Id": "bench:" + data["msgId"]},
        )
        return dingtalk_stream.AckMessage.STATUS_OK, "OK"


async def main():
    connection = await nats.connect(os.environ["NATS_URL"])
    client = dingtalk_stream.DingTalkStreamClient(dingtalk_stream.Credential("dingbench", "secret"))
    forward = Forward(connection.jetstream())
    client.register_callback_handler(dingtalk_stream.chatbot.ChatbotMessage.TOPIC, forward)
    await client.start()


asyncio.run(main())
