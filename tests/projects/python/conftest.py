"""An application of its own for each worker: each pytest process makes one."""

import json
import os
import subprocess

import pytest
from getstream import Stream
from stream_chat import StreamChat


def presencectl(*words: str) -> str:
    """Runs a command, and gives what it prints."""
    return subprocess.run(["presencectl", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture(scope="session", autouse=True)
def application():
    created = json.loads(presencectl("mock", "app", "create"))
    # From here on, commands and SDKs use this application.
    os.environ["STREAM_API_KEY"] = created["api_key"]
    os.environ["STREAM_API_SECRET"] = created["api_secret"]
    yield created
    presencectl("mock", "app", "delete", created["api_key"])


@pytest.fixture(autouse=True)
def empty(application):
    """Each test starts without users."""
    presencectl("mock", "reset")


@pytest.fixture
def chat(application) -> StreamChat:
    # The SDK gives a request 6 s, which a busy machine may need.
    return StreamChat(
        application["api_key"], application["api_secret"], base_url=os.environ["STREAM_CHAT_URL"], timeout=30
    )


@pytest.fixture
def stream(application) -> Stream:
    return Stream(
        application["api_key"], application["api_secret"], base_url=os.environ["STREAM_BASE_URL"], timeout=30
    )
