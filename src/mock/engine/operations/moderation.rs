//! Operations that mute, block and ban users, and mute channels.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::mock::engine::data::channel::ChannelMute;
use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::relation_view::UserMuteView;
use crate::mock::engine::data::relations::{Ban, UserMute};
use crate::mock::engine::data::requests::{
    BanRequest, BlockRequest, MuteChannelsRequest, MuteUsersRequest, Reply, UnbanRequest, split_cid,
};
use crate::mock::engine::data::rfc3339::{Rfc3339, stored};
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::timers::ExpiringEntry;
use crate::mock::engine::data::user::{UserShape, Viewer};
use crate::mock::engine::data::user_view::UserView;
use crate::mock::engine::rules::events::frame;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::Rejection;

/// An event that tells a user about themself.
#[derive(Serialize)]
struct OwnUserEvent<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    me: UserView<'a>,
    created_at: Rfc3339,
}

/// An event about a ban, or the end of one.
#[derive(Serialize)]
struct BanEvent<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    user: UserView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<UserView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<Rfc3339>,
    shadow: bool,
    created_at: Rfc3339,
}

impl ServiceState {
    /// `POST /moderation/mute`.
    pub(crate) fn mute_users(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &MuteUsersRequest,
    ) -> Result<Reply, Rejection> {
        #[derive(Serialize)]
        struct MuteUsersResponse<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            mute: Option<&'a UserMuteView<'a>>,
            mutes: &'a [UserMuteView<'a>],
            own_user: UserView<'a>,
        }
        let (user, targets) = self.mute_targets(actor, request)?;
        if targets.contains(&user) {
            return Err(Rejection::input("you cannot mute yourself"));
        }
        let mute = UserMute {
            at: stored(now),
            expires: expiry(now, request.timeout)?,
        };
        for target in &targets {
            self.relations_mut(user).mutes.insert(*target, mute);
            self.set_expiry(mute.expires, ExpiringEntry::UserMute(user, *target));
        }
        self.tell_own(now, "notification.mutes_updated", user);
        let viewer = Viewer::User(user);
        let mut mutes = self.mutes_of(user, viewer);
        mutes.retain(|mute| targets.contains(&mute.target.key));
        Ok(Reply::new(&MuteUsersResponse {
            mute: mutes.first(),
            mutes: &mutes,
            own_user: self.view(user, viewer, UserShape::Own),
        }))
    }

    /// `POST /moderation/unmute`.
    pub(crate) fn unmute_users(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &MuteUsersRequest,
    ) -> Result<Reply, Rejection> {
        let (user, targets) = self.mute_targets(actor, request)?;
        for target in targets {
            self.relations_mut(user).mutes.remove(&target);
        }
        self.tell_own(now, "notification.mutes_updated", user);
        Ok(Reply::new(&Map::new()))
    }

    fn mute_targets(
        &self,
        actor: &Actor,
        request: &MuteUsersRequest,
    ) -> Result<(UserKey, Vec<UserKey>), Rejection> {
        let user = self.acting_user(actor)?;
        let ids = request.target_ids.iter().chain(&request.target_id);
        let targets = ids
            .map(|id| self.require_user(id))
            .collect::<Result<Vec<_>, _>>()?;
        if targets.is_empty() {
            return Err(Rejection::input("target_ids is a required field"));
        }
        Ok((user, targets))
    }

    /// `POST /moderation/mute/channel` and `/moderation/unmute/channel`.
    pub(crate) fn set_channels_muted(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &MuteChannelsRequest,
        muted: bool,
    ) -> Result<Reply, Rejection> {
        let user = self.acting_user(actor)?;
        let mut keys = Vec::new();
        for cid in request.channel_cids.iter().chain(&request.channel_cid) {
            let (channel_type, id) = split_cid(cid);
            let (key, channel) = self.channel_named(channel_type, id)?;
            if !self.may_read(actor, channel) {
                return Err(actor.denied("ReadChannel", channel_type));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(Rejection::input("channel_cids is a required field"));
        }
        // In milliseconds, unlike that of users.
        let expires = match request.expiration {
            Some(0) | None => None,
            Some(millis) => after(now, TimeDelta::try_milliseconds(millis))?,
        };
        let mute = ChannelMute {
            at: stored(now),
            expires,
        };
        for key in &keys {
            if let Some(channel) = self.channels.get_mut(*key) {
                if muted {
                    channel.muted_by.insert(user, mute);
                    self.set_expiry(expires, ExpiringEntry::ChannelMute(*key, user));
                } else {
                    channel.muted_by.remove(&user);
                }
            }
        }
        self.tell_own(now, "notification.channel_mutes_updated", user);
        if !muted {
            return Ok(Reply::new(&Map::new()));
        }
        let viewer = Viewer::User(user);
        let mutes: Vec<_> = keys
            .iter()
            .filter_map(|key| self.channel_mute_view(self.channels.get(*key)?, user, viewer))
            .collect();
        Ok(Reply::new(&json!({
            "channel_mute": mutes.first(),
            "channel_mutes": mutes,
            "own_user": self.view(user, viewer, UserShape::Own),
        })))
    }

    /// Sends `me` to all connections of a user.
    fn tell_own(&mut self, now: DateTime<Utc>, kind: &'static str, user: UserKey) {
        let receivers = self.connections_of(user);
        self.publish(&receivers, Some(user), |state, _| {
            frame(&OwnUserEvent {
                kind,
                me: state.view(user, Viewer::User(user), UserShape::Own),
                created_at: Rfc3339(now),
            })
        });
    }

    /// `POST /users/block`.
    pub(crate) fn block_user(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &BlockRequest,
    ) -> Result<Reply, Rejection> {
        let user = self.acting_user(actor)?;
        let blocked = self.require_user(&request.blocked_user_id)?;
        if blocked == user {
            return Err(Rejection::input("you cannot block yourself"));
        }
        let at = *self
            .relations_mut(user)
            .blocks
            .entry(blocked)
            .or_insert_with(|| stored(now));
        Ok(Reply::new(&json!({
            "blocked_by_user_id": actor.id,
            "blocked_user_id": request.blocked_user_id,
            "created_at": Rfc3339(at),
        })))
    }

    /// `POST /users/unblock`.
    pub(crate) fn unblock_user(
        &mut self,
        actor: &Actor,
        request: &BlockRequest,
    ) -> Result<Reply, Rejection> {
        let user = self.acting_user(actor)?;
        let blocked = self.require_user(&request.blocked_user_id)?;
        self.relations_mut(user).blocks.remove(&blocked);
        Ok(Reply::new(&Map::new()))
    }

    /// `GET /users/block`.
    pub(crate) fn get_blocked_users(&self, actor: &Actor) -> Result<Reply, Rejection> {
        let user = self.acting_user(actor)?;
        let viewer = actor.viewer();
        let blocks: Vec<Value> = self
            .relations
            .get(&user)
            .into_iter()
            .flat_map(|relations| &relations.blocks)
            .filter(|(blocked, _)| self.users.get(**blocked).is_some())
            .map(|(blocked, at)| {
                let blocked = self.view(*blocked, viewer, UserShape::Common);
                json!({
                    "user_id": actor.id,
                    "user": self.view(user, viewer, UserShape::Common),
                    "blocked_user_id": &*blocked.user.id,
                    "blocked_user": blocked,
                    "created_at": Rfc3339(*at),
                })
            })
            .collect();
        Ok(Reply::new(&json!({ "blocks": blocks })))
    }

    /// `POST /moderation/ban`.
    pub(crate) fn ban_user(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &BanRequest,
    ) -> Result<Reply, Rejection> {
        let (target, channel) = self.ban_scope(actor, &request.scope)?;
        let by = match &request.banned_by_id {
            Some(id) if actor.server && !id.is_empty() => Some(self.require_user(id)?),
            _ => actor.user,
        };
        // A server may name them as both.
        if by == Some(target) && !actor.server {
            return Err(Rejection::input("you cannot ban yourself"));
        }
        let ban = Ban {
            at: stored(now),
            expires: expiry(now, request.timeout)?,
            reason: request.reason.clone().filter(|reason| !reason.is_empty()),
            by,
            shadow: request.shadow,
        };
        self.relations_mut(target).bans.insert(channel, ban.clone());
        self.set_expiry(ban.expires, ExpiringEntry::Ban(target, channel));
        self.send_ban_event(now, "user.banned", target, channel, Some(&ban));
        Ok(Reply::new(&Map::new()))
    }

    /// `DELETE /moderation/ban` and `POST /moderation/unban`.
    pub(crate) fn unban_user(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &UnbanRequest,
    ) -> Result<Reply, Rejection> {
        let (target, channel) = self.ban_scope(actor, request)?;
        let ended = self.relations_mut(target).bans.remove(&channel);
        if let Some(ban) = ended {
            self.send_ban_event(
                now,
                "user.unbanned",
                target,
                channel,
                ban.shadow.then_some(&ban),
            );
        }
        Ok(Reply::new(&Map::new()))
    }

    fn ban_scope(
        &self,
        actor: &Actor,
        scope: &UnbanRequest,
    ) -> Result<(UserKey, Option<ChannelKey>), Rejection> {
        let target = self.require_user(&scope.target_user_id)?;
        fn set(field: Option<&String>) -> Option<&str> {
            field.map(String::as_str).filter(|text| !text.is_empty())
        }
        let named = match (
            set(scope.channel_cid.as_ref()),
            set(scope.channel_type.as_ref()),
        ) {
            (Some(cid), _) => Some(split_cid(cid)),
            (None, Some(channel_type)) => Some((
                channel_type,
                scope.channel_id.as_deref().unwrap_or_default(),
            )),
            (None, None) => None,
        };
        let Some((channel_type, id)) = named else {
            if !actor.server && actor.role != "admin" {
                return Err(actor.denied("BanUser", ".app"));
            }
            return Ok((target, None));
        };
        let (key, channel) = self.channel_named(channel_type, id)?;
        if !self.may_change(actor, channel) {
            return Err(actor.denied("BanChannelMember", channel_type));
        }
        Ok((target, Some(key)))
    }

    /// Tells the user, of a ban in a channel also its watchers.
    fn send_ban_event(
        &mut self,
        now: DateTime<Utc>,
        kind: &'static str,
        user: UserKey,
        channel: Option<ChannelKey>,
        ban: Option<&Ban>,
    ) {
        let mut receivers: Vec<ConnectionKey> = self.connections_of(user);
        if let Some(key) = channel {
            receivers.extend(self.watchers_of(key));
            receivers.sort_unstable();
            receivers.dedup();
        }
        self.publish(&receivers, Some(user), |state, viewer| {
            let channel = channel.and_then(|key| state.channels.get(key));
            frame(&BanEvent {
                kind,
                user: state.view(user, viewer, UserShape::Common),
                cid: channel.map(|channel| &*channel.cid),
                channel_type: channel.map(|channel| channel.channel_type.as_str()),
                channel_id: channel.map(|channel| channel.id.as_str()),
                created_by: ban
                    .and_then(|ban| ban.by)
                    .filter(|by| state.users.get(*by).is_some())
                    .map(|by| state.view(by, viewer, UserShape::Common)),
                reason: ban.and_then(|ban| ban.reason.as_deref()),
                expiration: ban.and_then(|ban| ban.expires).map(Rfc3339),
                shadow: ban.is_some_and(|ban| ban.shadow),
                created_at: Rfc3339(now),
            })
        });
    }

    /// `GET /query_banned_users`. Filters other than by channel and user are not emulated.
    pub(crate) fn query_banned_users(
        &self,
        actor: &Actor,
        filter: &Map<String, Value>,
    ) -> Result<Reply, Rejection> {
        let mut wanted = Vec::new();
        for (field, condition) in filter {
            let values = match condition {
                Value::String(value) => vec![value.clone()],
                Value::Object(condition) => condition
                    .get("$in")
                    .or_else(|| condition.get("$eq"))
                    .and_then(|values| match values {
                        Value::String(value) => Some(vec![value.clone()]),
                        values => serde_json::from_value(values.clone()).ok(),
                    })
                    .ok_or_else(|| unsupported(field))?,
                _ => return Err(unsupported(field)),
            };
            match field.as_str() {
                "channel_cid" | "user_id" | "reason" | "banned_by_id" => {
                    wanted.push((field.as_str(), values));
                }
                _ => return Err(unsupported(field)),
            }
        }
        let names_channel = wanted.iter().any(|(field, _)| *field == "channel_cid");
        if !names_channel {
            actor.server_only()?;
        }
        let viewer = actor.viewer();
        let mut bans = Vec::new();
        for (user, relations) in &self.relations {
            let Some(banned) = self.users.get(*user) else {
                continue;
            };
            for (key, ban) in &relations.bans {
                let channel = key.and_then(|key| self.channels.get(key));
                let fits = wanted.iter().all(|(field, values)| {
                    let value = match *field {
                        "user_id" => Some(&*banned.id),
                        "reason" => ban.reason.as_deref(),
                        "banned_by_id" => {
                            ban.by.and_then(|by| self.users.get(by)).map(|by| &*by.id)
                        }
                        _ => channel.map(|channel| &*channel.cid),
                    };
                    value.is_some_and(|value| values.iter().any(|wanted| wanted == value))
                });
                if !fits || channel.is_some_and(|channel| !self.may_read(actor, channel)) {
                    continue;
                }
                let by = ban.by.filter(|by| self.users.get(*by).is_some());
                let mut entry = json!({
                    "user": self.view(*user, viewer, UserShape::Common),
                    "created_at": Rfc3339(ban.at),
                    "shadow": ban.shadow,
                    "banned_by": by.map(|by| self.view(by, viewer, UserShape::Common)),
                });
                if let Some(channel) = channel {
                    entry["channel"] = json!(self.channel_view(actor, channel));
                }
                if let Some(at) = ban.expires {
                    entry["expires"] = json!(Rfc3339(at));
                }
                if let Some(reason) = &ban.reason {
                    entry["reason"] = json!(reason);
                }
                bans.push(entry);
            }
        }
        Ok(Reply::new(&json!({ "bans": bans })))
    }

    /// Whether a user may not write into a channel at a time.
    pub(crate) fn is_banned(&self, user: UserKey, key: ChannelKey, now: DateTime<Utc>) -> bool {
        self.bans_here(user, key, now).any(|ban| !ban.shadow)
    }

    /// Whether only the user sees what they write into a channel at a time.
    pub(crate) fn is_shadow_banned(
        &self,
        user: UserKey,
        key: ChannelKey,
        now: DateTime<Utc>,
    ) -> bool {
        self.bans_here(user, key, now).any(|ban| ban.shadow)
    }

    fn bans_here(
        &self,
        user: UserKey,
        key: ChannelKey,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = &Ban> {
        [None, Some(key)]
            .into_iter()
            .filter_map(move |channel| self.ban(user, channel))
            .filter(move |ban| ban.expires.is_none_or(|at| at > now))
    }
}

fn unsupported(field: &str) -> Rejection {
    Rejection::input(format!(
        "filter_conditions: only channel_cid, user_id, reason and banned_by_id with $eq or $in can be used here, not {field:?}"
    ))
}

/// The time in some minutes, if there is a limit.
fn expiry(now: DateTime<Utc>, minutes: Option<i64>) -> Result<Option<DateTime<Utc>>, Rejection> {
    match minutes {
        None | Some(0) => Ok(None),
        Some(minutes) => after(now, TimeDelta::try_minutes(minutes)),
    }
}

fn after(now: DateTime<Utc>, span: Option<TimeDelta>) -> Result<Option<DateTime<Utc>>, Rejection> {
    span.filter(|span| *span > TimeDelta::zero())
        .and_then(|span| now.checked_add_signed(span))
        .map(|at| Some(stored(at)))
        .ok_or_else(|| Rejection::field("timeout", "must be positive"))
}
