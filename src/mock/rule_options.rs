//! The table of rule options: for each its name, meaning, values and default.
//!
//! The flags of `mock start`, their help and the documentation all come from this table.

use std::fmt;
use std::time::Duration;

use super::options::{InvisibleField, MockRules, OwnPresence, RateLimitMode};
use crate::domain::time::parse_duration;

/// One option of the mock's rules.
#[derive(Clone, Copy)]
pub struct RuleOption {
    /// The name of its flag, without dashes.
    pub name: &'static str,
    /// What it decides, for help pages.
    pub point: &'static str,
    /// The accepted values, in words.
    pub values: &'static str,
    /// The value name, for help pages.
    pub value_name: &'static str,
    /// Whether the real service's behaviour is unknown. Otherwise the default is the service's behaviour.
    pub open: bool,
    get: fn(&MockRules) -> String,
    set: fn(&mut MockRules, &str) -> Result<(), InvalidRuleValue>,
}

/// The text is not an accepted value.
struct InvalidRuleValue;

impl RuleOption {
    /// The default value as text.
    pub fn default(&self) -> String {
        (self.get)(&MockRules::default())
    }

    /// The value in `rules` as text.
    pub fn value(&self, rules: &MockRules) -> String {
        (self.get)(rules)
    }

    /// Sets the option.
    ///
    /// # Errors
    ///
    /// The text is not one of [`RuleOption::values`]. The message lists them.
    pub fn set_value(&self, rules: &mut MockRules, text: &str) -> Result<(), String> {
        (self.set)(rules, text).map_err(|InvalidRuleValue| {
            format!(
                "`{text}` is not a value of {}: expected {}",
                self.name, self.values
            )
        })
    }
}

impl fmt::Debug for RuleOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleOption")
            .field("name", &self.name)
            .field("default", &self.default())
            .finish_non_exhaustive()
    }
}

/// A type of option values.
trait RuleValue: Sized {
    const VALUES: &'static str;
    const NAME: &'static str;
    fn read(text: &str) -> Option<Self>;
    fn show(&self) -> String;
}

impl RuleValue for usize {
    const VALUES: &'static str = "a whole number";
    const NAME: &'static str = "N";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl RuleValue for i32 {
    const VALUES: &'static str = "an API error code";
    const NAME: &'static str = "CODE";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl RuleValue for bool {
    const VALUES: &'static str = "true or false";
    const NAME: &'static str = "BOOL";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl RuleValue for Duration {
    const VALUES: &'static str = "a duration";
    const NAME: &'static str = "DUR";
    fn read(text: &str) -> Option<Self> {
        parse_duration(text).ok()
    }
    fn show(&self) -> String {
        // Without the spaces that the library puts between units, so that it is one word.
        humantime::format_duration(*self)
            .to_string()
            .replace(' ', "")
    }
}

impl RuleValue for Option<Duration> {
    const VALUES: &'static str = "a duration, or never";
    const NAME: &'static str = "DUR|never";
    fn read(text: &str) -> Option<Self> {
        if text == "never" {
            Some(None)
        } else {
            Duration::read(text)
                .filter(|duration| !duration.is_zero())
                .map(Some)
        }
    }
    fn show(&self) -> String {
        self.map_or_else(|| "never".to_owned(), |duration| duration.show())
    }
}

impl RuleValue for RateLimitMode {
    const VALUES: &'static str = "off, service (its documented limits), or requests per minute";
    const NAME: &'static str = "off|service|N";
    fn read(text: &str) -> Option<Self> {
        match text {
            "off" => Some(Self::Off),
            "service" => Some(Self::Service),
            number => number.parse().ok().map(Self::PerMinute),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Service => "service".to_owned(),
            Self::PerMinute(number) => number.to_string(),
        }
    }
}

/// An option type whose values are words.
macro_rules! words {
    ($type:ty, $values:literal, $name:literal, $($word:literal => $value:path),*) => {
        impl RuleValue for $type {
            const VALUES: &'static str = $values;
            const NAME: &'static str = $name;
            fn read(text: &str) -> Option<Self> {
                match text {
                    $($word => Some($value),)*
                    _ => None,
                }
            }
            fn show(&self) -> String {
                match self {
                    $($value => $word.to_owned(),)*
                }
            }
        }
    };
}

words!(
    OwnPresence,
    "subscribed, always or never",
    "subscribed|always|never",
    "subscribed" => OwnPresence::Subscribed,
    "always" => OwnPresence::Always,
    "never" => OwnPresence::Never
);
words!(
    InvisibleField,
    "omit, false or truth",
    "omit|false|truth",
    "omit" => InvisibleField::Omit,
    "false" => InvisibleField::AlwaysFalse,
    "truth" => InvisibleField::Truth
);

/// Generates the table of options.
macro_rules! options {
    ($($open:ident $field:ident $name:literal: $type:ty, $point:literal;)*) => {
        /// All options. Those whose real behaviour is unknown come first.
        pub const RULE_OPTIONS: &[RuleOption] = &[$(RuleOption {
            name: $name,
            point: $point,
            values: <$type as RuleValue>::VALUES,
            value_name: <$type as RuleValue>::NAME,
            open: options!(@open $open),
            get: |rules| RuleValue::show(&rules.$field),
            set: |rules, text| {
                rules.$field = <$type as RuleValue>::read(text).ok_or(InvalidRuleValue)?;
                Ok(())
            },
        }),*];

        #[cfg(test)]
        const FIELDS: &[(&str, &str)] = &[$((stringify!($field), $name)),*];
    };
    (@open open) => { true };
    (@open fixed) => { false };
}

