//! Operations that delete, restore, deactivate and reactivate users. Only the server side may call them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::requests::{
    DeleteUserRequest, DeleteUsersRequest, ReactivateUserRequest, Reply, UserIdsRequest,
};
use crate::mock::engine::data::rfc3339::{Rfc3339, stored};
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::{UserShape, Viewer};
use crate::mock::engine::data::user_view::UserView;
use crate::mock::engine::operations::users::MAX_USERS_PER_CALL;
use crate::mock::engine::rules::events::frame;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::{Rejection, shortened};

/// How much of a user goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UserDeletion {
    hard: bool,
    messages: bool,
    conversations: bool,
}

#[derive(Serialize)]
struct UserDeletedEvent<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    user: UserView<'a>,
    created_at: Rfc3339,
    hard_delete: bool,
    mark_messages_deleted: bool,
    delete_conversation_channels: bool,
    delete_user: &'static str,
    delete_messages: &'static str,
    delete_conversation: &'static str,
}

#[derive(Serialize)]
struct UserResponse<'a> {
    user: UserView<'a>,
}

impl ServiceState {
    pub(crate) fn delete_user(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        id: &str,
        request: &DeleteUserRequest,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let key = self.require_user(id)?;
        let deletion = UserDeletion {
            hard: request.hard_delete,
            messages: request.mark_messages_deleted,
            conversations: request.delete_conversation_channels,
        };
        let reply = self.delete(now, actor, key, deletion);
        Ok(reply)
    }

    pub(crate) fn delete_users(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &DeleteUsersRequest,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        for (field, value) in [
            ("user", &request.user),
            ("messages", &request.messages),
            ("conversations", &request.conversations),
        ] {
            if !matches!(
                value.as_deref(),
                None | Some("" | "soft" | "pruning" | "hard")
            ) {
                return Err(Rejection::field(field, "must be soft, pruning or hard"));
            }
        }
        let hard = request.user.as_deref() == Some("hard");
        let stays = |mode: Option<&str>| !matches!(mode, None | Some("hard"));
        if hard && (stays(request.messages.as_deref()) || stays(request.conversations.as_deref())) {
            return Err(Rejection::input(
                "a hard deletion of users needs a hard deletion of their messages and conversations",
            ));
        }
        let keys = self.require_users(&request.user_ids)?;
        let deletion = UserDeletion {
            hard,
            messages: is_set(request.messages.as_deref()),
            conversations: is_set(request.conversations.as_deref()),
        };
        let mut result = serde_json::Map::new();
        for (key, id) in keys.into_iter().zip(&request.user_ids) {
            if self.users.get(key).is_some() {
                self.delete(now, actor, key, deletion);
            }
            result.insert(id.clone(), json!({"status": "ok"}));
        }
        let task = self.complete_task(now, result.into());
        Ok(Self::task_started(&task))
    }

    fn delete(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        key: UserKey,
        deletion: UserDeletion,
    ) -> Reply {
        let receivers = self.subscribers_and_own(key);
        self.with_presence_event(now, key, |state| {
            if let Some(user) = state.users.get_mut(key) {
                user.deleted_at.get_or_insert(stored(now));
            }
        });
        // Written while they are deleted already and still there; their connections hear of it before they end.
        self.publish(&receivers, Some(key), |state, viewer| {
            let word = |deleted: bool| match (deleted, deletion.hard) {
                (false, _) => "",
                (true, true) => "hard",
                (true, false) => "soft",
            };
            frame(&UserDeletedEvent {
                kind: "user.deleted",
                user: state.view(key, viewer, UserShape::Common),
                created_at: Rfc3339(now),
                hard_delete: deletion.hard,
                mark_messages_deleted: deletion.messages,
                delete_conversation_channels: deletion.conversations,
                delete_user: word(true),
                delete_messages: word(deletion.messages),
                delete_conversation: word(deletion.conversations),
            })
        });
        let reply = Reply::new(&UserResponse {
            user: self.view(key, Viewer::Server, UserShape::Full),
        });
        self.close_user_connections(now, key);
        if deletion.conversations {
            self.delete_conversations(now, actor, key);
        }
        if deletion.messages || deletion.hard {
            self.delete_messages_by(now, key, deletion.hard);
        }
        if deletion.hard {
            self.remove_user(key);
        }
        reply
    }

