//! `PUT /channels/batch`: one change to the members of many channels, or for members.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::mock::engine::data::requests::{
    ChannelBatchRequest, ChannelRef, PartialUpdateRequest, Reply, UpdateChannelRequest, UserRef,
    split_cid,
};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::{Rejection, shortened};

/// The change of one channel.
#[derive(Debug)]
enum BatchChange {
    /// Its members change.
    Members(Box<UpdateChannelRequest>),
    /// Members hide it, or show it again.
    Hidden(bool),
    /// Members archive it, or take it back.
    Archived(bool),
}

impl ServiceState {
    /// Changes the members of every channel that the filter names, and answers with a task.
    pub(crate) fn update_channels_batch(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &ChannelBatchRequest,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let mut update = UpdateChannelRequest::default();
        let list = match request.operation.as_str() {
            "addMembers" => &mut update.add_members,
            "removeMembers" => &mut update.remove_members,
            "inviteMembers" => &mut update.invites,
            "assignRoles" => &mut update.assign_roles,
            "addModerators" => &mut update.add_moderators,
            "demoteModerators" => &mut update.demote_moderators,
            "hide" | "show" | "archive" | "unarchive" => &mut Vec::new(),
            other => {
                return Err(Rejection::not_found(format!(
                    "the batch operation {:?} is not emulated",
                    shortened(other)
                )));
            }
        };
        list.clone_from(&request.members);
        let change = match request.operation.as_str() {
            "hide" => BatchChange::Hidden(true),
            "show" => BatchChange::Hidden(false),
            "archive" => BatchChange::Archived(true),
            "unarchive" => BatchChange::Archived(false),
            _ => BatchChange::Members(Box::new(update)),
        };
        let cids = self.batch_channels(&request.filter)?;
        let mut result = Map::new();
        for cid in cids {
            let (channel_type, id) = split_cid(&cid);
            let name = ChannelRef {
                channel_type: channel_type.to_owned(),
                id: id.to_owned(),
            };
            let status = match self.change_in_batch(now, actor, &name, &change, &request.members) {
                Ok(()) => json!({"status": "ok"}),
                Err(reject) => json!({"status": "error", "error": reject.detail}),
            };
            result.insert(cid, status);
        }
        let task = self.complete_task(now, result.into());
        Ok(Self::task_started(&task))
    }

    fn change_in_batch(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        change: &BatchChange,
        members: &[UserRef],
    ) -> Result<(), Rejection> {
        match change {
            BatchChange::Members(update) => {
                self.update_channel(now, actor, name, (**update).clone())?;
            }
            BatchChange::Hidden(hidden) => {
                for member in members {
                    let key = self.require_user(member.id()?)?;
                    let member = Actor {
                        id: Some(member.id()?.to_owned()),
                        user: Some(key),
                        ..actor.clone()
                    };
                    self.set_hidden(now, &member, name, *hidden, false)?;
                }
            }
            BatchChange::Archived(archived) => {
                let set = Map::from_iter([("archived".to_owned(), Value::Bool(*archived))]);
                let update = PartialUpdateRequest {
                    set,
                    ..PartialUpdateRequest::default()
                };
                for member in members {
                    self.update_member_partial(now, actor, name, member.id()?, &update)?;
                }
            }
        }
        Ok(())
    }

    /// The channels that a batch is about: by `cids` or by `types`.
    fn batch_channels(&self, filter: &Map<String, Value>) -> Result<Vec<String>, Rejection> {
        let values = |field: &str| -> Result<Option<Vec<String>>, Rejection> {
            let Some(condition) = filter.get(field) else {
                return Ok(None);
            };
            let list = condition.get("$in").unwrap_or(condition);
            serde_json::from_value(list.clone())
                .map(Some)
                .map_err(|_| Rejection::field(format!("filter.{field}"), "must be a list"))
        };
        let (cids, types) = (values("cids")?, values("types")?);
        if cids.is_none() && types.is_none() {
            return Err(Rejection::input("filter.cids is a required field"));
        }
        Ok(match cids {
            Some(cids) => cids,
            None => self
                .channels
                .iter()
                .map(|(_, channel)| channel)
                .filter(|channel| {
                    types
                        .as_ref()
                        .is_some_and(|types| types.contains(&channel.channel_type))
                })
                .map(|channel| channel.cid.to_string())
                .collect(),
        })
    }
}
