"""The server under test, and a corner of it for each case: ids nobody else uses."""

import os
import secrets

import pytest


class Server:
    """Where the mock listens and who may speak to it."""

    def __init__(self) -> None:
        self.url = os.environ["PRESENCECTL_MOCK_URL"]
        self.api_key = os.environ["PRESENCECTL_MOCK_API_KEY"]
        self.secret = os.environ["PRESENCECTL_MOCK_SECRET"]


class Stage:
    """Names that belong to one case."""

    def __init__(self) -> None:
        self._suffix = secrets.token_hex(5)

    def id(self, name: str) -> str:
        return f"{name}-{self._suffix}"

    def ids(self, *names: str) -> list[str]:
        return [self.id(name) for name in names]


@pytest.fixture(scope="session")
def server() -> Server:
    return Server()


@pytest.fixture
def stage() -> Stage:
    return Stage()
