//! Operations on the settings of the application.

use chrono::DateTime;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::mock::engine::data::app_settings::{AppSettings, AppSettingsView};
use crate::mock::engine::data::requests::{JsonObject, Reply};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::Rejection;

/// Settings that only the service changes. Clients send them back with the others, which has no effect.
const READ_ONLY: &[&str] = &[
    "id",
    "name",
    "placement",
    "created_at",
    "updated_at",
    "duration",
];

impl ServiceState {
    /// The settings.
    pub(crate) const fn app(&self) -> &AppSettings {
        &self.app
    }

    /// `GET /app`.
    pub(crate) fn get_app(&self, actor: &Actor) -> Reply {
        #[derive(Serialize)]
        struct AppResponse<'a> {
            app: AppSettingsView<'a>,
        }
        Reply::new(&AppResponse {
            app: AppSettingsView {
                app: &self.app,
                server: actor.server,
            },
        })
    }

    /// `PATCH /app`.
    pub(crate) fn update_app(
        &mut self,
        actor: &Actor,
        settings: JsonObject,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let mut next = self.app.clone();
        for (name, value) in settings {
            let flag = |value: &Value| {
                value
                    .as_bool()
                    .ok_or_else(|| Rejection::field(name.clone(), "must be a boolean"))
            };
            match name.as_str() {
                "disable_auth_checks" => next.disable_auth_checks = flag(&value)?,
                "disable_permissions_checks" => next.disable_permissions_checks = flag(&value)?,
                "guest_user_creation_disabled" => next.guest_user_creation_disabled = flag(&value)?,
                "revoke_tokens_issued_before" => {
                    next.revoke_tokens_issued_before = match &value {
                        Value::Null => None,
                        Value::String(time) => Some(
                            DateTime::parse_from_rfc3339(time)
                                .map_err(|_| Rejection::field(name.clone(), "must be a time"))?
                                .to_utc(),
                        ),
                        _ => return Err(Rejection::field(name, "must be a time")),
                    }
                }
                read_only if READ_ONLY.contains(&read_only) => {}
                _ => {
                    next.others.insert(name, value);
                }
            }
        }
        self.app = next;
        Ok(Reply::new(&Map::new()))
    }
}
