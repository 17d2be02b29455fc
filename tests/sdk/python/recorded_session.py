"""A whole session of a server, with the same ids and texts in every run. It prints what the server learned, as one line
of JSON, so that a recorded run and a replayed one can be compared."""

import json
import os

from stream_chat import StreamChat

client = StreamChat(
    api_key=os.environ["PRESENCECTL_MOCK_API_KEY"],
    api_secret=os.environ["PRESENCECTL_MOCK_SECRET"],
    base_url=os.environ["PRESENCECTL_MOCK_URL"],
    timeout=20,
)
client.upsert_users(
    [
        {"id": "amy", "name": "Amy Plantedname", "email": "amy.planted@example.com"},
        {"id": "bob", "name": "Bob Plantedname", "note": "planted custom text"},
    ]
)
client.update_user_partial({"id": "bob", "set": {"status": "planted status"}})
channel = client.channel("messaging", "room", {"members": ["amy", "bob"], "name": "The planted room"})
created = channel.create("amy")
sent = channel.send_message({"text": "planted message text"}, "bob")
users = client.query_users({"name": {"$autocomplete": "Bob Plantedname"}}, {"id": 1}, limit=5)["users"]
client.delete_user("bob", hard_delete=True)
print(
    json.dumps(
        {
            "room": created["channel"]["name"],
            "sent": sent["message"]["text"],
            "users": [[user["id"], user["name"], user["status"]] for user in users],
        }
    )
)
