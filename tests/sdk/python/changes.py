"""Carries out changes for a suite in another language: one command a line on stdin, one answer a line on stdout.

The argument names the SDK: `stream-chat` (unversioned paths) or `getstream` (`/api/v2`).
"""

import json
import os
import sys

URL = os.environ["PRESENCECTL_MOCK_URL"]
KEY = os.environ["PRESENCECTL_MOCK_API_KEY"]
SECRET = os.environ["PRESENCECTL_MOCK_SECRET"]


class StreamChatCommands:
    def __init__(self):
        from stream_chat import StreamChat

        self.client = StreamChat(KEY, SECRET, base_url=URL)

    def create(self, *ids):
        self.client.upsert_users([{"id": user_id} for user_id in ids])

    def channel(self, channel_id, *members):
        channel = self.client.channel("messaging", channel_id, {"members": list(members)})
        channel.create(members[0])

    def remove_member(self, channel_id, member):
        self.client.channel("messaging", channel_id).remove_members([member])

    def online(self, user_id):
        return self.client.query_users({"id": user_id})["users"][0]["online"]

    def set(self, user_id, field, value):
        self.client.update_user_partial({"id": user_id, "set": {field: value}})

    def deactivate(self, user_id):
        self.client.deactivate_user(user_id)


class GetStreamCommands:
    def __init__(self):
        from getstream import Stream, models

        self.client = Stream(api_key=KEY, api_secret=SECRET, base_url=URL)
        self.models = models

    def create(self, *ids):
        self.client.update_users(users={user_id: self.models.UserRequest(id=user_id) for user_id in ids})

    def channel(self, channel_id, *members):
        requests = [self.models.ChannelMemberRequest(user_id=member) for member in members]
        data = self.models.ChannelInput(created_by_id=members[0], members=requests)
        self.client.chat.channel("messaging", channel_id).get_or_create(data=data)

    def remove_member(self, channel_id, member):
        self.client.chat.channel("messaging", channel_id).update(remove_members=[member])

    def online(self, user_id):
        payload = self.models.QueryUsersPayload(filter_conditions={"id": user_id})
        return self.client.query_users(payload).data.users[0].online

    def set(self, user_id, field, value):
        update = self.models.UpdateUserPartialRequest(id=user_id, set={field: value}, unset=[])
        self.client.update_users_partial(users=[update])

    def deactivate(self, user_id):
        self.client.deactivate_user(user_id)


def main():
    commands = {"stream-chat": StreamChatCommands, "getstream": GetStreamCommands}[sys.argv[1]]()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(getattr(commands, name)(*arguments)), flush=True)


main()
