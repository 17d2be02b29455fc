//! Ends mutes, bans and pins at their expiry. No event says so: clients compare the expiry with their own clock.

use chrono::{DateTime, Utc};

use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::timers::{ExpiringEntry, Timer};

impl ServiceState {
    /// Lets an entry end at a time, if there is one.
    pub(crate) fn set_expiry(&mut self, expires: Option<DateTime<Utc>>, entry: ExpiringEntry) {
        if let Some(at) = expires {
            self.timers.set(at, Timer::Expiry(entry));
        }
    }

    /// Ends an entry, unless its expiry has changed since the timer was set.
    pub(crate) fn end_expired(&mut self, at: DateTime<Utc>, entry: ExpiringEntry) {
        match entry {
            ExpiringEntry::UserMute(user, target) => {
                if let Some(relations) = self.relations.get_mut(&user) {
                    let mutes = &mut relations.mutes;
                    mutes.retain(|muted, mute| *muted != target || mute.expires != Some(at));
                }
            }
            ExpiringEntry::ChannelMute(key, user) => {
                if let Some(channel) = self.channels.get_mut(key) {
                    let mutes = &mut channel.muted_by;
                    mutes.retain(|muter, mute| *muter != user || mute.expires != Some(at));
                }
            }
            ExpiringEntry::Ban(user, channel) => {
                if let Some(relations) = self.relations.get_mut(&user) {
                    let bans = &mut relations.bans;
                    bans.retain(|scope, ban| *scope != channel || ban.expires != Some(at));
                }
            }
            ExpiringEntry::Pin(key, sequence) => {
                if let Some(channel) = self.channels.get_mut(key)
                    && let Some(message) = channel.messages.at_mut(sequence)
                    && message.pin.is_some_and(|pin| pin.expires == Some(at))
                {
                    message.pin = None;
                }
            }
        }
    }
}
