//! Functions of the interpreter with checks, and the functions that check.
//!
//! The interpreter's own functions and operators have no limits: a few multiplications of strings or numbers take all
//! memory or hours. Those whose time or memory can grow without a loop are replaced here. The interpreter's function
//! stays available under a name that no expression can contain.

use jaq_core::box_iter::{box_once, flat_map_with, map_with};
use jaq_core::data::JustLut;
use jaq_core::load::parse::{BinaryOp, Def, Term};
use jaq_core::native::{Fun, v};
use jaq_core::{Bind, Cv, Error, Exn, Native, RunPtr, ValXs};
use jaq_json::{Num, Val};
use serde::de::IgnoredAny;

use super::limits::{self, JSON_DEPTH_MAX, NUMBER_MAX_DIGITS};
use super::value_size::{
    ValueSize, extension_bytes, integer_bits, is_unique, memory_bytes, string_bytes,
};

/// The largest product of integers, in bits.
const INTEGER_MAX_BITS: usize = 1 << 16;
/// The longest regular expression, in bytes.
const REGEX_MAX_BYTES: usize = 4 << 10;
/// The longest text for a regular expression, in bytes. Matching can take time in proportion to the square of its length,
/// and to the size of the expression.
const REGEX_TEXT_MAX_BYTES: usize = 64 << 10;
/// The largest array or object that is a key, in bytes of its text. Searching for it can take time in proportion to the
/// square of its size.
const KEY_MAX_BYTES: usize = 8 << 10;
/// The longest path. Dropping it recurses.
const PATH_MAX_PARTS: usize = 1000;
/// The most pairs of parts that `contains` and `indices` compare.
const COMPARED_PAIRS_MAX: usize = 1_000_000_000;

/// The size from which an updated array or object counts as built, in bytes. Usually it is updated in place, but nothing
/// tells whether it was.
const COPY_MIN_BYTES: usize = 16 << 20;

/// An identity that only checks. It can be a part of a path.
pub(super) const CHECK: &str = "!check";
/// An identity that refuses a value that is too deep or too large.
pub(super) const CHECK_VALUE: &str = "!check_value";
/// The same for a value that becomes a part of another.
pub(super) const CHECK_PART: &str = "!check_part";
/// An identity after an update.
pub(super) const CHECK_UPDATED: &str = "!check_updated";
/// An identity before a value becomes text, or a key that is compared.
pub(super) const CHECK_TEXT: &str = "!check_text";
/// An identity for a value that may be a copy. It can be a part of a path.
pub(super) const CHECK_COPY: &str = "!check_copy";
/// An identity for a key or an index.
pub(super) const CHECK_KEY: &str = "!check_key";
/// An identity before a function calls itself with filters as arguments.
pub(super) const CHECK_RECURSION: &str = "!check_recursion";
/// An identity after a function that returns new memory.
pub(super) const CHECK_RESULT: &str = "!check_result";
/// The operators as functions.
pub(super) const ADD: &str = "!add";
pub(super) const SUBTRACT: &str = "!subtract";
pub(super) const MULTIPLY: &str = "!multiply";
pub(super) const DIVIDE: &str = "!divide";

/// Identities before a function.
const CHECK_JSON: &str = "!check_json";
const CHECK_CHARACTERS: &str = "!check_characters";
const CHECK_COMPARED: &str = "!check_compared";
const CHECK_REGEX: &str = "!check_regex";

/// What the interpreter works with.
pub(super) type Data = JustLut<Val>;
type Checked = Result<Val, Exn<'static, Val>>;

/// A function of the interpreter that has a checked definition.
struct Replaced {
    name: &'static str,
    /// The name under which the interpreter's own function stays available.
    unchecked: &'static str,
    /// Variables, [`KEY`], or other filters.
    args: &'static [&'static str],
    /// What is checked before it is called.
    before: Option<Before>,
    /// The check of its results.
    after: &'static str,
}

/// The argument that is a filter whose results are compared.
const KEY: &str = "key";

/// A check before a function.
struct Before {
    check: &'static str,
    /// Which argument of the function the check gets.
    arg: Option<&'static str>,
}

macro_rules! replaced {
    ($(($name:literal, $args:expr, $before:expr, $after:expr)),* $(,)?) => {
        &[$(Replaced {
            name: $name,
            unchecked: concat!("!", $name),
            args: &$args,
            before: $before,
            after: $after,
        }),*]
    };
}

const fn before(check: &'static str) -> Option<Before> {
    Some(Before { check, arg: None })
}

