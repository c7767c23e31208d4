"""The card helpers of DingTalk's official Python SDK, for the simulator tests.

Environment: as for bot.py. A message to the bot names the helper that answers it. Prints one JSON line
per card and per press; the SDK's own log goes to stderr.
"""

import asyncio
import copy
import logging
import os

import dingtalk_stream
from dingtalk_stream import AckMessage
from dingtalk_stream.card_callback import Card_Callback_Router_Topic, CardCallbackMessage
from dingtalk_stream.card_instance import AIMarkdownCardInstance
from dingtalk_stream.card_replier import AICardReplier, CardReplier
from dingtalk_stream.interactive_card import INTERACTIVE_CARD_JSON_SAMPLE_1

from bot import tell

CONTENT_TEMPLATE = "8aebdfb9-28f4-4a98-98f5-396c3dde41a0.schema"
# A little more than the time that DingTalk wants between two frames of one card.
FRAME_GAP = 0.6


class Cards(dingtalk_stream.ChatbotHandler):
    async def process(self, callback):
        message = dingtalk_stream.ChatbotMessage.from_dict(callback.data)
        card_id = await getattr(self, message.text.content.strip())(message)
        tell(kind="card", id=card_id)
        return AckMessage.STATUS_OK, "OK"

    async def markdown(self, message):
        card = self.reply_markdown_card("**deployed**", message, title="Deploy", at_sender=True)
        card.update("**deployed** twice")
        return card.card_instance_id

    async def button(self, message):
        buttons = [{"text": "Again", "id": "again", "request": True}]
        card = self.reply_markdown_button(message, "Deploy?", buttons, tips="", title="Deploy")
        return card.card_instance_id

    async def typed(self, message):
        card = self.ai_markdown_card_start(message, title="Answer")
        for part in ["Hello", ", world", "."]:
            card.ai_streaming(part, append=True)
            await asyncio.sleep(FRAME_GAP)
        card.ai_finish(markdown="Hello, world.")
        return card.card_instance_id

    async def failing(self, message):
        card = AIMarkdownCardInstance(self.dingtalk_client, message)
        card.ai_start()
        card.ai_streaming("Hell")
        card.ai_fail()
        return card.card_instance_id

    async def replier(self, message):
        replier = AICardReplier(self.dingtalk_client, message)
        card_id = await replier.async_create_and_deliver_card(
            CONTENT_TEMPLATE, {"content": ""}, at_all=True
        )
        await replier.async_streaming(card_id, "content", "one", False, False, False)
        await asyncio.sleep(FRAME_GAP)
        await replier.async_streaming(card_id, "content", "one two", False, True, False)
        return card_id

    async def broken(self, message):
        replier = AICardReplier(self.dingtalk_client, message)
        card_id = await replier.async_create_and_deliver_card(CONTENT_TEMPLATE, {"content": "x"})
        await replier.async_streaming(card_id, "content", "", False, False, True)
        return card_id

    async def merging(self, message):
        replier = CardReplier(self.dingtalk_client, message)
        card_id = replier.create_and_send_card(CONTENT_TEMPLATE, {"content": "a", "left": "b"})
        options = {"updateCardDataByKey": True}
        await replier.async_put_card_data(card_id, {"content": "c"}, cardUpdateOptions=options)
        return card_id

    async def carousel(self, message):
        card = self.reply_carousel_card(message, "Pick one", [["First", "@image"]], "Pick")
        return card.card_instance_id

    async def plugin(self, message):
        card = self.reply_rpa_plugin_card(
            message,
            plugin_id="p1",
            plugin_version="1.0.0",
            plugin_name="plugin",
            ability_name="run",
            plugin_args={},
            goal="order",
            corp_id="ding",
        )
        return card.card_instance_id

    async def old(self, message):
        data = copy.deepcopy(INTERACTIVE_CARD_JSON_SAMPLE_1)
        data["contents"][0]["text"] = "first"
        card_id = self.reply_card(data, message, at_sender=True)
        data["contents"][0]["text"] = "second"
        tell(kind="update", result=self.update_card(card_id, data))
        return card_id


class Presses(dingtalk_stream.CallbackHandler):
    async def process(self, callback):
        press = CardCallbackMessage.from_dict(callback.data)
        tell(kind="press", id=press.card_instance_id, user=press.user_id, content=press.content)
        return AckMessage.STATUS_OK, {
            "cardUpdateOptions": {"updateCardDataByKey": True, "updatePrivateDataByKey": True},
            "cardData": {"cardParamMap": {"tips": "pressed"}},
            "userPrivateData": {"cardParamMap": {"mine": "true"}},
        }


def main():
    logging.basicConfig(level=logging.INFO)
    credential = dingtalk_stream.Credential(
        os.environ["BOT_CLIENT_ID"], os.environ["BOT_CLIENT_SECRET"]
    )
    client = dingtalk_stream.DingTalkStreamClient(credential, logging.getLogger("cards"))
    client.register_callback_handler(dingtalk_stream.ChatbotMessage.TOPIC, Cards())
    client.register_callback_handler(Card_Callback_Router_Topic, Presses())
    client.start_forever()


if __name__ == "__main__":
    main()
