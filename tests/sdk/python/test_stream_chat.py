"""The PyPI package `stream-chat`, unmodified: the server SDK that speaks the unversioned paths."""

import asyncio
import json
import re
import time
import uuid
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone

import aiohttp
import pytest
from stream_chat import StreamChat, StreamChatAsync
from stream_chat.base.exceptions import StreamAPIException


@pytest.fixture
def client(server):
    return StreamChat(server.api_key, server.secret, base_url=server.url)


@pytest.fixture
def users(client, stage):
    """ann, bob and cid, each with something of its own."""
    client.upsert_users(
        [
            {"id": stage.id("ann"), "name": "Ann", "set": stage.id("set"), "age": 31, "tags": ["red", "green"]},
            {"id": stage.id("bob"), "name": "Bob", "set": stage.id("set"), "age": 45, "role": "admin"},
            {"id": stage.id("cid"), "name": "Cid", "set": stage.id("set"), "age": 27},
        ]
    )
    return stage


@pytest.fixture
def channel(client, users):
    channel = client.channel("messaging", users.id("room"), {"members": users.ids("ann", "bob"), "colour": "green"})
    channel.create(users.id("ann"))
    return channel


def refused(call, status, code):
    with pytest.raises(StreamAPIException) as caught:
        call()
    error = caught.value
    assert error.json_response, error.response_text
    assert (error.status_code, error.error_code) == (status, code), error.error_message
    body = json.loads(error.response_text)
    assert body["StatusCode"] == status
    assert {"duration", "more_info", "details"} <= body.keys()
    return error


def stored(time):
    """A time as the service stores it: with microseconds."""
    return re.sub(r"(\.\d{1,6})\d*Z$", lambda found: found[1].rstrip("0").rstrip(".") + "Z", time)


def member_ids(answer):
    return [member["user_id"] for member in answer["members"]]


def found(answer):
    return [user["id"].split("-")[0] for user in answer["users"]]


# Users


def test_users_are_made_and_answered_by_id(client, stage):
    answer = client.upsert_users([{"id": stage.id("ann"), "name": "Ann"}, {"id": stage.id("bob"), "status": "busy"}])
    assert answer.status_code() == 201
    assert set(answer["users"]) == set(stage.ids("ann", "bob"))
    bob = answer["users"][stage.id("bob")]
    assert bob["status"] == "busy"
    assert bob["role"] == "user"
    assert bob["online"] is False
    assert isinstance(answer["duration"], str)


def test_an_upsert_replaces(client, stage):
    client.upsert_user({"id": stage.id("ann"), "name": "Ann", "colour": "green"})
    client.upsert_user({"id": stage.id("ann"), "mood": "fine"})
    ann = client.query_users({"id": stage.id("ann")})["users"][0]
    assert ann["mood"] == "fine"
    assert "colour" not in ann


def test_a_partial_update_changes_what_it_names(client, users):
    answer = client.update_user_partial(
        {"id": users.id("ann"), "set": {"mood": "fine", "address.town": "Delft"}, "unset": ["tags"]}
    )
    ann = answer["users"][users.id("ann")]
    assert answer.status_code() == 200
    assert (ann["name"], ann["mood"], ann["address"]) == ("Ann", "fine", {"town": "Delft"})
    assert "tags" not in ann


def test_several_partial_updates_at_once(client, users):
    answer = client.update_users_partial(
        [{"id": users.id(name), "set": {"status": f"{name} is out"}} for name in ("ann", "bob")]
    )
    assert [user["status"] for user in answer["users"].values()] == ["ann is out", "bob is out"]


def test_privacy_settings_are_merged_by_a_partial_update(client, users):
    ann = users.id("ann")
    client.upsert_user({"id": ann, "privacy_settings": {"typing_indicators": {"enabled": False}}})
    client.update_user_partial({"id": ann, "set": {"privacy_settings": {"read_receipts": {"enabled": False}}}})
    user = client.query_users({"id": ann})["users"][0]
    assert user["privacy_settings"] == {
        "typing_indicators": {"enabled": False},
        "read_receipts": {"enabled": False},
    }