const fn before_with(check: &'static str, arg: &'static str) -> Option<Before> {
    Some(Before {
        check,
        arg: Some(arg),
    })
}

const REPLACED: &[Replaced] = replaced![
    ("range", ["$from", "$to", "$by"], None, CHECK_RESULT),
    ("path", ["f"], None, CHECK_VALUE),
    ("path_value", ["f"], None, CHECK_VALUE),
    ("keys_unsorted", [], None, CHECK_RESULT),
    ("key_values", [], None, CHECK_RESULT),
    ("fromjson", [], before(CHECK_JSON), CHECK),
    ("tojson", [], before(CHECK_TEXT), CHECK),
    ("tobytes", [], None, CHECK_RESULT),
    ("contains", ["$x"], before_with(CHECK_COMPARED, "$x"), CHECK),
    (
        "indices",
        ["$x"],
        before_with(CHECK_COMPARED, "$x"),
        CHECK_RESULT
    ),
    ("explode", [], before(CHECK_CHARACTERS), CHECK),
    ("implode", [], None, CHECK_RESULT),
    ("ascii_downcase", [], None, CHECK_RESULT),
    ("ascii_upcase", [], None, CHECK_RESULT),
    ("reverse", [], None, CHECK_RESULT),
    ("sort", [], before(CHECK_TEXT), CHECK),
    ("sort_by", [KEY], None, CHECK_RESULT),
    ("group_by", [KEY], None, CHECK_VALUE),
    ("min_by_or_empty", [KEY], None, CHECK),
    ("max_by_or_empty", [KEY], None, CHECK),
    ("escape_sh", [], None, CHECK_RESULT),
    ("escape_html", [], None, CHECK_RESULT),
    ("unescape_html", [], None, CHECK_RESULT),
    ("encode_uri", [], None, CHECK_RESULT),
    ("decode_uri", [], None, CHECK_RESULT),
    ("encode_base64", [], None, CHECK_RESULT),
    ("decode_base64", [], None, CHECK_RESULT),
    ("strftime", ["$format"], None, CHECK_RESULT),
    (
        "matches",
        ["$re", "$flags"],
        before_with(CHECK_REGEX, "$re"),
        CHECK
    ),
    (
        "split_matches",
        ["$re", "$flags"],
        before_with(CHECK_REGEX, "$re"),
        CHECK
    ),
    (
        "split_",
        ["$re", "$flags"],
        before_with(CHECK_REGEX, "$re"),
        CHECK
    ),
];

/// The name under which a function of the interpreter is available.
pub(super) fn name_of(function: &'static str) -> &'static str {
    REPLACED
        .iter()
        .find(|replaced| replaced.name == function)
        .map_or(function, |replaced| replaced.unchecked)
}

/// The checked definitions of the functions that are replaced.
pub(super) fn defs() -> impl Iterator<Item = Def<&'static str>> {
    REPLACED.iter().map(|replaced| {
        let args = replaced.args.iter().copied().map(|arg| {
            if arg.starts_with('$') {
                Term::Var(arg)
            } else if arg == KEY {
                pipe(call(arg), call(CHECK_TEXT))
            } else {
                call(arg)
            }
        });
        let body = pipe(
            Term::Call(replaced.unchecked, args.collect()),
            call(replaced.after),
        );
        let body = match &replaced.before {
            Some(before) => {
                let args = before.arg.into_iter().map(Term::Var).collect();
                pipe(Term::Call(before.check, args), body)
            }
            None => body,
        };
        Def {
            name: replaced.name,
            args: replaced.args.to_vec(),
            body,
        }
    })
}

/// An identity that can be a part of a path.
fn part_of_path(run: RunPtr<Data>) -> Native<Data> {
    Native::<Data>::new(run)
        .with_paths(|(_, (value, path))| {
            let is_long = path.iter().nth(PATH_MAX_PARTS).is_some();
            box_once(if is_long {
                let message = format!("it follows a path of more than {PATH_MAX_PARTS} parts");
                Err(Exn::from(Error::str(message)))
            } else {
                limits::check().map(|()| (value, path))
            })
        })
        .with_update(|(_, value), update| match limits::check() {
            Ok(()) => update(value),
            Err(error) => box_once(Err(error)),
        })
}

