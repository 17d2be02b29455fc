//! Permissions: who may do what. Server-side callers are never checked. Clients are checked by their role and by their
//! relation to the channel.

use chrono::{DateTime, Utc};

use crate::domain::ApiErrorCode;
use crate::mock::engine::data::app_settings::AppSettings;
use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::filter::QueryFilter;
use crate::mock::engine::data::requests::{Caller, OnBehalfOf, UserRef};
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::{StoredUser, Viewer};
use crate::mock::engine::data::user_fields::{FieldWriter, UserFields};
use crate::mock::error::Rejection;

/// The caller with their user, looked up in the state.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    /// Whether the caller is the server side, whose permissions are not checked.
    pub(crate) server: bool,
    /// The acting user's id; for the server side only if it named one.
    pub(crate) id: Option<String>,
    /// The acting user, if they exist.
    pub(crate) user: Option<UserKey>,
    /// The acting user's role.
    pub(crate) role: String,
}

impl Actor {
    /// The viewer of the response.
    pub(crate) fn viewer(&self) -> Viewer {
        if self.server {
            Viewer::Server
        } else {
            self.user.map_or(Viewer::Other, Viewer::User)
        }
    }

    /// Who sets the fields, for the rules about settable fields.
    pub(crate) const fn writer(&self) -> FieldWriter {
        if self.server {
            FieldWriter::Server
        } else {
            FieldWriter::Client
        }
    }

    /// The error that refuses an action, in the service's words.
    pub(crate) fn denied(&self, action: &str, scope: &str) -> Rejection {
        Rejection::forbidden(format!(
            "User '{}' with role {} is not allowed to perform action {action} in scope '{scope}'",
            self.id.as_deref().unwrap_or_default(),
            self.role
        ))
    }

    /// Refuses clients.
    pub(crate) fn server_only(&self) -> Result<(), Rejection> {
        if self.server {
            Ok(())
        } else {
            Err(Rejection::forbidden(
                "this endpoint can only be called server side",
            ))
        }
    }

    /// Rejects a client of a multi-tenant application whose query names no team.
    pub(crate) fn require_team_filter(
        &self,
        app: &AppSettings,
        filter: &QueryFilter,
        field: &str,
    ) -> Result<(), Rejection> {
        if self.server || !app.is_multi_tenant() || filter.names().contains(&field) {
            return Ok(());
        }
        Err(Rejection::forbidden(
            "you must include a team filter to use this endpoint client-side",
        ))
    }

    /// Rejects callers who may not write anything.
    pub(crate) fn not_anonymous(&self, action: &str) -> Result<(), Rejection> {
        if !self.server && self.role == "anonymous" {
            return Err(self.denied(action, ".app"));
        }
        Ok(())
    }
}

impl ServiceState {
    /// Looks up a caller. Deactivated users and revoked tokens are refused here.
    pub(crate) fn actor(&self, caller: &Caller) -> Result<Actor, Rejection> {
        match caller {
            Caller::Server => {
                self.check_revoked(caller, None)?;
                Ok(Actor {
                    server: true,
                    id: None,
                    user: None,
                    role: "server".to_owned(),
                })
            }
            Caller::User { id, .. } => {
                let found = self.user(id);
                if let Some((_, user)) = found {
                    self.check_not_deleted_or_deactivated(user)?;
                }
                self.check_revoked(caller, found.map(|(_, user)| user))?;
                Ok(Actor {
                    server: false,
                    id: Some(id.clone()),
                    user: found.map(|(key, _)| key),
                    role: found
                        .map_or_else(|| "user".to_owned(), |(_, user)| user.profile.role.clone()),
                })
            }
            Caller::Anonymous { id } => {
                let found = id
                    .as_deref()
                    .and_then(|id| self.user(id))
                    .filter(|(_, user)| user.is_anonymous());
                Ok(Actor {
                    server: false,
                    id: Some(id.clone().unwrap_or_else(|| "!anon".to_owned())),
                    user: found.map(|(key, _)| key),
                    role: "anonymous".to_owned(),
                })
            }
        }
    }

    /// The acting user of a request. The server side acts for the user that it names, if any; a user given as an object
    /// is created if they are new. Clients always act as themselves.
    pub(crate) fn acting(
        &mut self,
        now: DateTime<Utc>,
        actor: Actor,
        acting: &OnBehalfOf,
    ) -> Result<Actor, Rejection> {
        let Some(named) = acting.named().filter(|_| actor.server) else {
            return Ok(actor);
        };
        let key = self.named_user(now, &named)?;
        Ok(Actor {
            id: Some(named.id()?.to_owned()),
            user: Some(key),
            ..actor
        })
    }

