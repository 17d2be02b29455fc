//! Random JSON and random expressions, for tests that compare two ways of reading them.

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

/// Random expressions. In a shape, `%` stands for another one.
pub(crate) fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        ".",
        ".type",
        ".user",
        ".user.id",
        ".user.online",
        ".user?.status",
        ".a",
        ".a.b",
        ".b[0]",
        ".user[]?",
        "..",
        ".[\"user\"]",
        ".user.\"i\\u0064\"",
        ".user | .id",
        "{type, user}",
        "1",
        "\"x\"",
        "null",
        "empty",
        "[]",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(3, 12, 3, |inner| {
        let shape = prop::sample::select(vec![
            "(% | %)",
            "(%, %)",
            "(% // %)",
            "(% + %)",
            "(% - %)",
            "(% * {a: %})",
            "(% / %)",
            "(% * 2)",
            "(% == %)",
            "(% < %)",
            "(% and %)",
            "(% or %)",
            "[%]",
            "-(%)",
            "{x: (%), user}",
            "{(\"k\", \"l\"): (%)}",
            "{\"a\\(%)\": 1}",
            "if % then % else % end",
            "if % then % end",
            "(try (%) catch .)",
            "(try error(%) catch .)",
            "(%)?",
            "select(%)",
            "(select(%) | %)",
            "((% | select(%)) | %)",
            "(% as $x | [$x, %])",
            "(% as [$x] | $x)",
            "(% as {id: $x} | {$x})",
            "(% as {(%): $x} | $x)",
            "(. as $x | $x.user)",
            "reduce (%) as $x (%; [., $x])",
            "[foreach (%) as $x (%; .; [$x, .])]",
            "\"\\(%)-\\(%)\"",
            "@base64 \"\\(%)\"",
            "first(%)",
            "isempty(%)",
            "add(%)",
            "[limit(2; %)]",
            "any(%; %)",
            "(%).b",
            "(%)[]?",
            "(%)[%]?",
            "(%)[1:]?",
            ".user[%]",
            "(% | test(\"a\"))",
            "(% | length)",
            "(% | keys)",
            "(% | not)",
            "(% | tojson)",
            "(% | @json)",
            "(def f: %; f)",
            "(def f(g): % | g; f(%))",
            "(label $l | %, break $l, %)",
            "(% = 1)",
            "(% |= 1)",
            "(% += 1)",
            "(% += %)",
            "(% *= 2)",
            "(% -= %)",
            "(% //= %)",
            "(% |= (%, %))",
            "(% | sort_by(%))",
            "(% | group_by(%))",
            "(% | min_by(%))",
            "(% | unique)",
            "(% | to_entries)",
            "(% | with_entries(%))",
            "(% | flatten)",
            "(% | add)",
            "(% | explode)",
            "(% | indices(%))",
            "(% | contains(%))",
            "(% | split(\"\"))",
            "(% | [scan(\"[a-z]\")])",
            "(% | gsub(\"[a-z]\"; \"x\"))",
            "(% | reverse)",
            "(.. |= %)",
            "(.[]? += %)",
            "[limit(3; range(%; 3))]",
            "del(%)",
            "[path(%)]",
            "(% | has(\"id\"))",
            "(% | type)",
            "(% | ascii_downcase)",
        ]);
        (shape, vec(inner, 3)).prop_map(|(shape, parts)| {
            let mut parts = parts.into_iter().cycle();
            let mut text = String::new();
            for piece in shape.split_inclusive('%') {
                match piece.strip_suffix('%') {
                    Some(start) => text.push_str(&(start.to_owned() + &parts.next().unwrap())),
                    None => text.push_str(piece),
                }
            }
            text
        })
    })
}
