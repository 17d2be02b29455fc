//! Options of the mock: everything that the operator can choose.
//!
//! Where the real service leaves behaviour open, or where it has a limit by contract, there is an option with a
//! documented default. So a test can check both behaviours. Options come from flags or from a fixture; this file does
//! not know which.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::SecretString;

use super::fixture::Fixture;
use super::replay::ReplaySource;

/// The options of the mock. Every option has a default.
#[derive(Debug, Clone)]
pub struct MockOptions {
    /// The application's public key, which every request must contain.
    pub api_key: String,
    /// The secret that signs tokens.
    pub secret: SecretString,
    /// What a control request must show. Without one, the control API is for programs and pages on this machine.
    pub control_token: Option<SecretString>,
    /// The file with the certificate that clients must trust, if the server uses TLS.
    pub ca_file: Option<PathBuf>,
    /// Whether the console is served.
    pub has_console: bool,
    /// The users and channels that exist at the start, and after a reset.
    pub fixture: Fixture,
    /// The recording to answer from, in place of the rules and the fixture.
    pub replay: Option<ReplaySource>,
    /// The rule options: behaviour that tests can choose.
    pub rules: MockRules,
    /// The time at which the clock is stopped at the start, and after a reset.
    pub frozen_at: Option<DateTime<Utc>>,
    /// The seed of the ids that the server gives; random if there is none.
    pub seed: Option<u64>,
    /// How long a client may take to send the head of its next request, or the next part of a request body.
    pub read_timeout: Duration,
}

/// The path of the console.
pub const CONSOLE_PATH: &str = "/_mock/ui";

/// The usual [`MockOptions::read_timeout`]. Clients that keep idle connections for longer must expect them to be closed,
/// as with any server.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Who receives a user's own presence events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnPresence {
    /// Connections of the user that are subscribed to the user.
    Subscribed,
    /// All connections of the user.
    Always,
    /// None.
    Never,
}

/// What clients read as `invisible` of other users. The server side always reads the real value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvisibleField {
    /// The field is missing.
    Omit,
    /// The field is `false`.
    AlwaysFalse,
    /// The field has the real value.
    Truth,
}

/// When requests are refused because of rate limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitMode {
    /// Never; the headers are sent nevertheless.
    Off,
    /// Above the service's default number of requests per minute, per endpoint and platform.
    Service,
    /// Above this number of requests per minute, for every endpoint.
    PerMinute(u32),
}