    /// The user named in a server-side call: by an id that exists, or as an object.
    pub(crate) fn named_user(
        &mut self,
        now: DateTime<Utc>,
        named: &UserRef,
    ) -> Result<UserKey, Rejection> {
        let id = named.id()?;
        if let Some((key, _)) = self.user(id) {
            return Ok(key);
        }
        let UserRef::Object(fields) = named else {
            return Err(Rejection::input(format!("user {id:?} does not exist")));
        };
        let id = id
            .parse::<crate::domain::UserId>()
            .map_err(|error| Rejection::input(error.to_string()))?;
        let profile = UserFields::new("user").replaced(
            id.as_str(),
            fields,
            FieldWriter::Server,
            false,
            self.rules.custom_data_limit,
        )?;
        Ok(self.insert_user(now, id.as_str(), profile))
    }

    /// Refuses users who are deactivated or deleted.
    pub(crate) fn check_not_deleted_or_deactivated(
        &self,
        user: &StoredUser,
    ) -> Result<(), Rejection> {
        if user.deleted_at.is_some() {
            return Err(Rejection::not_found("the user ID was deleted"));
        }
        if user.deactivated_at.is_none() {
            return Ok(());
        }
        let status = if self.rules.deactivated_code == ApiErrorCode::NotAllowed.number() {
            403
        } else {
            401
        };
        Err(Rejection::with_code(
            status,
            self.rules.deactivated_code,
            format!("user {:?} is deactivated", &*user.id),
        ))
    }

    /// Refuses revoked tokens: those issued before the user's limit, or without a time of issue.
    pub(crate) fn check_revoked(
        &self,
        caller: &Caller,
        user: Option<&StoredUser>,
    ) -> Result<(), Rejection> {
        let Caller::User { issued_at, .. } = caller else {
            return Ok(());
        };
        // The application's limit is documented to refuse every user token, whenever it was issued.
        let all = self.app.revoke_tokens_issued_before.is_some();
        let own = user
            .and_then(|user| user.profile.revoke_tokens_issued_before())
            .is_some_and(|limit| issued_at.is_none_or(|at| at < limit.timestamp()));
        if all || own {
            return Err(Rejection::with_code(
                401,
                self.rules.revoked_code,
                "the token was revoked",
            ));
        }
        Ok(())
    }

    /// Whether the channel belongs to a team of the actor.
    fn shares_team(&self, actor: &Actor, channel: &Channel) -> bool {
        let user = actor.user.and_then(|key| self.users.get(key));
        channel
            .team
            .as_ref()
            .is_some_and(|team| user.is_some_and(|user| user.profile.teams().contains(team)))
    }

    /// Whether the actor may read a channel.
    pub(crate) fn may_read(&self, actor: &Actor, channel: &Channel) -> bool {
        if !actor.server && self.app.is_multi_tenant() && !self.shares_team(actor, channel) {
            return false;
        }
        actor.server
            || self.app.disable_permissions_checks
            || channel.is_public()
            || actor.role == "admin"
            || actor.user.is_some_and(|user| {
                channel.created_by == Some(user) || channel.members.contains(user)
            })
    }

    /// Whether the actor may change a channel. The creator, moderators, admins and the server side may.
    pub(crate) fn may_change(&self, actor: &Actor, channel: &Channel) -> bool {
        actor.server
            || self.app.disable_permissions_checks
            || actor.role == "admin"
            || actor.user.is_some_and(|user| {
                channel.created_by == Some(user)
                    || channel
                        .members
                        .get(user)
                        .is_some_and(|member| member.channel_role == "channel_moderator")
            })
    }

    /// A channel by name.
    pub(crate) fn channel_named(
        &self,
        channel_type: &str,
        id: &str,
    ) -> Result<(ChannelKey, &Channel), Rejection> {
        let cid = format!("{channel_type}:{id}");
        self.channel_ids
            .get(cid.as_str())
            .and_then(|key| Some((*key, self.channels.get(*key)?)))
            .ok_or_else(|| {
                let shown: String = cid.chars().take(140).collect();
                Rejection::not_found(format!("Can't find channel with id {shown}"))
            })
    }

    /// The connection that `watch` or `presence` is for.
    pub(crate) fn live_connection(
        &self,
        actor: &Actor,
        connection_id: Option<&str>,
    ) -> Result<ConnectionKey, Rejection> {
        let found = connection_id
            .and_then(|id| self.connection_ids.get(id))
            .and_then(|key| Some((*key, self.connections.get(key)?)));
        match found {
            Some((key, connection)) if actor.server || Some(connection.user) == actor.user => {
                Ok(key)
            }
            _ => Err(Rejection::input(
                "Watch or Presence requires an active websocket connection, please make sure to include your \
                 websocket connection_id",
            )),
        }
    }
}
