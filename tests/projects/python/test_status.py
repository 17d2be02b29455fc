"""Users say how they are, or do not want to be seen."""

import json

from conftest import presencectl
from getstream.models import QueryUsersPayload, UpdateUserPartialRequest, UserRequest


def test_a_status_is_seen_by_the_next_query(stream):
    stream.update_users(users={"john": UserRequest(id="john", name="John")})
    stream.update_users_partial(users=[UpdateUserPartialRequest(id="john", set={"status": "at lunch"})])
    users = stream.query_users(QueryUsersPayload(filter_conditions={"id": "john"})).data.users
    assert [(user.name, user.custom.get("status"), user.online) for user in users] == [("John", "at lunch", False)]


def test_an_invisible_user_is_offline_for_others(chat):
    chat.upsert_users([{"id": "amy"}, {"id": "john"}])
    presencectl("mock", "user", "john", "connect")
    chat.update_user_partial({"id": "john", "set": {"invisible": True}})
    seen = json.loads(presencectl("get-user", "john", "--as", "amy"))
    assert seen["online"] is False
    presencectl("wait", "user", "john", "--for", "invisible", "--timeout", "1m")
