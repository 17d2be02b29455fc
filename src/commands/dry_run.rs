//! `--dry-run`: what would be sent, as records, instead of sending it.
//!
//! Reading is done for real, since what would be changed depends on what is there. A plan holds method, path, body and
//! the budget that the call counts against; credentials are no part of it.

use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::Value;

use crate::app::App;
use crate::exit::Failure;
use crate::output::{Column, Rows};

/// A request that is not sent.
#[derive(Debug)]
pub struct PlannedRequest {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with its query where it has one.
    pub path: String,
    /// The body.
    pub body: Value,
}

impl PlannedRequest {
    /// The endpoint whose budget the call counts against, as `limits` calls it; `None` for a call that is not known here.
    fn endpoint(&self) -> Option<&'static str> {
        let path = self.path.split('?').next().unwrap_or_default();
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        Some(match (self.method, segments.as_slice()) {
            ("GET", ["connect"]) => "Connect",
            ("POST", ["users"]) => "UpdateUsers",
            ("PATCH", ["users"]) => "UpdateUsersPartial",
            ("POST", ["users", _, "deactivate"]) => "DeactivateUser",
            ("POST", ["users", _, "reactivate"]) => "ReactivateUser",
            ("DELETE", ["users", _]) => "DeleteUser",
            ("POST", ["users", "delete"]) => "DeleteUsers",
            ("POST", ["channels"]) => "QueryChannels",
            ("POST", ["channels", .., "query"]) => "GetOrCreateChannel",
            ("POST", ["channels", _, _]) => "UpdateChannel",
            ("PATCH", ["channels", _, _]) => "UpdateChannelPartial",
            ("DELETE", ["channels", _, _]) => "DeleteChannel",
            _ => return None,
        })
    }
}

impl Serialize for PlannedRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("PlannedRequest", 5)?;
        fields.serialize_field("method", self.method)?;
        fields.serialize_field("path", &self.path)?;
        fields.serialize_field("endpoint", &self.endpoint())?;
        fields.serialize_field("calls", &1)?;
        fields.serialize_field("body", &self.body)?;
        fields.end()
    }
}

/// Where planned requests are written.
///
/// # Errors
///
/// `--columns` names no column, or asked for the list of them.
pub fn rows(app: &App) -> Result<Rows<'_>, Failure> {
    app.output()
        .rows(&["method", "path", "endpoint", "calls", "body"].map(Column::plain))
}