def test_invisible_is_kept_and_read_back(client, users):
    answer = client.update_user_partial({"id": users.id("ann"), "set": {"invisible": True}})
    assert answer["users"][users.id("ann")]["invisible"] is True
    assert client.query_users({"id": users.id("ann")})["users"][0]["invisible"] is True
    client.update_user_partial({"id": users.id("ann"), "set": {"invisible": False}})
    assert client.query_users({"id": users.id("ann")})["users"][0]["invisible"] is False


def test_users_are_found_by_filters(client, users):
    own = {"set": users.id("set")}
    by_id = {"id": 1}
    assert found(client.query_users(own, by_id)) == ["ann", "bob", "cid"]
    assert found(client.query_users({**own, "age": {"$gt": 30}}, by_id)) == ["ann", "bob"]
    assert found(client.query_users({**own, "role": {"$eq": "admin"}}, by_id)) == ["bob"]
    assert found(client.query_users({**own, "name": {"$autocomplete": "ci"}}, by_id)) == ["cid"]
    assert found(client.query_users({**own, "tags": {"$contains": "red"}}, by_id)) == ["ann"]
    assert found(client.query_users({**own, "id": {"$in": users.ids("ann", "cid")}}, by_id)) == ["ann", "cid"]


def test_users_are_sorted_and_paged(client, users):
    own = {"set": users.id("set")}
    assert found(client.query_users(own, [{"age": -1}])) == ["bob", "ann", "cid"]
    assert found(client.query_users(own, {"field": "id", "direction": -1})) == ["cid", "bob", "ann"]
    assert found(client.query_users(own, {"id": 1}, limit=2, offset=1)) == ["bob", "cid"]


def test_a_user_is_deleted_and_restored(client, users):
    answer = client.delete_user(users.id("ann"))
    assert answer["user"]["id"] == users.id("ann")
    assert client.query_users({"id": users.id("ann")})["users"] == []
    client.restore_users([users.id("ann")])
    assert client.query_users({"id": users.id("ann")})["users"][0]["name"] == "Ann"


def test_a_hard_deleted_user_does_not_return(client, users):
    client.delete_user(users.id("ann"), mark_messages_deleted=True, hard_delete=True)
    assert client.query_users({"id": users.id("ann")})["users"] == []


def test_users_are_deleted_by_a_task(client, users):
    answer = client.delete_users(users.ids("ann", "bob"), "soft", conversations="soft", messages="soft")
    uuid.UUID(answer["task_id"])
    while (task := client.get_task(answer["task_id"]))["status"] != "completed":
        assert task["status"] != "failed"
    assert found(client.query_users({"set": users.id("set")})) == ["cid"]


def test_a_user_is_deactivated_and_reactivated(client, users):
    answer = client.deactivate_user(users.id("ann"))
    assert answer["user"]["id"] == users.id("ann")
    assert answer["user"]["deactivated_at"]
    assert client.query_users({"id": users.id("ann")})["users"] == []
    kept = client.query_users({"id": users.id("ann")}, include_deactivated_users=True)
    assert found(kept) == ["ann"]
    assert client.reactivate_user(users.id("ann"))["user"]["id"] == users.id("ann")
    assert found(client.query_users({"id": users.id("ann")})) == ["ann"]


def test_users_are_deactivated_by_a_task(client, users):
    answer = client.deactivate_users(users.ids("ann", "bob"))
    while (task := client.get_task(answer["task_id"]))["status"] != "completed":
        assert task["status"] != "failed"
    assert found(client.query_users({"set": users.id("set")})) == ["cid"]


def test_a_guest_is_made(client, stage):
    answer = client.set_guest_user({"id": stage.id("gus"), "name": "Gus"})
    assert answer["user"]["role"] == "guest"
    assert stage.id("gus") in answer["user"]["id"]
    assert answer["access_token"].count(".") == 2


