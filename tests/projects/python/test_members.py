"""Members of a channel come and go."""

import json
import subprocess

from conftest import presencectl


def test_online_members_are_found(chat):
    chat.upsert_users([{"id": "amy"}, {"id": "john"}])
    chat.channel("messaging", "team", {"members": ["amy", "john"]}).create("amy")
    presencectl("mock", "user", "john", "connect")
    users = chat.query_users({"id": {"$in": ["amy", "john"]}}, {"id": 1})["users"]
    assert [(user["id"], user["online"]) for user in users] == [("amy", False), ("john", True)]


def test_a_watcher_sees_a_member_go(chat):
    chat.upsert_users([{"id": "amy"}, {"id": "john"}])
    chat.channel("messaging", "team", {"members": ["amy", "john"]}).create("amy")
    presencectl("mock", "user", "john", "connect")
    watch = subprocess.Popen(
        ["presencectl", "watch", "channel", "team", "-n", "1", "-o", "ndjson"], stdout=subprocess.PIPE, text=True
    )
    records = map(json.loads, watch.stdout)
    # The record after the first state: from here on, nothing is missed.
    assert next(record for record in records if record["type"] == "presence.coverage")["subscribed"] == 2
    presencectl("mock", "user", "john", "disconnect")
    event = next(record for record in records if record["type"] == "user.presence.changed")
    assert (event["user"]["id"], event["user"]["online"]) == ("john", False)
    assert watch.wait() == 0