/// The functions that only checked expressions and definitions call.
pub(super) fn natives() -> impl Iterator<Item = Fun<Data>> {
    let identity = part_of_path(|(_, value)| box_once(limits::check().map(|()| value)));
    let copy = part_of_path(|(_, value)| box_once(copy(value)));
    [
        (CHECK, v(0), identity),
        (CHECK_COPY, v(0), copy),
        (CHECK_KEY, v(0), Native::new(|cv| box_once(key(cv.1)))),
        (
            CHECK_RECURSION,
            v(0),
            part_of_path(|(_, value)| box_once(limits::check_recursion().map(|()| value))),
        ),
        (CHECK_VALUE, v(0), Native::new(|cv| box_once(value(cv.1)))),
        (CHECK_PART, v(0), Native::new(|cv| box_once(part(cv.1)))),
        (
            CHECK_UPDATED,
            v(0),
            Native::new(|cv| box_once(updated(cv.1))),
        ),
        (CHECK_TEXT, v(0), Native::new(|cv| box_once(text(cv.1)))),
        (CHECK_RESULT, v(0), Native::new(|cv| box_once(result(cv.1)))),
        (CHECK_JSON, v(0), Native::new(|cv| box_once(json(cv.1)))),
        (
            CHECK_CHARACTERS,
            v(0),
            Native::new(|cv| box_once(characters(cv.1))),
        ),
        (
            CHECK_COMPARED,
            v(1),
            Native::new(|(mut context, value)| box_once(compared(value, &context.pop_var()))),
        ),
        (
            CHECK_REGEX,
            v(1),
            Native::new(|(mut context, value)| box_once(regex(value, &context.pop_var()))),
        ),
        (
            SUBTRACT,
            two_filters(),
            Native::new(|cv| operator(cv, subtract)),
        ),
        (ADD, two_filters(), Native::new(|cv| operator(cv, add))),
        (
            MULTIPLY,
            two_filters(),
            Native::new(|cv| operator(cv, multiply)),
        ),
        (
            DIVIDE,
            two_filters(),
            Native::new(|cv| operator(cv, divide)),
        ),
    ]
    .into_iter()
}

/// An operator as a function of two filters. Like the operator, it is no path, and has a result for each pair of results.
fn operator<'a>(
    (mut context, input): Cv<'a, Data>,
    function: fn(Val, Val) -> Checked,
) -> ValXs<'a, Val> {
    let (right, right_context) = context.pop_fun();
    let (left, left_context) = context.pop_fun();
    let left = left.run((left_context, input.clone()));
    flat_map_with(left, (right_context, input), move |left, right_input| {
        map_with(right.run(right_input), left, move |right, left| {
            function(left?, right?)
        })
    })
}

fn two_filters() -> Box<[Bind]> {
    Box::new([Bind::Fun(()), Bind::Fun(())])
}

fn value(value: Val) -> Checked {
    limits::charge(memory_bytes(&value))?;
    measure(&value)?;
    Ok(value)
}

fn part(value: Val) -> Checked {
    limits::check()?;
    limits::add_unmeasured(measure(&value)?);
    Ok(value)
}

fn updated(value: Val) -> Checked {
    // The update may have copied the value, or have inserted many parts into it.
    let bytes = memory_bytes(&value);
    let is_in_place = string_bytes(&value) == 0 && bytes < COPY_MIN_BYTES;
    limits::charge(if is_in_place { 0 } else { bytes })?;
    if limits::must_measure() {
        measure(&value)?;
    }
    Ok(value)
}

fn text(value: Val) -> Checked {
    limits::charge(measure(&value)?.bytes)?;
    Ok(value)
}

fn result(value: Val) -> Checked {
    limits::charge(memory_bytes(&value))?;
    Ok(value)
}

/// The text may come from an event, and the parser recurses.
fn json(value: Val) -> Checked {
    if let Val::TStr(text) | Val::BStr(text) = &value {
        // The parser of the interpreter takes more than JSON: comments, and keys of any kind.
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
        if let Some(error) = values.find_map(Result::err) {
            return refused(format!("it parses a text that is not JSON: {error}"));
        }
        if limits::is_deep(text) {
            return refused(format!(
                "it parses JSON that is nested more than {JSON_DEPTH_MAX} levels deep"
            ));
        }
        if limits::has_long_number(text) {
            return refused(format!(
                "it parses a number of more than {NUMBER_MAX_DIGITS} digits"
            ));
        }
        limits::charge(text.len().saturating_mul(size_of::<Val>()))?;
    }
    Ok(value)
}

/// A slice of an array is a copy; that of a text is not.
fn copy(value: Val) -> Checked {
    let is_copy = matches!(value, Val::Arr(_)) || is_unique(&value);
    limits::charge(if is_copy { memory_bytes(&value) } else { 0 })?;
    Ok(value)
}

