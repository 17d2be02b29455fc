//! What the name of a field says about its value, and what a text looks like: a token, an id, an address, a time.

/// Parts of the names of fields whose values are always dropped.
const SECRET_NAMES: &[&str] = &[
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "authorization",
    "api_key",
    "apikey",
    "access_key",
    "accesskey",
    "private_key",
    "privatekey",
    "credential",
    "cookie",
    "bearer",
    "jwt",
];

/// Fields with ids, beside those whose names end in `_id`, `_ids`, `_cid` or `_cids`.
const ID_FIELDS: &[&str] = &[
    "id",
    "ids",
    "cid",
    "cids",
    "members",
    "add_members",
    "remove_members",
    "add_moderators",
    "demote_moderators",
    "invites",
    "watchers",
    "users",
    "user",
];

/// Fields whose values are words of the protocol.
const VOCABULARY_FIELDS: &[&str] = &[
    "type",
    "role",
    "roles",
    "channel_role",
    "channel_type",
    "channel_types",
    "event_type",
    "member_type",
    "own_capabilities",
    "language",
    "field",
    "unset",
    "automod",
    "automod_behavior",
    "blocklist_behavior",
    "push_provider",
    "platform",
    "duration",
    "task_status",
];

/// How the header of a token begins, which is a JSON object in base64: `{"`, `{ `, `{\n` and `{\r`.
const TOKEN_BEGINNINGS: [&str; 4] = ["eyJ", "eyA", "ewo", "ew0"];
/// The shortest token that has lost its signature.
const TOKEN_MIN_CHARS: usize = 20;

/// What the name of a field says about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldClass {
    Secret,
    Id,
    Time,
    Vocabulary,
    Text,
}

/// Whether the values of fields with this name are always dropped.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

pub(super) fn class_of(name: &str) -> FieldClass {
    let has_end = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    if is_secret_name(name) {
        FieldClass::Secret
    } else if ID_FIELDS.contains(&name) || has_end(&["_id", "_ids", "_cid", "_cids"]) {
        FieldClass::Id
    } else if has_end(&["_at", "_before", "_after", "_until", "_expires"])
        || ["last_active", "last_read", "expires"].contains(&name)
    {
        FieldClass::Time
    } else if VOCABULARY_FIELDS.contains(&name) {
        FieldClass::Vocabulary
    } else {
        FieldClass::Text
    }
}

/// Whether a text contains a signed token, or a URL with a parameter that is named like a secret.
pub(super) fn has_token(text: &str) -> bool {
    let decoded = text.replace("%2E", ".").replace("%2e", ".");
    let has_encoded_header = TOKEN_BEGINNINGS.iter().any(|beginning| {
        decoded.match_indices(beginning).any(|(at, _)| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.=+/".contains(c);
            let rest = &decoded[at..];
            let word = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
            word.matches('.').count() >= 2
                || (*beginning == TOKEN_BEGINNINGS[0]
                    && word.contains('.')
                    && word.len() >= TOKEN_MIN_CHARS)
        })
    });
    has_encoded_header
        || text
            .split(|c: char| c.is_whitespace() || "?&;#".contains(c))
            .filter_map(|part| part.split_once('='))
            .any(|(name, value)| is_secret_name(name) && !value.is_empty())
}

pub(super) fn is_email(text: &str) -> bool {
    let Some((user, host)) = text.rsplit_once('@') else {
        return false;
    };
    let is_host = |c: char| c.is_alphanumeric() || ".-".contains(c);
    !user.is_empty()
        && host.contains('.')
        && !host.starts_with('.')
        && !host.ends_with('.')
        && host.chars().all(is_host)
}

/// Whether a text can be the id of anything.
pub(super) fn is_id(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "@_-!:*.".contains(c);
    text.len() <= 320 && text.chars().all(is_part)
}

pub(super) fn is_vocabulary(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    text.len() <= 64 && text.chars().all(is_part)
}

pub(super) fn is_time(text: &str) -> bool {
    chrono::DateTime::parse_from_rfc3339(text).is_ok()
}
