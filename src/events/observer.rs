//! The observer: the user that a watcher connects as.
//!
//! A connection belongs to a user and makes them online, and a plain user may not read a channel they are not a member
//! of. So with the application's secret, a dedicated user is created for watching: role `admin`, invisible, and never a
//! member of a channel. An existing user is never changed.

use serde_json::{Map, Value};

use crate::api::{ApiError, Client, QueryUsers, Request, UserPatch};
use crate::domain::{User, UserId};
use crate::events::connect::Identity;

/// The user that a watcher connects as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observer {
    /// A user for this purpose. They are created as, or changed to, an invisible admin.
    Dedicated(UserId),
    /// The user of a token. They are not changed, and see what they are permitted to see.
    Existing(UserId),
}

impl Observer {
    /// The user's id.
    pub const fn user(&self) -> &UserId {
        match self {
            Self::Dedicated(user) | Self::Existing(user) => user,
        }
    }

    /// The identity to connect with.
    pub fn identity(&self) -> Identity {
        Identity {
            user: self.user().clone(),
            invisible: matches!(self, Self::Dedicated(_)).then_some(true),
            details: Map::new(),
        }
    }

    /// Makes sure that a dedicated observer may read everything.
    pub(super) async fn prepare(&self, server: &Client) -> Result<(), ApiError> {
        if let Some(request) = self.preparation(server).await? {
            server.send(&request).await?;
        }
        Ok(())
    }

    /// Creates a dedicated observer whom the server no longer has, such as a restarted one. If it has them, their role
    /// stays: somebody else may have changed it.
    pub(super) async fn prepare_again(&self, server: &Client) -> Result<(), ApiError> {
        if let Self::Dedicated(user) = self
            && Self::find(server, user).await?.is_none()
        {
            server.send(&Self::creation(user)).await?;
        }
        Ok(())
    }

    /// The request that creates the dedicated observer or makes it an admin; `None` if neither is needed.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn preparation(&self, server: &Client) -> Result<Option<Request>, ApiError> {
        let Self::Dedicated(user) = self else {
            return Ok(None);
        };
        let found = Self::find(server, user).await?;
        Ok(match found {
            Some(found) if found.role() == Some("admin") => None,
            Some(_) => Some(Request::patch_users(&[UserPatch {
                id: user.clone(),
                set: Map::from_iter([("role".to_owned(), Value::from("admin"))]),
                unset: Vec::new(),
            }])),
            None => Some(Self::creation(user)),
        })
    }

    fn creation(user: &UserId) -> Request {
        let fields = Map::from_iter([
            ("role".to_owned(), "admin".into()),
            ("id".to_owned(), user.as_str().into()),
            ("name".to_owned(), "presencectl observer".into()),
        ]);
        Request::upsert_users(&[fields])
    }

    async fn find(server: &Client, user: &UserId) -> Result<Option<User>, ApiError> {
        let query = QueryUsers {
            filter_conditions: Map::from_iter([("id".to_owned(), user.as_str().into())]),
            limit: Some(1),
            ..QueryUsers::default()
        };
        Ok(server.query_users(&query).await?.pop())
    }
}
