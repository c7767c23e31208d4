"""Answers every message with its own text. Needs nats-py; the broker's address is NATS_URL."""

import asyncio
import json
import os

import nats
from nats.js.api import ConsumerConfig, DeliverPolicy

STREAM = "DINGTALK_INBOUND"
CHATS = ["dingtalk.inbound.*.group.>", "dingtalk.inbound.*.user.>"]


async def main():
    connection = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    broker = connection.jetstream()
    # Durable: it goes on where it stopped. New: the first start does not answer old messages.
    wanted = ConsumerConfig(
        durable_name="echo", filter_subjects=CHATS, deliver_policy=DeliverPolicy.NEW
    )
    await broker.add_consumer(STREAM, wanted)
    inbound = await broker.pull_subscribe_bind("echo", STREAM)
    while True:
        try:
            [message] = await inbound.fetch(1, timeout=30)
        except nats.errors.TimeoutError:
            continue
        said = json.loads(message.data)
        if text := said.get("message", {}).get("text"):
            # The same id on every redelivery: DingTalk gets the answer once.
            answer = {"id": f"echo-{said['id']}", "text": text}
            await broker.publish(said["reply"]["subject"], json.dumps(answer).encode())
        await message.ack()


asyncio.run(main())
