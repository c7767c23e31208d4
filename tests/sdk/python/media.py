"""The media helpers of DingTalk's official Python SDK, for the simulator tests.

Environment: DINGTALK_OPENAPI_ENDPOINT (base URL of the API; the SDK itself reads it),
BOT_CLIENT_ID, BOT_CLIENT_SECRET. For every message with pictures it lets the SDK fetch and upload them, and
prints one JSON line; the SDK's own log goes to stderr.

The SDK has the host of uploads in a constant, so requests to it are sent elsewhere; its code stays
as published.
"""

import json
import logging
import os

import dingtalk_stream
import requests
from dingtalk_stream import AckMessage

BASE = os.environ["DINGTALK_OPENAPI_ENDPOINT"]
post = requests.post


def redirected(url, **options):
    return post(url.replace("https://oapi.dingtalk.com", BASE), **options)


requests.post = redirected


def tell(**line):
    print(json.dumps(line, ensure_ascii=False), flush=True)


class Pictures(dingtalk_stream.ChatbotHandler):
    async def process(self, callback):
        message = dingtalk_stream.ChatbotMessage.from_dict(callback.data)
        media_ids = self.extract_image_from_incoming_message(message)
        tell(kind="media", msg_id=message.message_id, media_ids=media_ids)
        return AckMessage.STATUS_OK, "OK"


def main():
    logging.basicConfig(level=logging.INFO)
    credential = dingtalk_stream.Credential(
        os.environ["BOT_CLIENT_ID"], os.environ["BOT_CLIENT_SECRET"]
    )
    client = dingtalk_stream.DingTalkStreamClient(credential, logging.getLogger("media"))
    client.register_callback_handler(dingtalk_stream.ChatbotMessage.TOPIC, Pictures())
    client.start_forever()


if __name__ == "__main__":
    main()
