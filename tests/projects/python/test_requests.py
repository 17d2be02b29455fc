"""What the application asks of the service, and what it does if the service fails."""

import pytest
from conftest import presencectl
from stream_chat.base.exceptions import StreamAPIException


def test_a_refused_change_is_sent_once_and_changes_nothing(chat):
    chat.upsert_users([{"id": "john", "status": "here"}])
    presencectl("mock", "fault", "add", "status", "--status", "503", "--path", "/users", "--method", "PATCH", "--count", "1")
    with pytest.raises(StreamAPIException):
        chat.update_user_partial({"id": "john", "set": {"status": "away"}})
    presencectl("mock", "expect", "--method", "PATCH", "--path", "/users", "--status", "503", "--count", "1")
    assert presencectl("get-user", "john", "--jq", ".status") == "here\n"
