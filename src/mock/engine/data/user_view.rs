//! A user, as each viewer sees them, in responses, events and queries.
//!
//! The rule about visibility is here: to everybody except themself, an invisible user is offline.

use chrono::{DateTime, Utc};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::mock::engine::data::filter::{FieldType, FieldValue, FilterRow, custom};
use crate::mock::engine::data::rfc3339::{Rfc3339, stored};
use crate::mock::engine::data::slots::UserKey;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::{StoredUser, UserShape, Viewer};
use crate::mock::error::Rejection;
use crate::mock::options::InvisibleField;

/// A user, as a viewer sees them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserView<'a> {
    pub(crate) user: &'a StoredUser,
    pub(crate) key: UserKey,
    pub(crate) viewer: Viewer,
    pub(crate) shape: UserShape,
    pub(crate) state: &'a ServiceState,
}

impl UserView<'_> {
    fn is_own(&self) -> bool {
        self.viewer == Viewer::User(self.key)
    }

    pub(crate) fn online(&self) -> bool {
        if self.is_own() && self.state.rules.me_online_while_invisible {
            self.user.is_connected()
        } else {
            self.user.is_visibly_online()
        }
    }

    /// The service stores it with microseconds. Nanoseconds are in what a connect causes: `me`, and the presence event.
    fn last_active(&self) -> Option<DateTime<Utc>> {
        let hidden = self.user.profile.invisible
            && self.state.rules.freeze_last_active_while_invisible
            && self.viewer != Viewer::Server
            && !self.is_own();
        let time = if hidden {
            self.user.shown_last_active
        } else {
            self.user.last_active
        };
        match self.shape {
            UserShape::Own | UserShape::JustActive => time,
            UserShape::Common | UserShape::Updated | UserShape::Full => time.map(stored),
        }
    }

    fn invisible(&self) -> Option<bool> {
        let truth = self.user.profile.invisible;
        if self.viewer == Viewer::Server || self.is_own() {
            Some(truth)
        } else {
            match self.state.rules.others_see_invisible {
                InvisibleField::Omit => None,
                InvisibleField::AlwaysFalse => Some(false),
                InvisibleField::Truth => Some(truth),
            }
        }
    }
}

impl ServiceState {
    /// A user, as a viewer sees them.
    ///
    /// # Panics
    ///
    /// The user does not exist. Callers look up keys of users that may be deleted first.
    pub(in crate::mock::engine) fn view(
        &self,
        key: UserKey,
        viewer: Viewer,
        shape: UserShape,
    ) -> UserView<'_> {
        UserView {
            user: self.users.get(key).expect("a key in use leads to a user"),
            key,
            viewer,
            shape,
            state: self,
        }
    }
}

