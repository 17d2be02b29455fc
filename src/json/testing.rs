//! Random JSON for tests that compare two ways of reading it.

use proptest::collection::vec;
use proptest::prelude::*;

/// White space, usually empty.
fn blank() -> impl Strategy<Value = &'static str> + Clone {
    prop_oneof![9 => Just(""), 1 => prop::sample::select(vec![" ", "\n", " \r\n\t "])]
}

/// Any valid spelling of a string, including escapes.
pub(crate) fn string() -> impl Strategy<Value = String> + Clone {
    let piece = prop_oneof![
        4 => "[ -!#-\\[\\]-~]{0,20}",
        1 => prop::sample::select(vec![
            r"\n", r"\\", r#"\""#, r"\/", r"\u00e9", r"\ud83d\ude00", r"\u0000", "é", "😀", "\u{7f}", "\u{2028}",
        ])
        .prop_map(str::to_owned),
    ];
    vec(piece, 0..3).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// A scalar value.
fn leaf() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        3 => string(),
        2 => prop::sample::select(vec![
            "null", "true", "false", "0", "-0", "1.10", "-12e-3", "1E300", "123456789012345678901234567890",
        ])
        .prop_map(str::to_owned),
        1 => any::<i64>().prop_map(|number| number.to_string()),
    ]
}

/// An object of these fields.
fn object(fields: impl Strategy<Value = Vec<(String, String)>>) -> impl Strategy<Value = String> {
    (fields, blank(), blank()).prop_map(|(fields, a, b)| {
        let fields: Vec<String> = fields
            .into_iter()
            .map(|(name, value)| format!("{a}{name}{b}:{a}{value}{b}"))
            .collect();
        format!("{{{}{a}}}", fields.join(","))
    })
}

/// Any JSON text.
pub(crate) fn json() -> impl Strategy<Value = String> + Clone {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let name = prop_oneof![2 => string(), 1 => known_name()];
        prop_oneof![
            (vec(inner.clone(), 0..4), blank(), blank())
                .prop_map(|(items, a, b)| format!("[{a}{}{b}]", items.join(&format!("{b},{a}")))),
            object(vec((name, inner), 0..4)),
        ]
    })
}

/// A field name that code looks for.
fn known_name() -> impl Strategy<Value = String> + Clone {
    prop::sample::select(vec![
        "type",
        "cid",
        "user",
        "id",
        "online",
        "invisible",
        "status",
        "last_active",
        "error",
        "seq",
        "source",
        "changed",
        "\\u0069d",
        "us\\u0065r",
        "a",
        "b",
    ])
    .prop_map(|name| format!("\"{name}\""))
}

/// An object that resembles an event.
pub(crate) fn event() -> impl Strategy<Value = String> {
    let user = object(vec(
        prop_oneof![
            3 => (Just("\"id\"".to_owned()), string()),
            3 => (known_name(), json()),
            1 => (string(), json()),
        ],
        0..7,
    ));
    let field = prop_oneof![
        4 => (Just("\"type\"".to_owned()), string()),
        4 => (Just("\"user\"".to_owned()), user),
        3 => (known_name(), json()),
        1 => (string(), json()),
    ];
    (object(vec(field, 0..8)), blank(), blank())
        .prop_map(|(object, a, b)| format!("{a}{object}{b}"))
        .boxed()
}