    /// Ends a user's connections for good.
    fn close_user_connections(&mut self, now: DateTime<Utc>, key: UserKey) {
        let Some(user) = self.users.get_mut(key) else {
            return;
        };
        if let Some(at) = user.offline_at.take() {
            self.timers
                .clear(at, crate::mock::engine::data::timers::Timer::Offline(key));
        }
        let connections: Vec<ConnectionKey> = user.connections.clone();
        let reject = Rejection::unauthorized(
            self.rules.deactivated_code,
            "the user is deactivated or deleted",
        );
        for connection in connections {
            self.refuse(now, connection, &reject);
        }
    }

    /// Deletes the channels that exist for two people, of whom this user is one.
    fn delete_conversations(&mut self, now: DateTime<Utc>, actor: &Actor, key: UserKey) {
        let channels: Vec<ChannelKey> = self
            .users
            .get(key)
            .map(|user| user.memberships.iter().copied().collect())
            .unwrap_or_default();
        for channel_key in channels {
            let between_two = self
                .channels
                .get(channel_key)
                .is_some_and(|channel| channel.is_distinct() && channel.members.len() <= 2);
            if between_two {
                self.drop_channel(now, actor, channel_key);
            }
        }
    }

    pub(crate) fn deactivate_user(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        id: &str,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let key = self.require_user(id)?;
        if self.is_deactivated(key) {
            return Err(Rejection::input(format!(
                "user {:?} is deactivated already",
                shortened(id)
            )));
        }
        self.deactivate(now, key);
        Ok(Reply::new(&UserResponse {
            user: self.view(key, Viewer::Server, UserShape::Full),
        }))
    }

    fn deactivate(&mut self, now: DateTime<Utc>, key: UserKey) {
        self.with_presence_event(now, key, |state| {
            if let Some(user) = state.users.get_mut(key) {
                user.deactivated_at.get_or_insert(stored(now));
            }
        });
        let receivers = self.subscribers_and_own(key);
        self.publish_user(now, "user.deactivated", key, UserShape::Common, &receivers);
        if self.rules.deactivation_closes_sockets {
            self.close_user_connections(now, key);
        }
    }

    pub(crate) fn deactivate_users(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &UserIdsRequest,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let keys = self.require_users(&request.user_ids)?;
        for key in &keys {
            if !self.is_deactivated(*key) {
                self.deactivate(now, *key);
            }
        }
        Ok(self.users_task(now, &keys))
    }

    pub(crate) fn reactivate_user(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        id: &str,
        request: &ReactivateUserRequest,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let key = self.require_user(id)?;
        if !self.is_deactivated(key) {
            return Err(Rejection::input(format!(
                "user {:?} is not deactivated",
                shortened(id)
            )));
        }
        if let Some(name) = &request.name
            && let Some(user) = self.users.get_mut(key)
        {
            user.profile.name = Some(name.clone());
        }
        self.reactivate(now, key);
        Ok(Reply::new(&UserResponse {
            user: self.view(key, Viewer::Server, UserShape::Full),
        }))
    }

    fn is_deactivated(&self, key: UserKey) -> bool {
        self.users
            .get(key)
            .is_some_and(|user| user.deactivated_at.is_some())
    }

    fn reactivate(&mut self, now: DateTime<Utc>, key: UserKey) {
        if let Some(user) = self.users.get_mut(key) {
            user.deactivated_at = None;
            user.updated_at = stored(now);
        }
        let receivers = self.subscribers_and_own(key);
        self.publish_user(now, "user.reactivated", key, UserShape::Common, &receivers);
    }

    pub(crate) fn reactivate_users(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &UserIdsRequest,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let keys = self.require_users(&request.user_ids)?;
        for key in &keys {
            if self.is_deactivated(*key) {
                self.reactivate(now, *key);
            }
        }
        Ok(self.users_task(now, &keys))
    }

