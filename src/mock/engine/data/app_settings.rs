//! The settings of the application. Presence and tokens depend on some of them; the others are only stored.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::rfc3339::Rfc3339;

/// The settings of the application.
#[derive(Debug, Clone)]
pub(crate) struct AppSettings {
    /// Whether development tokens are accepted.
    pub(crate) disable_auth_checks: bool,
    /// Whether permissions of clients are not checked.
    pub(crate) disable_permissions_checks: bool,
    /// Whether guest users are refused.
    pub(crate) guest_user_creation_disabled: bool,
    /// While this is set, all user tokens are refused.
    pub(crate) revoke_tokens_issued_before: Option<DateTime<Utc>>,
    pub(crate) others: Map<String, Value>,
}

impl AppSettings {
    pub(crate) fn new(development_tokens: bool) -> Self {
        Self {
            disable_auth_checks: development_tokens,
            disable_permissions_checks: false,
            guest_user_creation_disabled: false,
            revoke_tokens_issued_before: None,
            others: Map::new(),
        }
    }
}

impl AppSettings {
    /// Whether the application is multi-tenant: users and channels belong to teams that do not see each other.
    pub(crate) fn is_multi_tenant(&self) -> bool {
        self.others.get("multi_tenant_enabled") == Some(&Value::Bool(true))
    }
}

/// The settings, as a viewer sees them.
pub(crate) struct AppSettingsView<'a> {
    pub(crate) app: &'a AppSettings,
    pub(crate) server: bool,
}

impl Serialize for AppSettingsView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let app = self.app;
        let uploads = json!({
            "allowed_file_extensions": [],
            "blocked_file_extensions": [],
            "allowed_mime_types": [],
            "blocked_mime_types": [],
            "size_limit": 0,
        });
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &1)?;
        map.serialize_entry("name", "mock")?;
        map.serialize_entry("placement", "local")?;
        for off in ["async_url_enrich_enabled", "auto_translation_enabled"] {
            if !app.others.contains_key(off) {
                map.serialize_entry(off, &false)?;
            }
        }
        for config in ["file_upload_config", "image_upload_config"] {
            if !app.others.contains_key(config) {
                map.serialize_entry(config, &uploads)?;
            }
        }
        if self.server {
            map.serialize_entry("disable_auth_checks", &app.disable_auth_checks)?;
            map.serialize_entry(
                "disable_permissions_checks",
                &app.disable_permissions_checks,
            )?;
            map.serialize_entry(
                "guest_user_creation_disabled",
                &app.guest_user_creation_disabled,
            )?;
            map.serialize_entry(
                "revoke_tokens_issued_before",
                &app.revoke_tokens_issued_before.map(Rfc3339),
            )?;
            for (name, value) in &app.others {
                map.serialize_entry(name, value)?;
            }
        } else {
            for shown in [
                "async_url_enrich_enabled",
                "auto_translation_enabled",
                "file_upload_config",
                "image_upload_config",
            ] {
                if let Some(value) = app.others.get(shown) {
                    map.serialize_entry(shown, value)?;
                }
            }
        }
        map.end()
    }
}
