//! Error reporting: the exit code, the hint and the stderr text of an error.
//!
//! [`code_of`] is the only place where an error becomes a number. It searches the chain of causes for the types that
//! carry a meaning, so that context can be added freely on the way up.

use std::fmt;
use std::io;

use serde::Serialize;

use crate::api::retry::error_chain;
use crate::api::{ApiError, NoTls, TransportKind};
use crate::domain::ApiErrorCode;
use crate::escape;
use crate::events::WatchError;
use crate::exit::{Code, Failure, HintedError};

/// An error as the user sees it: fields for JSON, text through `Display`.
#[derive(Debug, Serialize)]
pub struct ErrorReport {
    /// The name of the exit code.
    pub kind: &'static str,
    /// The message, with its causes.
    pub message: String,
    /// The exit code.
    pub exit_code: u8,
    /// The service's error code, if there is one.
    pub api_code: Option<ApiErrorCode>,
    /// What to type, if there is a hint.
    pub hint: Option<String>,
}

impl ErrorReport {
    /// Collects exit code, message and hint of an error.
    pub fn of(error: &anyhow::Error) -> Self {
        let code = code_of(error);
        Self {
            kind: code.kind(),
            message: error_chain(error.as_ref()),
            exit_code: code.number(),
            api_code: error
                .chain()
                .find_map(|cause| cause.downcast_ref::<ApiError>())
                .and_then(ApiError::api_code),
            hint: hint_of(error),
        }
    }
}

impl fmt::Display for ErrorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "presencectl: {}", escape::message(&self.message))?;
        if let Some(hint) = &self.hint {
            writeln!(f, "hint: {}", escape::message(hint))?;
        }
        Ok(())
    }
}

/// The exit code of an error.
///
/// If a cause is a broken pipe, the reader has closed stdout, and the code is 0.
pub fn code_of(error: &anyhow::Error) -> Code {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.code;
        }
        if let Some(error) = cause.downcast_ref::<ApiError>() {
            return code_of_api(error);
        }
        if let Some(WatchError::Lost(_)) = cause.downcast_ref::<WatchError>() {
            return Code::StreamLost;
        }
        if let Some(error) = cause.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return Code::Ok;
        }
    }
    Code::Unexpected
}

/// The exit code of an error of the API layer.
fn code_of_api(error: &ApiError) -> Code {
    match error {
        ApiError::Refused(refusal) => match refusal.code {
            code if code.is_authentication() => Code::NotAuthenticated,
            ApiErrorCode::RateLimited => Code::RateLimited,
            _ => Code::Refused,
        },
        ApiError::RateLimited { .. } => Code::RateLimited,
        ApiError::Unreadable { .. } | ApiError::ResponseTooLarge { .. } => Code::Refused,
        ApiError::Insecure { .. } | ApiError::UrlTooLong { .. } => Code::Usage,
        ApiError::Transport { kind, .. } => match kind {
            TransportKind::Connect => Code::CannotConnect,
            TransportKind::Timeout => Code::TimedOut,
            TransportKind::Broken => Code::CannotConnect,
        },
    }
}

/// The hint for an error, if there is one.
pub fn hint_of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            failure.hint.clone()
        } else if let Some(error) = cause.downcast_ref::<HintedError>() {
            Some(error.hint.clone())
        } else {
            let api = cause.downcast_ref::<ApiError>().and_then(hint_of_api);
            api.or_else(|| cause.downcast_ref::<io::Error>().and_then(hint_of_io))
        }
    })
}

fn hint_of_io(error: &io::Error) -> Option<String> {
    (error.kind() == io::ErrorKind::StorageFull)
        .then(|| "free some space on the device, or write to another one".to_owned())
}

fn hint_of_api(error: &ApiError) -> Option<String> {
    let hint = match error {
        ApiError::Refused(refusal)
            if refusal.code != ApiErrorCode::InvalidApiKey
                && refusal.message.contains("was deleted") =>
        {
            "restore the user: presencectl restore-user ID; or connect as another user: --as OTHER"
        }
        ApiError::Refused(refusal)
            if refusal.code.is_authentication()
                && refusal.code != ApiErrorCode::InvalidApiKey
                && refusal.message.contains("deactivated") =>
        {
            "reactivate the user: presencectl reactivate-user ID; or connect as another user"
        }
        ApiError::Refused(refusal) if refusal.message.contains("team filter") => {
            "name the team: --team TEAM"
        }
        ApiError::Refused(refusal) => match refusal.code {
            ApiErrorCode::InvalidApiKey => "check the API key: STREAM_API_KEY, or --profile",
            ApiErrorCode::Unauthenticated | ApiErrorCode::TokenSignatureInvalid => {
                "check that the secret belongs to the API key: STREAM_API_SECRET, or --profile"
            }
            ApiErrorCode::TokenExpired => {
                "get a fresh token: presencectl token create ID --ttl 1h; where they are signed here, look for a clock \
                 that is wrong (presencectl doctor) or tokens that were revoked"
            }
            ApiErrorCode::TokenNotYetValid | ApiErrorCode::TokenIssuedInFuture => {
                "compare the clocks: presencectl doctor; set the one that is wrong, or sign with an earlier `iat`, as \
                 presencectl token create ID --ttl 1h does"
            }
            ApiErrorCode::NotFound if refusal.message.to_lowercase().contains("channel") => {
                "list channels: presencectl query-channels"
            }
            ApiErrorCode::NotFound => "list users: presencectl query-users",
            ApiErrorCode::NotAllowed if refusal.message.contains("server side") => {
                "use the API secret (STREAM_API_SECRET, or --profile), without --as and without a user token"
            }
            ApiErrorCode::NotAllowed => {
                "use the API secret instead of a user token or --as, or act as another user: --as USER"
            }
            _ => return None,
        },
        ApiError::RateLimited { .. } => {
            "wait a minute, or allow more patience: --retry 10 --timeout 5m"
        }
        ApiError::Unreadable { .. } => {
            "check the address: --base-url or STREAM_CHAT_URL; a proxy may have answered"
        }
        ApiError::ResponseTooLarge { .. } => {
            "ask for less at a time; `presencectl api` takes --max-response SIZE"
        }
        ApiError::UrlTooLong { .. } => "shorten the filter, or name fewer ids in it",
        ApiError::Insecure { .. } => {
            "write https:// in --base-url or STREAM_CHAT_URL; for a mock on a network you trust: --allow-http"
        }
        ApiError::Transport { source, .. } if source.is::<NoTls>() => {
            "write http:// instead of https:// in --base-url or STREAM_CHAT_URL, or name the https port"
        }
        ApiError::Transport { .. } if error.is_issuer_unknown() => {
            "trust the CA that has signed the certificate: SSL_CERT_FILE=FILE; a mock with --tls prints the file as `ca_file`"
        }
        ApiError::Transport { .. } if error.is_answer_not_http() => {
            "if this is a port for https, write https:// instead of http:// in --base-url or STREAM_CHAT_URL"
        }
        ApiError::Transport { .. } => {
            "check the address (--base-url or STREAM_CHAT_URL) and the network; to try without either: --mock"
        }
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_anywhere_in_the_chain_is_success() {
        let pipe = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(code_of(&pipe.context("cannot write")), Code::Ok);
    }
}