    fn users_task(&mut self, now: DateTime<Utc>, keys: &[UserKey]) -> Reply {
        let users: Vec<UserView<'_>> = keys
            .iter()
            .map(|key| self.view(*key, Viewer::Server, UserShape::Common))
            .collect();
        let result = json!({"users": users});
        let task = self.complete_task(now, result);
        Self::task_started(&task)
    }

    pub(crate) fn restore_users(
        &mut self,
        actor: &Actor,
        request: &UserIdsRequest,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        check_count(request.user_ids.len())?;
        let mut keys = Vec::new();
        for id in &request.user_ids {
            let (key, user) = self.user(id).ok_or_else(|| {
                Rejection::not_found(format!("user {:?} was not found", shortened(id)))
            })?;
            if user.deleted_at.is_none() {
                return Err(Rejection::input(format!(
                    "user {:?} is not deleted, it can't be restored",
                    shortened(id)
                )));
            }
            keys.push(key);
        }
        for key in keys {
            if let Some(user) = self.users.get_mut(key) {
                user.deleted_at = None;
            }
        }
        Ok(Reply::new(&serde_json::Map::new()))
    }

    /// A user who exists and is not deleted.
    pub(crate) fn require_user(&self, id: &str) -> Result<UserKey, Rejection> {
        self.user(id)
            .filter(|(_, user)| user.deleted_at.is_none())
            .map(|(key, _)| key)
            .ok_or_else(|| Rejection::not_found(format!("user {:?} was not found", shortened(id))))
    }

    fn require_users(&self, ids: &[String]) -> Result<Vec<UserKey>, Rejection> {
        check_count(ids.len())?;
        ids.iter().map(|id| self.require_user(id)).collect()
    }
}

/// Whether a deletion mode is given. Some clients send an empty one.
fn is_set(mode: Option<&str>) -> bool {
    mode.is_some_and(|mode| !mode.is_empty())
}

