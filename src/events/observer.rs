//! Who looks: a user of the service that connects, sees, and leaves no trace.
//!
//! A socket belongs to a user and makes him online, and a plain user may not read a channel that he is no member of. So
//! with the application's secret a dedicated user is made for looking: role `admin`, invisible, member of nothing. A
//! person's own user is never changed for it.

use serde_json::{Map, Value, json};

use crate::api::{ApiError, Client, QueryUsers, UserPatch};
use crate::domain::UserId;
use crate::events::connect::Identity;

/// The observer's id where nobody names one.
pub const DEFAULT_OBSERVER: &str = "presencectl-observer";

/// The user that a watcher connects as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observer {
    /// A user that exists for this purpose, made or kept an invisible admin with the application's secret.
    Dedicated(UserId),
    /// Somebody who is there for other reasons and stays as he is, with what he is allowed to see.
    Existing(UserId),
}

impl Observer {
    /// The user's id.
    pub const fn user(&self) -> &UserId {
        match self {
            Self::Dedicated(user) | Self::Existing(user) => user,
        }
    }

    /// How to connect as the observer.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            user: self.user().clone(),
            invisible: matches!(self, Self::Dedicated(_)).then_some(true),
            details: Map::new(),
        }
    }

    /// Makes sure that a dedicated observer may look. Before every connection, since a server may have lost him.
    pub(super) async fn prepare(&self, server: &Client) -> Result<(), ApiError> {
        let Self::Dedicated(user) = self else {
            return Ok(());
        };
        let query = QueryUsers {
            filter_conditions: Map::from_iter([("id".to_owned(), user.as_str().into())]),
            limit: Some(1),
            ..QueryUsers::default()
        };
        let role = Map::from_iter([("role".to_owned(), "admin".into())]);
        match server.query_users(&query).await?.first() {
            Some(found) if found.role() == Some("admin") => {}
            Some(_) => {
                let patch = UserPatch {
                    id: user.clone(),
                    set: role,
                    unset: Vec::new(),
                };
                server.patch_users(&[patch]).await?;
            }
            None => {
                let Value::Object(observer) = json!({
                    "id": user.as_str(),
                    "role": "admin",
                    "name": "presencectl observer",
                }) else {
                    unreachable!("the literal above is an object");
                };
                server.upsert_users(&[observer]).await?;
            }
        }
        Ok(())
    }
}
