"""The PyPI package `getstream`, unmodified: the newer server SDK, which speaks `/api/v2` with nested custom data and
times in nanoseconds.

Its models are dataclasses; a field of an answer that the vendor declares as required must be there, in every object
at every depth, or `complete` fails.
"""

import asyncio
import dataclasses
import json
from datetime import datetime, timedelta, timezone
from urllib.request import Request, urlopen

import jwt
import pytest
from getstream import AsyncStream, Stream
from getstream.exceptions import StreamApiException
from getstream.models import (
    ChannelInput,
    ChannelInputRequest,
    ChannelMemberRequest,
    EventRequest,
    PaginationParams,
    QueryMembersPayload,
    QueryUsersPayload,
    SortParamRequest,
    UpdateUserPartialRequest,
    UserRequest,
)


# One for all cases: making one takes longer than most of them.
@pytest.fixture(scope="module")
def client(server):
    return Stream(api_key=server.api_key, api_secret=server.secret, base_url=server.url)


@pytest.fixture
def users(client, stage):
    """ann, bob and cid, each with something of its own."""
    own = {"set": stage.id("set")}
    client.update_users(
        users={
            stage.id("ann"): UserRequest(id=stage.id("ann"), name="Ann", custom={**own, "age": 31, "deep": {"a": 1}}),
            stage.id("bob"): UserRequest(id=stage.id("bob"), name="Bob", role="admin", custom={**own, "age": 45}),
            stage.id("cid"): UserRequest(id=stage.id("cid"), name="Cid", custom={**own, "age": 27}),
        }
    )
    return stage


@pytest.fixture
def channel(client, users):
    channel = client.chat.channel("messaging", users.id("room"))
    channel.get_or_create(
        data=ChannelInput(
            created_by_id=users.id("ann"),
            members=[ChannelMemberRequest(user_id=user_id) for user_id in users.ids("ann", "bob")],
            custom={"colour": "green"},
        )
    )
    return channel


