//! A service state without sockets, for benchmarks of the rules.
//!
//! It is not for running the mock; see [`serve`](super::serve).

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, json};

use super::api_version::ApiVersion;
use super::engine::{Caller, ConnectRequest, OperationRequest, ServiceState, Transport};
use super::fixture::Fixture;
use super::options::MockRules;

/// A service state, and a time that advances with each change.
#[derive(Debug)]
pub struct BenchState {
    state: ServiceState,
    now: DateTime<Utc>,
}

impl BenchState {
    /// A state with this number of users, `user-0000000` and so on.
    ///
    /// # Panics
    ///
    /// Never, because these ids are valid.
    pub fn new(users: usize) -> Self {
        let rules = MockRules {
            presence_cap_users: usize::MAX,
            ..MockRules::default()
        };
        let mut state = ServiceState::new(rules, 1);
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        for n in 0..users {
            let user =
                json!({"id": id(n), "name": "Amelia Example", "status": "at lunch until two"});
            let fixture = Fixture {
                users: user.as_object().cloned().into_iter().collect(),
                ..Fixture::default()
            };
            state
                .load(&fixture, now)
                .expect("a new user with a good id");
        }
        Self { state, now }
    }

    /// Connects clients with these numbers. Each subscribes to the presence of the first user.
    ///
    /// # Panics
    ///
    /// There are no users.
    pub fn subscribe(&mut self, clients: std::ops::Range<usize>) {
        for n in clients {
            let caller = Caller::User {
                id: format!("client-{n}"),
                issued_at: None,
            };
            let request = ConnectRequest {
                user_id: None,
                details: Map::new(),
                carrier: Transport::Socket,
                version: ApiVersion::V1,
                token_expires: None,
            };
            let key = self
                .state
                .connect(self.now, &caller, &request)
                .expect("a client of its own may connect");
            let connection = self.state.connection_id(key).map(str::to_owned);
            let query = json!({
                "filter_conditions": {"id": {"$in": [id(0)]}},
                "presence": true,
                "connection_id": connection,
            });
            let query = query.as_object().cloned().unwrap_or_default();
            self.state
                .apply(
                    self.now,
                    &caller,
                    OperationRequest::new("GET /users", query),
                )
                .expect("a client may ask for users");
        }
        self.state.drain();
    }

    /// Changes the first user's status and returns the number of receivers.
    ///
    /// # Panics
    ///
    /// There are no users.
    pub fn change(&mut self) -> usize {
        self.now += TimeDelta::milliseconds(1);
        let status = self.now.timestamp_millis().to_string();
        let patch = json!({"users": [{"id": id(0), "set": {"status": status}}]});
        let patch = patch.as_object().cloned().unwrap_or_default();
        self.state
            .apply(
                self.now,
                &Caller::Server,
                OperationRequest::new("PATCH /users", patch),
            )
            .expect("the server may change a user");
        self.state
            .drain()
            .map(|delivery| delivery.connections.len())
            .sum()
    }
}

fn id(n: usize) -> String {
    format!("user-{n:07}")
}