impl Serialize for UserView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let user = self.user;
        let profile = &user.profile;
        let knows_all = self.is_own() || self.viewer == Viewer::Server;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &*user.id)?;
        map.serialize_entry("role", &profile.role)?;
        if let Some(name) = &profile.name {
            map.serialize_entry("name", name)?;
        }
        if let Some(image) = &profile.image {
            map.serialize_entry("image", image)?;
        }
        for (field, value) in profile.custom() {
            map.serialize_entry(field, value)?;
        }
        map.serialize_entry("language", profile.language())?;
        map.serialize_entry("teams", profile.teams())?;
        if let Some(roles) = profile.teams_role() {
            map.serialize_entry("teams_role", roles)?;
        }
        map.serialize_entry("created_at", &Rfc3339(user.created_at))?;
        map.serialize_entry("updated_at", &Rfc3339(user.updated_at))?;
        if let Some(time) = self.last_active() {
            map.serialize_entry("last_active", &Rfc3339(time))?;
        }
        if let Some(time) = user.deactivated_at {
            map.serialize_entry("deactivated_at", &Rfc3339(time))?;
        }
        if let Some(time) = user.deleted_at {
            map.serialize_entry("deleted_at", &Rfc3339(time))?;
        }
        let ban = self.state.ban(self.key, None);
        map.serialize_entry("banned", &ban.is_some_and(|ban| !ban.shadow))?;
        map.serialize_entry("online", &self.online())?;
        let blocked = if knows_all {
            self.state.blocked_ids(self.key)
        } else {
            Vec::new()
        };
        map.serialize_entry("blocked_user_ids", &blocked)?;
        if let Some(invisible) = self.invisible() {
            map.serialize_entry("invisible", &invisible)?;
        }
        let is_common = matches!(self.shape, UserShape::Common | UserShape::JustActive);
        if !is_common && knows_all {
            if let Some(settings) = profile.privacy_settings() {
                map.serialize_entry("privacy_settings", settings)?;
            }
            if let Some(time) = profile.revoke_tokens_issued_before() {
                map.serialize_entry("revoke_tokens_issued_before", &Rfc3339(time))?;
            }
        }
        if matches!(self.shape, UserShape::Full | UserShape::Own) {
            map.serialize_entry("shadow_banned", &ban.is_some_and(|ban| ban.shadow))?;
            if knows_all {
                let relations = self.state.relations.get(&self.key);
                let devices = relations.map(|relations| relations.devices.as_slice());
                map.serialize_entry("devices", devices.unwrap_or_default())?;
                map.serialize_entry("mutes", &self.state.mutes_of(self.key, self.viewer))?;
                let channels = self.state.channel_mutes_of(self.key, self.viewer);
                map.serialize_entry("channel_mutes", &channels)?;
            } else {
                for list in ["devices", "mutes", "channel_mutes"] {
                    map.serialize_entry(list, &[(); 0])?;
                }
            }
            for (field, count) in &self.state.unread_counts(self.key) {
                map.serialize_entry(field, count)?;
            }
            let threads = self.state.unread_threads(self.key);
            map.serialize_entry("unread_threads", &threads.len())?;
        }
        map.end()
    }
}

impl FilterRow for UserView<'_> {
    fn field(&self, name: &str) -> FieldValue<'_> {
        let user = self.user;
        let profile = &user.profile;
        let time = |time: Option<DateTime<Utc>>| time.map_or(FieldValue::Missing, FieldValue::Time);
        match name {
            "id" => FieldValue::Text(&user.id),
            "name" => text(profile.name.as_deref()),
            "image" => text(profile.image.as_deref()),
            "role" => FieldValue::Text(&profile.role),
            "language" => FieldValue::Text(profile.language()),
            "teams" => FieldValue::Texts(profile.teams().iter().map(String::as_str).collect()),
            "banned" | "shadow_banned" => FieldValue::Flag(
                self.state
                    .ban(self.key, None)
                    .is_some_and(|ban| ban.shadow == (name == "shadow_banned")),
            ),
            "created_at" => FieldValue::Time(user.created_at),
            "updated_at" => FieldValue::Time(user.updated_at),
            "deactivated_at" => time(user.deactivated_at),
            "last_active" => time(self.last_active()),
            other => custom(profile.custom(), other),
        }
    }
}

fn text(text: Option<&str>) -> FieldValue<'_> {
    text.map_or(FieldValue::Missing, FieldValue::Text)
}

/// The fields of users that filters know.
pub(crate) fn schema(field: &str) -> Result<Option<FieldType>, Rejection> {
    Ok(match field {
        "id" | "name" | "image" | "role" | "language" => Some(FieldType::Text),
        "teams" => Some(FieldType::Texts),
        "banned" | "shadow_banned" => Some(FieldType::Flag),
        "created_at" | "updated_at" | "deactivated_at" | "last_active" => Some(FieldType::Time),
        "online" | "invisible" => {
            return Err(Rejection::input(format!(
                "filter_conditions: users cannot be filtered by {field:?}"
            )));
        }
        _ => None,
    })
}