def complete(value, where="answer"):
    """Asserts that every field which the vendor's model requires was in the answer."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            path = f"{where}.{field.name}"
            if inner is None:
                optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
                assert optional, f"{path} is missing"
            complete(inner, path)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            complete(inner, f"{where}[{number}]")
    elif isinstance(value, dict):
        for key, inner in value.items():
            complete(inner, f"{where}[{key!r}]")
    return value


def find(client, filter_conditions, **options):
    payload = QueryUsersPayload(filter_conditions=filter_conditions, **options)
    return complete(client.query_users(payload=payload).data).users


def names(users):
    return [user.id.split("-")[0] for user in users]


def by(field, direction=1):
    return [SortParamRequest(field=field, direction=direction)]


def member_ids(members):
    return [member.user_id for member in members]


def refused(call, status, code):
    with pytest.raises(StreamApiException) as caught:
        call()
    error = caught.value
    assert (error.status_code, error.code) == (status, code), error.message
    assert error.api_error is not None
    assert error.rate_limit_info is not None
    return error


# Users


def test_users_are_made_with_nested_custom_data(client, stage):
    ann = stage.id("ann")
    request = UserRequest(id=ann, name="Ann", custom={"status": "busy", "age": 31})
    answer = client.update_users(users={ann: request})
    user = complete(answer.data).users[ann]
    assert (user.name, user.role, user.online) == ("Ann", "user", False)
    assert user.custom == {"status": "busy", "age": 31}


def test_a_user_made_by_name_is_found(client, stage):
    user = client.create_user(name="Ann", id=stage.id("ann"))
    assert user.name == "Ann"
    assert names(find(client, {"id": stage.id("ann")})) == ["ann"]


def test_times_are_nanoseconds_on_the_wire_and_times_here(client, server, users):
    payload = json.dumps({"filter_conditions": {"id": users.id("ann")}})
    raw = client.get("/api/v2/users", query_params={"payload": payload}).data
    created = raw["users"][0]["created_at"]
    assert isinstance(created, int)
    now = datetime.now(timezone.utc)
    assert abs(datetime.fromtimestamp(created / 1e9, timezone.utc) - now) < timedelta(days=1)
    user = find(client, {"id": users.id("ann")})[0]
    assert abs(user.created_at - now) < timedelta(days=1)


def test_custom_data_is_not_flattened_here_but_is_there(client, server, users):
    """One engine, two dialects: the same user by the other path."""
    user = find(client, {"id": users.id("ann")})[0]
    assert user.custom["age"] == 31
    payload = json.dumps({"filter_conditions": {"id": users.id("ann")}})
    answer = client.get("/users", query_params={"payload": payload})
    flat = answer.data["users"][0]
    assert flat["age"] == 31
    assert "custom" not in flat
    assert isinstance(flat["created_at"], str)


def test_a_partial_update_changes_what_it_names(client, users):
    update = UpdateUserPartialRequest(
        id=users.id("ann"), set={"mood": "fine", "deep.b": 2, "name": "Annie"}, unset=["age"]
    )
    user = complete(client.update_users_partial(users=[update]).data).users[users.id("ann")]
    assert user.name == "Annie"
    assert user.custom["mood"] == "fine"
    assert user.custom["deep"] == {"a": 1, "b": 2}
    assert "age" not in user.custom


def test_an_upsert_replaces(client, users):
    ann = users.id("ann")
    client.update_users(users={ann: UserRequest(id=ann, custom={"mood": "fine"})})
    assert find(client, {"id": ann})[0].custom == {"mood": "fine"}


def test_invisible_is_kept_and_read_back(client, users):
    update = UpdateUserPartialRequest(id=users.id("ann"), set={"invisible": True})
    assert client.update_users_partial(users=[update]).data.users[users.id("ann")].invisible is True
    assert find(client, {"id": users.id("ann")})[0].invisible is True


def test_users_are_found_sorted_and_paged(client, users):
    own = {"set": users.id("set")}
    assert names(find(client, own, sort=by("id"))) == ["ann", "bob", "cid"]
    assert names(find(client, own, sort=by("age", -1))) == ["bob", "ann", "cid"]
    assert names(find(client, own, sort=by("id"), limit=2, offset=1)) == ["bob", "cid"]
    assert names(find(client, {**own, "age": {"$gt": 30}}, sort=by("id"))) == ["ann", "bob"]
    assert names(find(client, {**own, "role": "admin"})) == ["bob"]
    assert names(find(client, {**own, "name": {"$autocomplete": "ci"}})) == ["cid"]
    assert names(find(client, {**own, "$or": [{"age": 27}, {"age": 31}]}, sort=by("id"))) == ["ann", "cid"]


def test_a_user_is_deactivated_and_reactivated(client, users):
    ann = users.id("ann")
    answer = complete(client.deactivate_user(user_id=ann).data)
    assert answer.user.deactivated_at is not None
    assert find(client, {"id": ann}) == []
    assert names(find(client, {"id": ann}, include_deactivated_users=True)) == ["ann"]
    complete(client.reactivate_user(user_id=ann).data)
    assert names(find(client, {"id": ann})) == ["ann"]


def test_users_are_deleted_by_a_task_and_restored(client, users):
    answer = complete(client.delete_users(user_ids=users.ids("ann", "bob"), user="soft").data)
    task = complete(client.wait_for_task(answer.task_id, poll_interval=0).data)
    assert task.status == "completed"
    assert names(find(client, {"set": users.id("set")})) == ["cid"]
    client.restore_users(user_ids=[users.id("ann")])
    assert names(find(client, {"set": users.id("set")}, sort=by("id"))) == ["ann", "cid"]


def test_users_are_deactivated_by_a_task(client, users):
    answer = complete(client.deactivate_users(user_ids=users.ids("ann", "bob")).data)
    client.wait_for_task(answer.task_id, poll_interval=0)
    assert names(find(client, {"set": users.id("set")})) == ["cid"]
    answer = complete(client.reactivate_users(user_ids=users.ids("ann", "bob")).data)
    client.wait_for_task(answer.task_id, poll_interval=0)
    assert len(find(client, {"set": users.id("set")})) == 3


def test_a_guest_is_made(client, stage):
    answer = complete(client.create_guest(user=UserRequest(id=stage.id("gus"), name="Gus")).data)
    assert answer.user.role == "guest"
    claims = jwt.decode(answer.access_token, options={"verify_signature": False})
    assert claims["user_id"] == answer.user.id


# Channels and members


def test_a_channel_is_made_with_members(client, users):
    channel = client.chat.channel("messaging", users.id("room"))
    state = complete(
        channel.get_or_create(
            state=True,
            data=ChannelInput(
                created_by_id=users.id("ann"),
                members=[ChannelMemberRequest(user_id=user_id) for user_id in users.ids("ann", "bob")],
                custom={"colour": "green"},
            ),
        ).data
    )
    assert state.channel.cid == f"messaging:{users.id('room')}"
    assert state.channel.created_by.id == users.id("ann")
    assert state.channel.custom == {"colour": "green"}
    assert state.channel.member_count == 2
    assert state.channel.config.name == "messaging"
    assert member_ids(state.members) == users.ids("ann", "bob")


def test_a_channel_without_an_id_is_decided_by_its_members(client, users):
    def make(*who):
        data = ChannelInput(
            created_by_id=users.id("ann"),
            members=[ChannelMemberRequest(user_id=user_id) for user_id in users.ids(*who)],
        )
        return complete(client.chat.get_or_create_distinct_channel(type="messaging", data=data).data).channel.cid

    assert make("ann", "bob") == make("bob", "ann")


def test_a_channel_needs_a_creator(client, users):
    channel = client.chat.channel("messaging", users.id("room"))
    refused(lambda: channel.get_or_create(data=ChannelInput(custom={"a": 1})), 400, 4)


def test_a_channel_is_read_without_being_made(client, channel, users):
    state = complete(channel.get(state=True).data)
    assert member_ids(state.members) == users.ids("ann", "bob")
    refused(lambda: client.chat.get_channel(type="messaging", id=users.id("nowhere")), 404, 16)


def test_the_watchers_are_listed_when_asked_for(client, channel):
    state = complete(channel.get_or_create(state=True, watchers=PaginationParams(limit=10, offset=0)).data)
    assert state.watchers == []


def test_members_are_added_and_removed(client, channel, users):
    added = complete(channel.update(add_members=[ChannelMemberRequest(user_id=users.id("cid"))]).data)
    assert member_ids(added.members) == users.ids("ann", "bob", "cid")
    removed = complete(channel.update(remove_members=[users.id("ann")]).data)
    assert member_ids(removed.members) == users.ids("bob", "cid")


def test_a_channel_is_updated(client, channel):
    answer = complete(channel.update(data=ChannelInputRequest(custom={"motd": "one apple a day"})).data)
    assert answer.channel.custom == {"motd": "one apple a day"}


def test_a_channel_is_partially_updated(client, channel):
    answer = complete(channel.update_channel_partial(set={"motd": "one apple a day"}, unset=["colour"]).data)
    assert answer.channel.custom == {"motd": "one apple a day"}


def test_channels_are_queried(client, channel, users):
    answer = complete(
        client.chat.query_channels(
            filter_conditions={"members": {"$in": [users.id("ann")]}}, sort=by("created_at", -1)
        ).data
    )
    assert [state.channel.cid for state in answer.channels] == [f"messaging:{users.id('room')}"]
    assert member_ids(answer.channels[0].members) == users.ids("ann", "bob")
    by_custom = client.chat.query_channels(filter_conditions={"colour": "green", "members": {"$in": [users.id("bob")]}})
    assert len(by_custom.data.channels) == 1


def test_members_are_queried(client, channel, users):
    payload = QueryMembersPayload(
        type="messaging", id=users.id("room"), filter_conditions={}, sort=by("created_at", -1), limit=1
    )
    answer = complete(client.chat.query_members(payload=payload).data)
    assert len(answer.members) == 1


def test_a_member_is_partially_updated(client, channel, users):
    answer = complete(channel.update_member_partial(user_id=users.id("bob"), set={"hat": "blue"}).data)
    assert answer.channel_member.custom == {"hat": "blue"}


def test_a_channel_is_hidden_and_shown(client, channel, users):
    def visible():
        answer = client.chat.query_channels(
            filter_conditions={"cid": f"messaging:{users.id('room')}"}, user_id=users.id("ann")
        )
        return len(answer.data.channels)

    channel.hide(user_id=users.id("ann"))
    assert visible() == 0
    channel.show(user_id=users.id("ann"))
    assert visible() == 1


def test_a_custom_event_is_sent_to_a_channel(client, channel, users):
    event = EventRequest(type="friendship-request", user_id=users.id("ann"), custom={"text": "hey"})
    answer = complete(channel.send_event(event=event).data)
    assert answer.event.type == "friendship-request"
    assert answer.event.custom == {"text": "hey"}


def test_a_channel_is_deleted(client, channel, users):
    answer = complete(channel.delete().data)
    assert answer.channel.deleted_at is not None
    found = client.chat.query_channels(filter_conditions={"cid": f"messaging:{users.id('room')}"})
    assert found.data.channels == []


# Tokens, settings, refusals


def test_a_user_token_is_accepted_and_limited(client, users):
    token = client.create_token(users.id("cid"))
    own = client.clone_for_token(token)
    assert names(find(own, {"id": users.id("ann")})) == ["ann"]
    error = refused(lambda: own.deactivate_user(user_id=users.id("ann")), 403, 17)
    assert "failed with error" in error.message


def test_an_expired_user_token_is_refused(client, users):
    own = client.clone_for_token(client.create_token(users.id("cid"), expiration=-3600))
    refused(lambda: own.query_users(payload=QueryUsersPayload(filter_conditions={})), 401, 40)


def test_a_wrong_secret_is_refused(server):
    stranger = Stream(api_key=server.api_key, api_secret="a secret that nobody has ever used", base_url=server.url)
    with pytest.raises(StreamApiException) as caught:
        stranger.query_users(payload=QueryUsersPayload(filter_conditions={}))
    assert caught.value.status_code == 401
    assert caught.value.code in (5, 43)


def test_a_wrong_key_is_refused(server):
    stranger = Stream(api_key="nobodys-key", api_secret=server.secret, base_url=server.url)
    refused(lambda: stranger.query_users(payload=QueryUsersPayload(filter_conditions={})), 401, 2)


def test_a_bad_filter_is_refused(client):
    error = refused(lambda: find(client, {"id": {"$in": "x"}}), 400, 4)
    assert error.message.startswith('QueryUsers failed with error: "')


def test_an_unknown_route_is_refused_like_anything_else(client):
    refused(lambda: client.get("/api/v2/no/such/route"), 404, 16)


def test_the_settings_are_read(client):
    app = client.get_app().data.app
    assert isinstance(app.name, str)
    assert app.disable_auth_checks is False


def test_rate_limits_are_listed(client):
    limits = complete(client.get_rate_limits(server_side=True, endpoints="QueryUsers").data).server_side
    assert list(limits) == ["QueryUsers"]


def test_every_answer_carries_the_rate_limit(client):
    answer = client.query_users(payload=QueryUsersPayload(filter_conditions={}))
    limit = answer.rate_limit()
    assert limit.limit > 0
    assert 0 <= limit.remaining <= limit.limit


def test_channel_types_are_read(client):
    messaging = complete(client.chat.get_channel_type(name="messaging").data)
    assert messaging.connect_events is True


def test_answers_say_what_they_are(client, server):
    """A plain look at one answer, without the SDK's help."""
    request = Request(
        f"{server.url}/api/v2/users?api_key={server.api_key}&payload=%7B%22filter_conditions%22%3A%7B%7D%7D",
        headers={"Authorization": client.token, "Stream-Auth-Type": "jwt"},
    )
    with urlopen(request) as answer:
        assert answer.headers["Content-Type"].startswith("application/json")
        assert isinstance(json.load(answer)["duration"], str)


# The asynchronous client


def test_the_asynchronous_client_does_the_same(server, stage):
    async def story():
        async with AsyncStream(api_key=server.api_key, api_secret=server.secret, base_url=server.url) as client:
            ann = stage.id("ann")
            await client.update_users(users={ann: UserRequest(id=ann, name="Ann")})
            answer = await client.query_users(payload=QueryUsersPayload(filter_conditions={"id": ann}))
            assert complete(answer.data).users[0].name == "Ann"
            state = await client.chat.get_or_create_channel(
                type="messaging", id=stage.id("room"), data=ChannelInput(created_by_id=ann)
            )
            assert complete(state.data).channel.created_by.id == ann

    asyncio.run(story())