def test_a_custom_event_is_sent_to_a_user(client, users):
    answer = client.send_user_custom_event(users.id("ann"), {"type": "hello", "text": "there"})
    assert answer.is_ok()
    refused(lambda: client.send_user_custom_event(users.id("nobody"), {"type": "hello"}), 404, 16)


# Channels and members


def test_a_channel_is_made_with_members(client, users):
    channel = client.channel("messaging", users.id("room"), {"members": users.ids("ann", "bob"), "colour": "green"})
    channel.create(users.id("ann"))
    state = channel.query()
    assert state["channel"]["cid"] == f"messaging:{users.id('room')}"
    assert state["channel"]["created_by"]["id"] == users.id("ann")
    assert state["channel"]["colour"] == "green"
    assert state["channel"]["member_count"] == 2
    assert member_ids(state) == users.ids("ann", "bob")
    assert state["messages"] == []


def test_a_channel_without_an_id_is_decided_by_its_members(client, users):
    one = client.channel("messaging", data={"members": users.ids("ann", "bob")})
    one.create(users.id("ann"))
    other = client.channel("messaging", data={"members": users.ids("bob", "ann")})
    other.create(users.id("ann"))
    assert one.id == other.id
    assert one.id.startswith("!members-")


def test_a_channel_needs_a_creator(client, users):
    channel = client.channel("messaging", users.id("room"))
    refused(channel.query, 400, 4)


def test_members_are_added_and_removed(client, channel, users):
    added = channel.add_members([users.id("cid")])
    assert member_ids(added) == users.ids("ann", "bob", "cid")
    assert added["channel"]["member_count"] == 3
    removed = channel.remove_members([users.id("ann")])
    assert member_ids(removed) == users.ids("bob", "cid")


def test_adding_a_member_again_changes_nothing(client, channel, users):
    assert member_ids(channel.add_members([users.id("bob")])) == users.ids("ann", "bob")


def test_members_are_queried(client, channel, users):
    channel.add_members([users.id("cid")])
    by_age = channel.query_members({}, {"created_at": -1})
    assert [member["user_id"] for member in by_age][0] == users.id("cid")
    one = channel.query_members({"name": "Bob"})
    assert [member["user"]["id"] for member in one] == [users.id("bob")]
    page = channel.query_members({}, {"created_at": 1}, limit=1, offset=1)
    assert [member["user_id"] for member in page] == [users.id("bob")]


def test_moderators_come_and_go(client, channel, users):
    promoted = channel.add_moderators([users.id("bob")])
    bob = next(member for member in promoted["members"] if member["user_id"] == users.id("bob"))
    assert bob["is_moderator"] is True
    demoted = channel.demote_moderators([users.id("bob")])
    bob = next(member for member in demoted["members"] if member["user_id"] == users.id("bob"))
    assert not bob.get("is_moderator")


def test_roles_in_the_channel_are_assigned(client, channel, users):
    answer = channel.assign_roles([{"user_id": users.id("bob"), "channel_role": "channel_moderator"}])
    bob = next(member for member in answer["members"] if member["user_id"] == users.id("bob"))
    assert bob["channel_role"] == "channel_moderator"


def test_an_invitation_is_accepted(client, channel, users):
    channel.invite_members([users.id("cid")])
    answer = channel.accept_invite(users.id("cid"))
    cid = next(member for member in answer["members"] if member["user_id"] == users.id("cid"))
    assert cid["invite_accepted_at"]


def test_an_invitation_is_declined(client, channel, users):
    channel.invite_members([users.id("cid")])
    answer = channel.reject_invite(users.id("cid"))
    cid = next(member for member in answer["members"] if member["user_id"] == users.id("cid"))
    assert cid["invite_rejected_at"]


def test_a_channel_is_updated(client, channel):
    answer = channel.update({"motd": "one apple a day"})
    assert answer["channel"]["motd"] == "one apple a day"
    assert "colour" not in answer["channel"]


