//! How users were before they were held, and how they become so again.

use serde_json::{Map, Value};

use crate::api::{ApiError, Client, QueryUsers, UserPatch};
use crate::app::App;
use crate::commands::ids::{BATCH, summarize_ids};
use crate::commands::rate_limiter::RateLimiter;
use crate::domain::{Presence, UserId};

/// The patches that undo what holding changes.
#[derive(Debug, Default)]
pub(super) struct Before(Vec<UserPatch>);

/// What holding changes about a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Touched {
    pub(super) invisible: bool,
    pub(super) status: bool,
}

impl Before {
    /// Reads how the users are now, as far as it will be changed.
    pub(super) async fn read(
        client: &Client,
        users: &[UserId],
        touched: Touched,
    ) -> Result<Self, ApiError> {
        if !touched.invisible && !touched.status {
            return Ok(Self::default());
        }
        let mut pacer = RateLimiter::default();
        let mut patches = Vec::with_capacity(users.len());
        for batch in users.chunks(BATCH) {
            pacer.before(client, "QueryUsers").await;
            let found = client.query_users_in(batch, &QueryUsers::default()).await?;
            patches.extend(batch.iter().map(|id| {
                let user = found.iter().find(|user| user.id() == id.as_str());
                let presence = user.map(crate::domain::User::presence).unwrap_or_default();
                undo(id, &presence, touched)
            }));
        }
        Ok(Self(patches))
    }

    /// Says who is not put back because nobody waits for it.
    pub(super) fn give_up(&self, app: &App) {
        let ids: Vec<&str> = self.0.iter().map(|patch| patch.id.as_str()).collect();
        if !ids.is_empty() {
            let who = summarize_ids(&ids);
            app.output()
                .warn(&format!("{who} may not be back to how they were"));
        }
    }

    /// Puts everybody back.
    ///
    /// # Errors
    ///
    /// Somebody could not be; the others are. Holds who could not, and the last refusal.
    pub(super) async fn restore(&self, client: &Client) -> Result<(), (Vec<&str>, ApiError)> {
        let mut pacer = RateLimiter::default();
        let mut left = Vec::new();
        let mut last = None;
        for patches in self.0.chunks(BATCH) {
            pacer.before(client, "UpdateUsersPartial").await;
            if let Err(error) = client.patch_users(patches).await {
                left.extend(patches.iter().map(|patch| patch.id.as_str()));
                last = Some(error);
            }
        }
        match last {
            Some(error) => Err((left, error)),
            None => Ok(()),
        }
    }
}

fn undo(id: &UserId, before: &Presence, touched: Touched) -> UserPatch {
    let mut patch = UserPatch {
        id: id.clone(),
        set: Map::new(),
        unset: Vec::new(),
    };
    if touched.invisible {
        let invisible = before.invisible.unwrap_or(false);
        patch.set.insert("invisible".to_owned(), invisible.into());
    }
    if touched.status {
        match &before.status {
            Some(status) => {
                patch
                    .set
                    .insert("status".to_owned(), Value::from(status.as_str()));
            }
            None => patch.unset.push("status".to_owned()),
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_touched_is_put_back() {
        let before = Presence {
            invisible: Some(true),
            status: Some("lunch".to_owned()),
            ..Presence::default()
        };
        let patch = |before: &Presence, invisible, status| {
            let touched = Touched { invisible, status };
            let patch = undo(&"amy".parse().unwrap(), before, touched);
            json!({"set": patch.set, "unset": patch.unset})
        };
        assert_eq!(
            patch(&before, true, true),
            json!({"set": {"invisible": true, "status": "lunch"}, "unset": []})
        );
        assert_eq!(
            patch(&before, false, true),
            json!({"set": {"status": "lunch"}, "unset": []})
        );
        assert_eq!(
            patch(&Presence::default(), true, true),
            json!({"set": {"invisible": false}, "unset": ["status"]})
        );
    }
}
