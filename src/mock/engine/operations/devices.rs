//! Operations on a user's devices, unread counts, and the export of a user.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::mock::engine::data::message_view::MessageView;
use crate::mock::engine::data::relations::Device;
use crate::mock::engine::data::requests::{CreateDeviceRequest, Reply, UserIdsRequest};
use crate::mock::engine::data::rfc3339::{Rfc3339, or_never, stored};
use crate::mock::engine::data::slots::UserKey;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::{UserShape, Viewer};
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::{Rejection, shortened};

/// The kinds of push notifications.
const PUSH_PROVIDERS: &[&str] = &["apn", "firebase", "huawei", "xiaomi"];

impl ServiceState {
    /// `POST /devices`.
    pub(crate) fn create_device(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: CreateDeviceRequest,
    ) -> Result<Reply, Rejection> {
        let user = self.acting_user(actor)?;
        if request.id.is_empty() {
            return Err(Rejection::input("id is a required field"));
        }
        if !PUSH_PROVIDERS.contains(&request.push_provider.as_str()) {
            return Err(Rejection::field(
                "push_provider",
                "must be one of apn, firebase, huawei, xiaomi",
            ));
        }
        let device = Device {
            id: request.id,
            push_provider: request.push_provider,
            push_provider_name: request.push_provider_name.filter(|name| !name.is_empty()),
            user_id: actor.id.clone().unwrap_or_default(),
            created_at: Rfc3339(stored(now)),
        };
        let devices = &mut self.relations_mut(user).devices;
        devices.retain(|known| known.id != device.id);
        devices.push(device);
        Ok(Reply::new(&Map::new()))
    }

    /// `GET /devices`.
    pub(crate) fn list_devices(&self, actor: &Actor) -> Result<Reply, Rejection> {
        let user = self.acting_user(actor)?;
        let devices = self.relations.get(&user).map(|own| own.devices.as_slice());
        Ok(Reply::new(&json!({"devices": devices.unwrap_or_default()})))
    }

    /// `DELETE /devices`.
    pub(crate) fn delete_device(&mut self, actor: &Actor, id: &str) -> Result<Reply, Rejection> {
        let user = self.acting_user(actor)?;
        let devices = &mut self.relations_mut(user).devices;
        let before = devices.len();
        devices.retain(|device| device.id != id);
        if devices.len() == before {
            return Err(Rejection::not_found(format!(
                "device {:?} was not found",
                shortened(id)
            )));
        }
        Ok(Reply::new(&Map::new()))
    }

    /// `GET /unread`.
    pub(crate) fn get_unread_counts(&self, actor: &Actor) -> Result<Reply, Rejection> {
        let user = self.acting_user(actor)?;
        Ok(Reply::new(&self.unread_report(user)))
    }

    /// `POST /unread_batch`. Omits users whose channels have never had a message.
    pub(crate) fn get_unread_counts_of(
        &self,
        actor: &Actor,
        request: &UserIdsRequest,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let mut counts = Map::new();
        for id in &request.user_ids {
            if let Some((key, user)) = self.user(id)
                && user
                    .memberships
                    .iter()
                    .filter_map(|channel| self.channels.get(*channel))
                    .any(|channel| channel.messages.last_sequence() > 0)
            {
                counts.insert(id.clone(), self.unread_report(key));
            }
        }
        Ok(Reply::new(&json!({ "counts_by_user": counts })))
    }

    fn unread_report(&self, user: UserKey) -> Value {
        let channels = self.unread_channels(user);
        let total: usize = channels.iter().map(|(_, unread)| unread).sum();
        let mut types: Map<String, Value> = Map::new();
        for (channel, unread) in &channels {
            let entry = types
                .entry(channel.channel_type.clone())
                .or_insert_with(|| json!({"channel_type": channel.channel_type, "channel_count": 0, "unread_count": 0}));
            for (field, more) in [("channel_count", 1), ("unread_count", *unread)] {
                let sum = entry[field].as_u64().unwrap_or(0) + more as u64;
                entry[field] = sum.into();
            }
        }
        let listed: Vec<Value> = channels
            .iter()
            .map(|(channel, unread)| {
                let member = channel.members.get(user);
                let last_read = or_never(member.and_then(|member| member.last_read));
                json!({"channel_id": &*channel.cid, "unread_count": unread, "last_read": last_read})
            })
            .collect();
        let threads: Vec<Value> = self
            .unread_threads(user)
            .iter()
            .map(|thread| {
                let last_read = thread.last_read();
                json!({
                    "parent_message_id": thread.parent.id,
                    "unread_count": thread.unread,
                    "last_read": or_never(last_read.map(|reply| reply.created_at)),
                    "last_read_message_id": last_read.map_or("", |reply| &reply.id),
                })
            })
            .collect();
        json!({
            "total_unread_count": total,
            "total_unread_threads_count": threads.len(),
            "channels": listed,
            "channel_type": types.values().collect::<Vec<_>>(),
            "threads": threads,
        })
    }

    /// `GET /users/{id}/export`.
    pub(crate) fn export_user(&self, actor: &Actor, id: &str) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let user = self.require_user(id)?;
        let messages: Vec<MessageView<'_>> = self
            .channels
            .iter()
            .flat_map(|(_, channel)| {
                channel
                    .messages
                    .iter()
                    .filter(|message| message.user == user)
                    .map(|message| MessageView {
                        state: self,
                        channel,
                        message,
                        viewer: Viewer::Server,
                    })
            })
            .collect();
        Ok(Reply::new(&json!({
            "user": self.view(user, Viewer::Server, UserShape::Full),
            "messages": messages,
            "reactions": [],
        })))
    }
}
