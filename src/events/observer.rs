//! Who looks: a user of the service that connects, sees, and leaves no trace.
//!
//! A socket belongs to a user and makes him online, and a plain user may not read a channel that he is no member of. So
//! with the application's secret a dedicated user is made for looking: role `admin`, invisible, member of nothing. A
//! person's own user is never changed for it.

use serde_json::{Map, Value};

use crate::api::{ApiError, Client, QueryUsers, Request, UserPatch};
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
    pub fn identity(&self) -> Identity {
        Identity {
            user: self.user().clone(),
            invisible: matches!(self, Self::Dedicated(_)).then_some(true),
            details: Map::new(),
        }
    }

    /// Makes sure that a dedicated observer may read everything. Before every connection, since a server that was
    /// restarted may no longer have it.
    pub(super) async fn prepare(&self, server: &Client) -> Result<(), ApiError> {
        if let Some(request) = self.preparation(server).await? {
            server.send(&request).await?;
        }
        Ok(())
    }

    /// What creates a dedicated observer or makes it an admin, unless it is one.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn preparation(&self, server: &Client) -> Result<Option<Request>, ApiError> {
        let Self::Dedicated(user) = self else {
            return Ok(None);
        };
        let query = QueryUsers {
            filter_conditions: Map::from_iter([("id".to_owned(), user.as_str().into())]),
            limit: Some(1),
            ..QueryUsers::default()
        };
        let mut fields = Map::from_iter([("role".to_owned(), Value::from("admin"))]);
        Ok(match server.query_users(&query).await?.first() {
            Some(found) if found.role() == Some("admin") => None,
            Some(_) => Some(Request::patch_users(&[UserPatch {
                id: user.clone(),
                set: fields,
                unset: Vec::new(),
            }])),
            None => {
                fields.insert("id".to_owned(), user.as_str().into());
                fields.insert("name".to_owned(), "presencectl observer".into());
                Some(Request::upsert_users(&[fields]))
            }
        })
    }
}
