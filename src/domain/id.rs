//! Identifiers of users and channels, validated once when they are parsed.
//!
//! The alphabets and lengths are the service's: user ids `[@\w-]`, at most 255 characters; channel types and channel
//! ids `[\w-]` (and `!` in the ids of distinct channels), at most 64. `\w` is ASCII, as in the service's own expression.

use std::fmt;
use std::str::FromStr;

use crate::escape;
use serde::{Deserialize, Serialize};

/// The channel type of a channel id that is given without a type.
pub const DEFAULT_CHANNEL_TYPE: &str = "messaging";

/// Why a string is not an identifier. `Display` names the string and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = escape::quote(&self.text);
        write!(f, "`{shown}` is not a {}: {}", self.kind, self.rule)
    }
}

impl std::error::Error for InvalidId {}

fn check(
    kind: &'static str,
    rule: &'static str,
    text: &str,
    max: usize,
    allowed: impl Fn(char) -> bool,
) -> Result<(), InvalidId> {
    let ok = !text.is_empty() && text.chars().count() <= max && text.chars().all(allowed);
    if ok {
        Ok(())
    } else {
        Err(InvalidId {
            kind,
            text: text.to_owned(),
            rule,
        })
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $max:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check($kind, $rule, text, $max, $allowed)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                check($kind, $rule, &text, $max, $allowed)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id_type!(
    /// The id of a user.
    UserId,
    "user id",
    "it takes letters, digits, `@`, `_` and `-`, at most 255 of them",
    255,
    |c| is_word(c) || c == '@'
);
id_type!(
    /// The type of a channel: `messaging`, `livestream`, `team`, …
    ChannelType,
    "channel type",
    "it takes letters, digits, `_` and `-`, at most 64 of them",
    64,
    is_word
);
id_type!(
    /// The id of a channel within its type. Distinct channels have ids that start with `!members-`.
    ChannelId,
    "channel id",
    "it takes letters, digits, `_`, `-` and `!`, at most 64 of them",
    64,
    |c| is_word(c) || c == '!'
);

/// A channel's full name, `type:id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cid {
    /// The part before the colon.
    pub channel_type: ChannelType,
    /// The part after the colon.
    pub id: ChannelId,
}

impl FromStr for Cid {
    type Err = InvalidId;

    /// Reads `type:id`; a bare `id` means `messaging:id`.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (channel_type, id) = text.split_once(':').unwrap_or((DEFAULT_CHANNEL_TYPE, text));
        Ok(Self {
            channel_type: channel_type.parse()?,
            id: id.parse()?,
        })
    }
}

impl TryFrom<String> for Cid {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Cid> for String {
    fn from(cid: Cid) -> Self {
        cid.to_string()
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.channel_type, self.id)
    }
}

/// A short list of ids for messages: the first few by name, the others as a number.
pub fn summarize_ids<T: AsRef<str>>(ids: &[T]) -> String {
    const LISTED_IDS_MAX: usize = 5;
    let mut names: Vec<&str> = ids.iter().take(LISTED_IDS_MAX).map(AsRef::as_ref).collect();
    let more = ids.len().saturating_sub(LISTED_IDS_MAX);
    let rest = format!("and {more} more");
    if more > 0 {
        names.push(&rest);
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_channel_id_means_messaging() {
        let cid: Cid = "my-conversation-123".parse().unwrap();
        assert_eq!(cid.to_string(), "messaging:my-conversation-123");
        let cid: Cid = "livestream:a".parse().unwrap();
        assert_eq!(cid.channel_type.as_str(), "livestream");
    }

    #[test]
    fn ids_refuse_what_the_service_refuses() {
        assert!("a:b:c".parse::<Cid>().is_err());
        assert!("".parse::<UserId>().is_err());
        assert!("john doe".parse::<UserId>().is_err());
        assert!("j@example-1_x".parse::<UserId>().is_ok());
        assert!("x".repeat(255).parse::<UserId>().is_ok());
        assert!("x".repeat(256).parse::<UserId>().is_err());
        assert!("!members-abc".parse::<ChannelId>().is_ok());
        assert!("x".repeat(65).parse::<ChannelId>().is_err());
    }

    #[test]
    fn the_message_names_the_text_and_the_rule() {
        let error = "a b\u{1b}[31m".parse::<UserId>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`a b\\u{1b}[31m` is not a user id: it takes letters, digits, `@`, `_` and `-`, at most 255 of them"
        );
    }
}
