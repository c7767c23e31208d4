"""DingTalk's official Python SDK as a bot, for the simulator tests.

Environment: DINGTALK_OPENAPI_ENDPOINT (base URL of the API; the SDK itself reads it),
BOT_CLIENT_ID, BOT_CLIENT_SECRET, BOT_IGNORE (how many messages are left without an ack first).
Prints one JSON line per message and event; the SDK's own log goes to stderr.
"""

import json
import logging
import os

import dingtalk_stream
from dingtalk_stream import AckMessage


def tell(**line):
    print(json.dumps(line, ensure_ascii=False), flush=True)


class Bot(dingtalk_stream.ChatbotHandler):
    def __init__(self, ignore):
        super().__init__()
        self.ignore = ignore

    async def raw_process(self, callback):
        message = dingtalk_stream.ChatbotMessage.from_dict(callback.data)
        ignored = self.ignore > 0
        tell(
            kind="message",
            msg_id=message.message_id,
            frame=callback.headers.message_id,
            chat=message.conversation_id,
            sender=message.sender_staff_id,
            text="".join(self.extract_text_from_incoming_message(message) or []),
            acked=not ignored,
        )
        if ignored:
            self.ignore -= 1
            return None
        return await super().raw_process(callback)

    async def process(self, callback):
        message = dingtalk_stream.ChatbotMessage.from_dict(callback.data)
        text = message.text.content.strip()
        tell(kind="reply", result=self.reply_text(f"echo: {text}", message))
        return AckMessage.STATUS_OK, "OK"


class Events(dingtalk_stream.EventHandler):
    async def process(self, event):
        tell(kind="event", event_id=event.headers.event_id, event_type=event.headers.event_type)
        return AckMessage.STATUS_OK, "OK"


def main():
    logging.basicConfig(level=logging.INFO)
    credential = dingtalk_stream.Credential(
        os.environ["BOT_CLIENT_ID"], os.environ["BOT_CLIENT_SECRET"]
    )
    client = dingtalk_stream.DingTalkStreamClient(credential, logging.getLogger("bot"))
    bot = Bot(int(os.environ.get("BOT_IGNORE", "0")))
    client.register_callback_handler(dingtalk_stream.ChatbotMessage.TOPIC, bot)
    client.register_all_event_handler(Events())
    client.start_forever()


if __name__ == "__main__":
    main()