fn key(value: Val) -> Checked {
    if matches!(value, Val::Arr(_) | Val::Obj(_)) && measure(&value)?.bytes > KEY_MAX_BYTES {
        return refused(format!(
            "it uses an array or object of more than {} KiB as a key",
            KEY_MAX_BYTES >> 10
        ));
    }
    Ok(value)
}

/// Each character becomes a value.
fn characters(value: Val) -> Checked {
    limits::charge(string_bytes(&value).saturating_mul(size_of::<Val>()))?;
    Ok(value)
}

fn compared(value: Val, other: &Val) -> Checked {
    limits::check_clock()?;
    let pairs = measure(&value)?.bytes.saturating_mul(measure(other)?.bytes) / 64;
    if pairs > COMPARED_PAIRS_MAX {
        return refused("it compares values that are too large".to_owned());
    }
    Ok(value)
}

fn regex(value: Val, expression: &Val) -> Checked {
    let bytes = string_bytes(&value);
    if bytes > REGEX_TEXT_MAX_BYTES {
        return refused(format!(
            "it uses a regular expression on a text of more than {} KiB",
            REGEX_TEXT_MAX_BYTES >> 10
        ));
    }
    if string_bytes(expression) > REGEX_MAX_BYTES {
        return refused(format!(
            "it uses a regular expression of more than {} KiB",
            REGEX_MAX_BYTES >> 10
        ));
    }
    limits::check_clock()?;
    // Each character can become an object with the offset, the length and the text.
    limits::charge(bytes * 16 * size_of::<Val>())?;
    Ok(value)
}

/// The memory that an operation takes to change a value: none if it can be changed in place.
fn copied_bytes(value: &Val) -> usize {
    if is_unique(value) {
        0
    } else {
        memory_bytes(value)
    }
}

fn add(left: Val, right: Val) -> Checked {
    limits::charge(copied_bytes(&left).saturating_add(extension_bytes(&right)))?;
    match (&left, &right) {
        // The sum is the other one.
        (value, Val::Null) | (Val::Null, value) => {
            measure(value)?;
        }
        // The sum is as deep as the deeper one.
        (_, Val::Arr(_) | Val::Obj(_)) => limits::add_unmeasured(ValueSize {
            depth: 0,
            ..measure(&right)?
        }),
        _ => return Ok((left + right)?),
    }
    let sum = (left + right)?;
    if limits::must_measure() {
        measure(&sum)?;
    }
    Ok(sum)
}

fn subtract(left: Val, right: Val) -> Checked {
    limits::charge(copied_bytes(&left))?;
    Ok((left - right)?)
}

fn multiply(left: Val, right: Val) -> Checked {
    limits::check()?;
    match (&left, &right) {
        (Val::Num(left), Val::Num(right))
            if integer_bits(left).saturating_add(integer_bits(right)) > INTEGER_MAX_BITS =>
        {
            return refused(format!(
                "it computes an integer of more than {INTEGER_MAX_BITS} bits"
            ));
        }
        (Val::TStr(text) | Val::BStr(text), Val::Num(times))
        | (Val::Num(times), Val::TStr(text) | Val::BStr(text)) => {
            let times = match times {
                Num::Int(times) => usize::try_from(*times).unwrap_or(0),
                Num::BigInt(_) => usize::MAX,
                Num::Float(_) | Num::Dec(_) => 0,
            };
            limits::charge(text.len().saturating_mul(times))?;
        }
        // Objects are merged, and with them the objects in them.
        (Val::Obj(_), Val::Obj(_)) => {
            limits::charge(measure(&left)?.bytes)?;
            limits::charge(measure(&right)?.bytes)?;
        }
        _ => {}
    }
    Ok((left * right)?)
}

fn divide(left: Val, right: Val) -> Checked {
    // Each part of a text becomes a value with memory of its own.
    if let (Val::TStr(text) | Val::BStr(text), Val::TStr(separator) | Val::BStr(separator)) =
        (&left, &right)
    {
        let parts = text.len() / separator.len().max(1);
        limits::charge(parts.saturating_mul(4 * size_of::<Val>()))?;
    } else {
        limits::check()?;
    }
    Ok((left / right)?)
}

fn measure(value: &Val) -> Result<ValueSize, Exn<'static, Val>> {
    ValueSize::of(value).map_err(|excess| Exn::from(Error::str(excess)))
}

fn refused(what: String) -> Checked {
    Err(Exn::from(Error::str(what)))
}

pub(super) const fn call(function: &str) -> Term<&str> {
    Term::Call(function, Vec::new())
}

pub(super) fn pipe<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(left.into(), BinaryOp::Pipe(None), right.into())
}
