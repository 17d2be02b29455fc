//! A small world that tests of commands look at, and command lines pointed at it.

use serde_json::{Map, Value, json};

use super::Presencectl;
use super::mock::Mock;

/// A mock with john (online), jack, zoe (invisible) and the channel `messaging:fun` of john and jack.
pub(crate) fn small_world() -> Mock {
    world(
        &[
            json!({"id": "john", "name": "John", "online": true, "status": "Eating a veggie burger...", "color": "green"}),
            json!({"id": "jack", "name": "Jack", "last_active": "2026-01-05T10:00:00.123456789Z"}),
            json!({"id": "zoe", "name": "Zoë", "role": "admin", "online": true, "invisible": true}),
        ],
        &[
            json!({"type": "messaging", "id": "fun", "members": ["john", "jack"], "created_by_id": "zoe", "color": "green"}),
        ],
    )
}

/// A mock with these users and channels.
pub(crate) fn world(users: &[Value], channels: &[Value]) -> Mock {
    let objects = |values: &[Value]| -> Vec<Map<String, Value>> {
        values
            .iter()
            .map(|value| value.as_object().expect("an object").clone())
            .collect()
    };
    Mock::with(|options| {
        options.fixture.users = objects(users);
        options.fixture.channels = objects(channels);
    })
}

/// A command line with a server's credentials for a mock.
pub(crate) fn presencectl(mock: &Mock, line: &str) -> Presencectl {
    Presencectl::line(line).at(mock)
}

/// The same, with its words one by one.
pub(crate) fn presencectl_of<S: AsRef<str>>(
    mock: &Mock,
    words: impl IntoIterator<Item = S>,
) -> Presencectl {
    Presencectl::new(words).at(mock)
}