def test_a_channel_is_partially_updated(client, channel):
    answer = channel.update_partial({"motd": "one apple a day"}, ["colour"])
    assert answer["channel"]["motd"] == "one apple a day"
    assert "colour" not in answer["channel"]


def test_a_member_is_partially_updated(client, channel, users):
    answer = channel.update_member_partial(users.id("bob"), {"hat": "blue"})
    assert answer["channel_member"]["hat"] == "blue"
    answer = channel.update_member_partial(users.id("bob"), None, ["hat"])
    assert "hat" not in answer["channel_member"]


def test_a_channel_is_hidden_and_shown(client, channel, users):
    filters = {"cid": channel.cid}
    channel.hide(users.id("ann"))
    assert client.query_channels(filters, user_id=users.id("ann"))["channels"] == []
    hidden = client.query_channels({**filters, "hidden": True}, user_id=users.id("ann"))
    assert len(hidden["channels"]) == 1
    channel.show(users.id("ann"))
    assert len(client.query_channels(filters, user_id=users.id("ann"))["channels"]) == 1


def test_channels_are_queried(client, channel, users):
    answer = client.query_channels({"members": {"$in": [users.id("ann")]}}, {"created_at": -1})
    assert [state["channel"]["cid"] for state in answer["channels"]] == [channel.cid]
    assert member_ids(answer["channels"][0]) == users.ids("ann", "bob")


def test_a_custom_event_is_sent_to_a_channel(client, channel, users):
    answer = channel.send_event({"type": "friendship-request"}, users.id("ann"))
    assert answer["event"]["type"] == "friendship-request"
    assert answer["event"]["user"]["id"] == users.id("ann")
    assert answer["event"]["cid"] == channel.cid


def test_a_channel_is_marked_as_read(client, channel, users):
    answer = channel.mark_read(users.id("ann"))
    assert answer["event"]["type"] == "message.read"


def test_a_channel_is_deleted(client, channel):
    answer = channel.delete()
    assert answer["channel"]["cid"] == channel.cid
    assert answer["channel"]["deleted_at"]
    assert client.query_channels({"cid": channel.cid})["channels"] == []


def test_channels_are_deleted_by_a_task(client, channel):
    answer = client.delete_channels([channel.cid], hard_delete=True)
    while (task := client.get_task(answer["task_id"]))["status"] != "completed":
        assert task["status"] != "failed"
    assert client.query_channels({"cid": channel.cid})["channels"] == []


# Tokens, settings, refusals


def test_tokens_are_accepted_where_the_server_checks_them(server, client, users):
    token = client.create_token(users.id("ann"), exp=int(time.time()) + 3600)

    async def connect():
        async with socket(server, users.id("ann"), token) as frames:
            return await anext(frames)

    hello = asyncio.run(connect())
    assert hello["type"] == "health.check"
    assert hello["me"]["id"] == users.id("ann")


def test_expired_tokens_are_refused(server, client, users):
    token = client.create_token(users.id("ann"), exp=int(time.time()) - 3600)

    async def connect():
        async with socket(server, users.id("ann"), token) as frames:
            return await anext(frames)

    refusal = asyncio.run(connect())
    assert refusal["type"] == "connection.error"
    assert refusal["error"]["code"] == 40


def test_revoked_tokens_are_refused(server, client, users):
    now = datetime.now(timezone.utc)
    client.revoke_user_token(users.id("ann"), now - timedelta(hours=1))
    old = client.create_token(users.id("ann"), iat=int((now - timedelta(hours=2)).timestamp()))
    new = client.create_token(users.id("ann"), iat=int((now - timedelta(minutes=1)).timestamp()))

    async def first_frame(token):
        async with socket(server, users.id("ann"), token) as frames:
            return await anext(frames)

    assert asyncio.run(first_frame(old))["type"] == "connection.error"
    assert asyncio.run(first_frame(new))["type"] == "health.check"


def test_the_settings_are_read(client):
    app = client.get_app_settings()["app"]
    assert isinstance(app["name"], str)


