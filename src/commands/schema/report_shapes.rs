//! The schemas of the records that `report` prints.

use serde_json::{Value, json};

use super::shapes::{count_of, object, time};

fn seconds(what: &str) -> Value {
    json!({ "type": "number", "minimum": 0, "description": what })
}

fn user_id() -> Value {
    json!({ "type": "string", "description": "the user, or their pseudonym" })
}

pub(super) fn session() -> Value {
    object(
        "a stretch of time in which a user was online",
        &[
            "user_id",
            "name",
            "from",
            "to",
            "duration_s",
            "start",
            "end",
            "status",
        ],
        &json!({
            "user_id": user_id(),
            "name": { "type": ["string", "null"] },
            "from": time(),
            "to": { "type": ["string", "null"], "format": "date-time", "description": "null while the user is still online" },
            "duration_s": seconds("its length; up to the end of the window if the user is still online"),
            "start": {
                "enum": ["observed", "gap", "data_start"],
                "description": "observed: the change was seen; gap: observation resumed; data_start: nothing was known before",
            },
            "end": {
                "enum": ["observed", "gap", "data_end"],
                "description": "observed: the change was seen; gap: observation was interrupted; data_end: the window ends",
            },
            "status": { "type": ["string", "null"], "description": "the user's status at its end" },
        }),
    )
}

pub(super) fn uptime() -> Value {
    object(
        "how much of the time a user was online; online_s + offline_s + unknown_s is the window",
        &[
            "user_id",
            "observed_s",
            "online_s",
            "offline_s",
            "unknown_s",
            "online_ratio",
            "sessions",
            "longest_s",
            "last_online",
        ],
        &json!({
            "user_id": user_id(),
            "observed_s": seconds("online_s + offline_s"),
            "online_s": seconds("observed online"),
            "offline_s": seconds("observed offline"),
            "unknown_s": seconds("not observed"),
            "online_ratio": { "type": ["number", "null"], "minimum": 0, "maximum": 1, "description": "of observed_s; null if that is 0" },
            "sessions": count_of("how many sessions there were"),
            "longest_s": seconds("the longest session"),
            "last_online": { "type": ["string", "null"], "format": "date-time" },
        }),
    )
}

pub(super) fn flaps() -> Value {
    object(
        "how often a user changed between online and offline",
        &[
            "user_id",
            "changes",
            "window_s",
            "max_in_window",
            "median_online_s",
        ],
        &json!({
            "user_id": user_id(),
            "changes": count_of("how many changes were observed"),
            "window_s": seconds("the length of the sliding window"),
            "max_in_window": count_of("the most changes in any window of that length"),
            "median_online_s": { "type": ["number", "null"], "minimum": 0, "description": "the median length of a session" },
        }),
    )
}

pub(super) fn timeline() -> Value {
    object(
        "a user in a bucket of time; with user_id null, all users together",
        &["user_id", "from", "to", "online_s", "unknown_s"],
        &json!({
            "user_id": { "type": ["string", "null"] },
            "from": time(),
            "to": time(),
            "online_s": seconds("observed online"),
            "unknown_s": seconds("not observed"),
            "mean_online": { "type": "number", "minimum": 0, "description": "users online on average; where user_id is null" },
            "peak_online": count_of("the most users online at once; where user_id is null"),
        }),
    )
}