options! {
    open others_see_invisible "others-see-invisible": InvisibleField,
        "what other clients read as `invisible` of a user";
    open me_online_while_invisible "me-online-while-invisible": bool,
        "whether `me.online` is true while the user is connected and invisible";
    open freeze_last_active_while_invisible "freeze-last-active-while-invisible": bool,
        "whether others keep seeing the `last_active` from before a user turned invisible";
    open count_invisible_watchers "count-invisible-watchers": bool,
        "whether an invisible watcher is counted and announced (with `online:false`)";
    open own_presence "own-presence": OwnPresence,
        "which connections of a user receive that user's own presence events";
    open status_sends_presence "status-sends-presence": bool,
        "whether a change of `status` also sends `user.presence.changed`";
    open presence_covers_watchers "presence-covers-watchers": bool,
        "whether `presence` of a channel call covers watchers too, after the members";
    open stop_watching_unsubscribes "stop-watching-unsubscribes": bool,
        "whether presence subscriptions made by a channel call end with stop-watching";
    open offline_grace "offline-grace": Duration,
        "how long a user stays online after the last connection is gone";
    open idle_timeout "idle-timeout": Duration,
        "how long a connection may be silent before it is closed";
    open health_check_every "health-check-every": Option<Duration>,
        "how often to send an unsolicited `health.check`";
    open health_check_me "health-check-me": bool,
        "whether health checks after the first carry `me`";
    open close_on_token_expiry "close-on-token-expiry": bool,
        "whether a live socket ends (code 40) when its token expires";
    open deactivation_closes_sockets "deactivation-closes-sockets": bool,
        "whether deactivating a user closes their sockets";
    open upsert_merges "upsert-merges": bool,
        "whether `POST /users` keeps custom fields that it does not mention";
    open bad_signature_code "bad-signature-code": i32,
        "error code for a token signed with another secret (43 and 5 have been seen)";
    open deactivated_code "deactivated-code": i32,
        "error code for a deactivated or deleted user";
    open revoked_code "revoked-code": i32,
        "error code for a revoked token";
    open id_mismatch_code "id-mismatch-code": i32,
        "error code if token and `user_details` name different users";
    open unknown_connection_code "unknown-connection-code": i32,
        "error code for a call with an unknown connection";
    fixed presence_cap_channel "presence-cap-channel": usize,
        "maximum number of users that one channel call with `presence` subscribes to";
    fixed presence_cap_users "presence-cap-users": usize,
        "maximum number of users that one users query with `presence` subscribes to";
    fixed query_users_default_limit "query-users-default-limit": usize,
        "default page size of a users query";
    fixed last_active_refresh "last-active-refresh": Duration,
        "how often `last_active` of a connected user is updated";
    fixed development_tokens "development-tokens": bool,
        "whether unsigned development tokens are accepted";
    fixed max_connections_per_user "max-connections-per-user": usize,
        "maximum number of connections of a user (0: unlimited)";
    fixed custom_data_limit "custom-data-limit": usize,
        "maximum size of the custom data of a user or a channel, in bytes";
    fixed body_limit "body-limit": usize,
        "maximum size of a request body, in bytes";
    fixed frame_limit "frame-limit": usize,
        "maximum size of a client's frame, in bytes";
    fixed queue_frames "queue-frames": usize,
        "maximum number of frames that wait for a slow client before it is disconnected";
    fixed queue_bytes "queue-bytes": usize,
        "maximum number of bytes that wait for a slow client before it is disconnected";
    fixed rate_limit "rate-limit": RateLimitMode,
        "requests allowed per minute for each endpoint and platform; more fail with code 9";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_in_the_table_under_its_own_name() {
        for (field, name) in FIELDS {
            assert_eq!(field.replace('_', "-"), *name);
        }
        // A rule that is added without a row is missing from one of the two.
        let shown = format!("{:?}", MockRules::default());
        let fields = shown.matches(": ").count();
        assert_eq!(fields, RULE_OPTIONS.len(), "{shown}");
    }

    #[test]
    fn every_default_is_a_value_of_its_option() {
        for option in RULE_OPTIONS {
            let mut rules = MockRules::default();
            option.set_value(&mut rules, &option.default()).unwrap();
            assert_eq!(option.value(&rules), option.default());
            let error = option.set_value(&mut rules, "nonsense").unwrap_err();
            assert!(error.contains(option.name), "{error}");
        }
    }

    #[test]
    fn a_choice_is_made() {
        let choose = |name: &str, text: &str| {
            let mut rules = MockRules::default();
            let option = RULE_OPTIONS
                .iter()
                .find(|option| option.name == name)
                .unwrap();
            option.set_value(&mut rules, text).map(|()| rules)
        };
        assert_eq!(
            choose("idle-timeout", "5m").unwrap().idle_timeout,
            Duration::from_secs(300)
        );
        assert_eq!(
            choose("rate-limit", "600").unwrap().rate_limit,
            RateLimitMode::PerMinute(600)
        );
        assert_eq!(
            choose("own-presence", "never").unwrap().own_presence,
            OwnPresence::Never
        );
        assert_eq!(
            choose("health-check-every", "never")
                .unwrap()
                .health_check_every,
            None
        );
        assert!(choose("health-check-every", "0s").is_err());
        assert_eq!(
            choose("own-presence", "sometimes").unwrap_err(),
            "`sometimes` is not a value of own-presence: expected subscribed, always or never"
        );
    }
}