def test_rate_limits_are_listed(client):
    answer = client.get_rate_limits(server_side=True, endpoints=["QueryUsers", "UpdateUsers"])
    assert set(answer["server_side"]) == {"QueryUsers", "UpdateUsers"}
    assert set(client.get_rate_limits(web=True)) >= {"web"}


def test_every_answer_carries_the_rate_limit(client):
    limit = client.query_users({}).rate_limit()
    assert limit.limit > 0
    assert 0 <= limit.remaining <= limit.limit


def test_a_wrong_secret_is_refused(server):
    stranger = StreamChat(server.api_key, "a secret that nobody has ever used", base_url=server.url)
    with pytest.raises(StreamAPIException) as caught:
        stranger.query_users({})
    assert caught.value.status_code == 401
    assert caught.value.error_code in (5, 43)


def test_a_wrong_key_is_refused(server):
    stranger = StreamChat("nobodys-key", server.secret, base_url=server.url)
    refused(lambda: stranger.query_users({}), 401, 2)


def test_an_unknown_channel_cannot_be_changed(client, users):
    channel = client.channel("messaging", users.id("nowhere"))
    refused(lambda: channel.update_partial({"a": 1}), 404, 16)


def test_a_bad_filter_is_refused(client):
    error = refused(lambda: client.query_users({"id": {"$in": "x"}}), 400, 4)
    assert error.error_message.startswith('QueryUsers failed with error: "')


def test_reserved_fields_are_refused(client, stage):
    ann = stage.id("ann")
    error = refused(lambda: client.upsert_user({"id": ann, "online": True}), 400, 4)
    assert f"users[{ann}].online is a reserved field" in error.error_message


def test_presence_needs_a_connection(client):
    error = refused(lambda: client.query_users({}, presence=True), 400, 4)
    assert "Watch or Presence requires an active websocket connection" in error.error_message


# The asynchronous client, and what it sees of somebody who is connected


@asynccontextmanager
async def socket(server, user_id, token):
    """A bare WebSocket of a user, since this SDK has none: the frames as they come."""
    params = {
        "api_key": server.api_key,
        "authorization": token,
        "stream-auth-type": "jwt",
        "json": json.dumps({"user_id": user_id, "user_details": {"id": user_id}}),
    }
    async with aiohttp.ClientSession(trust_env=False) as session:
        async with session.ws_connect(f"{server.url}/connect", params=params) as ws:

            async def frames():
                async for message in ws:
                    yield json.loads(message.data)

            yield frames()


def test_the_asynchronous_client_does_the_same(server, stage):
    async def story():
        async with StreamChatAsync(server.api_key, server.secret, base_url=server.url) as client:
            await client.upsert_user({"id": stage.id("ann"), "name": "Ann"})
            answer = await client.query_users({"id": stage.id("ann")})
            assert answer["users"][0]["name"] == "Ann"
            channel = client.channel("messaging", stage.id("room"), {"members": [stage.id("ann")]})
            await channel.create(stage.id("ann"))
            assert [m["user_id"] for m in await channel.query_members({})] == [stage.id("ann")]
            await channel.delete()
            await client.delete_user(stage.id("ann"), hard_delete=True)

    asyncio.run(story())


def test_the_server_sees_who_is_connected(server, stage):
    async def story():
        async with StreamChatAsync(server.api_key, server.secret, base_url=server.url) as client:
            ann = stage.id("ann")
            async with socket(server, ann, client.create_token(ann)) as frames:
                hello = await anext(frames)
                user = (await client.query_users({"id": ann}))["users"][0]
                assert user["online"] is True
                assert user["last_active"] == stored(hello["me"]["last_active"])

                hidden = await client.update_user_partial({"id": ann, "set": {"invisible": True}})
                assert hidden["users"][ann]["invisible"] is True
                user = (await client.query_users({"id": ann}))["users"][0]
                assert (user["online"], user["invisible"]) == (False, True)

                await client.send_user_custom_event(ann, {"type": "hello"})
                async for frame in frames:
                    if frame["type"] == "hello":
                        break

    asyncio.run(story())
