//! `PUT /channels/batch`: one change to the members of many channels.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::mock::engine::data::requests::{
    ChannelBatchRequest, ChannelRef, Reply, UpdateChannelRequest, split_cid,
};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::{Rejection, shortened};

impl ServiceState {
    /// Changes the members of every channel that the filter names, and answers with a task.
    pub(crate) fn update_channels_batch(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &ChannelBatchRequest,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let mut change = UpdateChannelRequest::default();
        let list = match request.operation.as_str() {
            "addMembers" => &mut change.add_members,
            "removeMembers" => &mut change.remove_members,
            "inviteMembers" => &mut change.invites,
            "assignRoles" => &mut change.assign_roles,
            "addModerators" => &mut change.add_moderators,
            "demoteModerators" => &mut change.demote_moderators,
            other => {
                return Err(Rejection::not_found(format!(
                    "the batch operation {:?} is not emulated",
                    shortened(other)
                )));
            }
        };
        list.clone_from(&request.members);
        let cids = self.batch_channels(&request.filter)?;
        let mut result = Map::new();
        for cid in cids {
            let (channel_type, id) = split_cid(&cid);
            let name = ChannelRef {
                channel_type: channel_type.to_owned(),
                id: id.to_owned(),
            };
            let status = match self.update_channel(now, actor, &name, change.clone()) {
                Ok(_) => json!({"status": "ok"}),
                Err(reject) => json!({"status": "error", "error": reject.detail}),
            };
            result.insert(cid, status);
        }
        let task = self.complete_task(now, result.into());
        Ok(Self::task_started(&task))
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