fn check_count(count: usize) -> Result<(), Rejection> {
    if count == 0 || count > MAX_USERS_PER_CALL {
        return Err(Rejection::field(
            "user_ids",
            &format!("must hold between 1 and {MAX_USERS_PER_CALL} users, not {count}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::mock::engine::data::requests::Caller;
    use crate::mock::engine::operations::OperationRequest;
    use crate::mock::engine::test_support::{TestState, op, user};
    use crate::mock::options::MockRules;

    fn delete(id: &str, hard: bool) -> OperationRequest {
        op(&format!("DELETE /users/{id}"), json!({"hard_delete": hard}))
    }

    fn watched() -> (
        TestState,
        crate::mock::engine::ConnectionKey,
        crate::mock::engine::ConnectionKey,
    ) {
        let mut stage = TestState::new();
        stage.users(&["b"]);
        let watcher = stage.connect("a");
        stage.subscribe("a", watcher, &["b"]);
        let b = stage.connect("b");
        stage.take(watcher);
        (stage, watcher, b)
    }

    #[test]
    fn a_soft_deleted_user_is_gone_until_restored() {
        let (mut stage, watcher, b) = watched();
        stage.apply(&Caller::Server, delete("b", false)).unwrap();
        assert_eq!(
            stage.heard(watcher),
            ["user.presence.changed b false", "user.deleted b"]
        );
        assert_eq!(stage.heard(b), ["user.deleted b", "connection.error -"]);
        assert_eq!(stage.closed(b), Some(1000));
        let find = op("GET /users", json!({"filter_conditions": {"id": "b"}}));
        let answer = stage.apply(&Caller::Server, find.clone()).unwrap();
        assert_eq!(answer["users"], json!([]));
        let reject = stage.connect_as("b", json!({})).unwrap_err();
        assert_eq!((reject.status, reject.code), (404, 16));
        let again = stage
            .apply(&Caller::Server, delete("b", false))
            .unwrap_err();
        assert_eq!((again.status, again.code), (404, 16));
        let restore = op("POST /users/restore", json!({"user_ids": ["b"]}));
        stage.apply(&Caller::Server, restore).unwrap();
        let answer = stage.apply(&Caller::Server, find).unwrap();
        assert_eq!(answer["users"][0]["id"], "b");
    }

    #[test]
    fn a_hard_deleted_user_leaves_nothing() {
        let (mut stage, watcher, b) = watched();
        let body = json!({"data": {"members": ["a", "b"]}});
        stage.channel(&user("b"), "messaging:x", body).unwrap();
        stage.take(watcher);
        stage.apply(&Caller::Server, delete("b", true)).unwrap();
        assert_eq!(
            stage.heard(watcher),
            ["user.presence.changed b false", "user.deleted b"]
        );
        assert_eq!(stage.closed(b), Some(1000));
        let state = stage
            .channel(&Caller::Server, "messaging:x", json!({"state": true}))
            .unwrap();
        assert_eq!(state["members"].as_array().unwrap().len(), 1);
        assert_eq!(state["channel"]["created_by"], json!(null));
        // The same id is somebody else now: the old subscription must not hear of them.
        stage.connect("b");
        assert!(stage.heard(watcher).is_empty());
    }

    #[test]
    fn a_deactivated_user_goes_offline_and_stays_out() {
        let (mut stage, watcher, b) = watched();
        stage
            .apply(&Caller::Server, op("POST /users/b/deactivate", json!({})))
            .unwrap();
        assert_eq!(
            stage.heard(watcher),
            ["user.presence.changed b false", "user.deactivated b"]
        );
        assert_eq!(stage.closed(b), Some(1000));
        assert_eq!(stage.connect_as("b", json!({})).unwrap_err().status, 401);
        let reactivate = op("POST /users/b/reactivate", json!({}));
        stage.apply(&Caller::Server, reactivate).unwrap();
        stage.connect("b");
        assert_eq!(
            stage.heard(watcher),
            ["user.reactivated b", "user.presence.changed b true"]
        );
    }

    #[test]
    fn a_deactivated_user_may_keep_their_sockets() {
        let mut stage = TestState::with(MockRules {
            deactivation_closes_sockets: false,
            ..MockRules::default()
        });
        let (a, b) = (stage.connect("a"), stage.connect("b"));
        stage.subscribe("a", a, &["b"]);
        stage.subscribe("b", b, &["a"]);
        let deactivate = op("POST /users/b/deactivate", json!({}));
        stage.apply(&Caller::Server, deactivate).unwrap();
        assert_eq!(
            stage.heard(a),
            ["user.presence.changed b false", "user.deactivated b"]
        );
        assert_eq!(stage.heard(b), ["user.deactivated b"]);
        assert_eq!(stage.closed(b), None);
        stage.disconnect(a);
        assert_eq!(stage.heard(b), ["user.presence.changed a false"]);
    }

    #[test]
    fn tasks_have_an_end() {
        let (mut stage, ..) = watched();
        let body = json!({"user_ids": ["a", "b"], "user": "soft"});
        let answer = stage
            .apply(&Caller::Server, op("POST /users/delete", body))
            .unwrap();
        let id = answer["task_id"].as_str().unwrap().to_owned();
        assert_eq!(id.len(), 36);
        let task = stage
            .apply(&Caller::Server, op(&format!("GET /tasks/{id}"), json!({})))
            .unwrap();
        assert_eq!(task["status"], "completed");
        let unknown = stage.apply(&Caller::Server, op("GET /tasks/x", json!({})));
        assert_eq!(unknown.unwrap_err().code, 16);
        let body = json!({"user_ids": ["a"], "user": "hard", "messages": "soft"});
        let half = op("POST /users/delete", body);
        assert_eq!(stage.apply(&Caller::Server, half).unwrap_err().code, 4);
    }

    #[test]
    fn clients_may_do_none_of_it() {
        let (mut stage, ..) = watched();
        for request in [
            delete("b", false),
            op("POST /users/b/deactivate", json!({})),
            op("GET /tasks/x", json!({})),
            op("POST /users/restore", json!({"user_ids": ["b"]})),
        ] {
            let reject = stage.apply(&user("a"), request).unwrap_err();
            assert_eq!((reject.status, reject.code), (403, 17));
        }
    }
}