/// Rule options: rules that are not documented, or that are fixed in the service but useful to change in a test.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each an option of its own"
)]
pub struct MockRules {
    /// How many users of a channel `presence` covers, in a channel call or per channel of a query.
    pub presence_cap_channel: usize,
    /// How many users `presence` covers in a users query.
    pub presence_cap_users: usize,
    /// The default page size of a users query.
    pub query_users_default_limit: usize,
    /// How long a connection may be silent before it is dropped.
    pub idle_timeout: Duration,
    /// How long a user stays online after their last connection ends.
    pub offline_grace: Duration,
    /// How often `last_active` of a connected user is updated.
    pub last_active_refresh: Duration,
    /// The interval of unsolicited health checks to every connection; `None` only answers pings.
    pub health_check_every: Option<Duration>,
    /// Whether health checks after the first one carry `me`.
    pub health_check_me: bool,
    /// Who receives a user's own presence events.
    pub own_presence: OwnPresence,
    /// Whether users who are connected and invisible see themselves as online.
    pub me_online_while_invisible: bool,
    /// Whether others still see the `last_active` from before a user turned invisible.
    pub freeze_last_active_while_invisible: bool,
    /// What others read as `invisible`.
    pub others_see_invisible: InvisibleField,
    /// Whether an invisible watcher is counted and announced (with `online:false`).
    pub count_invisible_watchers: bool,
    /// Whether `presence` of a channel call covers watchers too, after the members.
    pub presence_covers_watchers: bool,
    /// Whether presence subscriptions made by a channel call end with stop-watching.
    pub stop_watching_unsubscribes: bool,
    /// Whether a change of `status` is also announced by `user.presence.changed`.
    pub status_sends_presence: bool,
    /// Whether `POST /users` keeps custom fields that it does not name.
    pub upsert_merges: bool,
    /// Whether tokens of the form `….devtoken` are accepted.
    pub development_tokens: bool,
    /// Whether an open socket ends with code 40 when its token expires.
    pub close_on_token_expiry: bool,
    /// Whether deactivating a user closes their sockets. Otherwise they keep receiving events.
    pub deactivation_closes_sockets: bool,
    /// The code of a bad signature; the service has answered 43 and 5.
    pub bad_signature_code: i32,
    /// The error code of a deactivated user's connect or call.
    pub deactivated_code: i32,
    /// The error code of a revoked token.
    pub revoked_code: i32,
    /// The error code of a connect whose token and `user_details` name different users.
    pub id_mismatch_code: i32,
    /// The error code of a call that needs a connection and names one that does not exist.
    pub unknown_connection_code: i32,
    /// How many connections a user may have at once; 0 for any number.
    pub max_connections_per_user: usize,
    /// How many bytes of custom data a user or channel may have.
    pub custom_data_limit: usize,
    /// How many bytes a request body may have.
    pub body_limit: usize,
    /// How many bytes a frame from a client may have.
    pub frame_limit: usize,
    /// How many frames may wait for a slow connection before it is closed.
    pub queue_frames: usize,
    /// How many bytes may wait for a slow connection before it is closed.
    pub queue_bytes: usize,
    /// The rate limits.
    pub rate_limit: RateLimitMode,
}

impl Default for MockRules {
    fn default() -> Self {
        Self {
            presence_cap_channel: 10,
            presence_cap_users: 30,
            query_users_default_limit: 30,
            idle_timeout: Duration::from_secs(60),
            offline_grace: Duration::ZERO,
            last_active_refresh: Duration::from_secs(15 * 60),
            health_check_every: None,
            health_check_me: false,
            own_presence: OwnPresence::Subscribed,
            me_online_while_invisible: true,
            freeze_last_active_while_invisible: true,
            others_see_invisible: InvisibleField::AlwaysFalse,
            count_invisible_watchers: true,
            presence_covers_watchers: true,
            stop_watching_unsubscribes: false,
            status_sends_presence: false,
            upsert_merges: false,
            development_tokens: false,
            close_on_token_expiry: false,
            deactivation_closes_sockets: true,
            bad_signature_code: 43,
            deactivated_code: 5,
            revoked_code: 40,
            id_mismatch_code: 5,
            unknown_connection_code: 46,
            max_connections_per_user: 50,
            custom_data_limit: 5 * 1024,
            body_limit: 2 * 1024 * 1024,
            frame_limit: 64 * 1024,
            queue_frames: 16 * 1024,
            queue_bytes: 16 * 1024 * 1024,
            rate_limit: RateLimitMode::Off,
        }
    }
}

impl Default for MockOptions {
    /// Default options: no users and channels, a random key and a random secret.
    fn default() -> Self {
        Self {
            api_key: random_key(),
            secret: random_secret(),
            control_token: None,
            ca_file: None,
            has_console: true,
            fixture: Fixture::default(),
            replay: None,
            rules: MockRules::default(),
            frozen_at: None,
            seed: None,
            read_timeout: READ_TIMEOUT,
        }
    }
}

/// A random API key with the service's length and alphabet.
pub fn random_key() -> String {
    let mut key = uuid::Uuid::new_v4().simple().to_string();
    key.truncate(12);
    key
}

/// A random secret with 244 bits of entropy.
pub fn random_secret() -> SecretString {
    let (a, b) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    SecretString::new(format!("{}{}", a.simple(), b.simple()))
}
