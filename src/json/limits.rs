//! Limits of jq expressions: how long one may run on a record, how deep it may recurse, and how deep its input is nested.
//!
//! The interpreter has no limits of its own. So a check, [`CHECK`], is compiled into every expression: at the start of
//! each function, after each number of a range, and every few levels of nesting. A check does nothing until a limit is
//! exceeded. From then on it is an error.

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use jaq_core::box_iter::box_once;
use jaq_core::data::JustLut;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Term};
use jaq_core::native::{Fun, v};
use jaq_core::path::{Part, Path};
use jaq_core::{Error, Exn, Native};
use jaq_json::Val;

use super::scanner::StringState;

/// The longest source that is compiled, in bytes.
pub(super) const SOURCE_MAX_BYTES: usize = 16 * 1024;
/// The deepest nesting of brackets in a source.
pub(super) const SOURCE_DEPTH_MAX: usize = 200;
/// The deepest nesting of JSON that is evaluated. The interpreter recurses, and a hostile event must not exhaust the
/// stack.
pub(super) const JSON_DEPTH_MAX: usize = 128;
/// How long an expression may run on one record.
pub(super) const RUN_TIME_MAX: Duration = Duration::from_secs(1);
/// How much of its thread's stack an evaluation may use: half.
const STACK_MAX_BYTES: usize = if cfg!(windows) {
    512 * 1024
} else {
    1024 * 1024
};
/// The stack for compiling: more than the deepest source within the limits needs.
pub(super) const COMPILE_STACK_BYTES: usize = if cfg!(debug_assertions) { 256 } else { 64 } << 20;
/// How many levels of nesting are evaluated between two checks.
const LEVELS_PER_CHECK: usize = 8;
/// How many checks pass between two reads of the clock.
const CHECKS_PER_CLOCK: u32 = 64;

/// The name of the check function. No expression can contain it.
const CHECK: &str = "!check";
/// The name under which the interpreter's own `range` stays available.
pub(super) const UNCHECKED_RANGE: &str = "!range";
/// The name under which the interpreter's own `fromjson` stays available.
pub(super) const UNCHECKED_FROMJSON: &str = "!fromjson";
/// The name of the function that refuses a text with JSON that is nested too deep.
const CHECK_DEPTH: &str = "!check_depth";

/// A limit that an evaluation exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    RunTime,
    Depth,
}

/// The evaluation that runs on this thread.
#[derive(Debug, Clone, Copy)]
struct Evaluation {
    stack_base: usize,
    deadline: Instant,
    checks: u32,
    exceeded: Option<Limit>,
}

thread_local! {
    static EVALUATION: Cell<Option<Evaluation>> = const { Cell::new(None) };
}

/// The run time left for one record. The time in which results are written does not count.
#[derive(Debug)]
pub(super) struct RunTimeBudget {
    left: Duration,
    checks: u32,
    exceeded: Option<Limit>,
}

impl RunTimeBudget {
    pub(super) const fn new(run_time: Duration) -> Self {
        Self {
            left: run_time,
            checks: 0,
            exceeded: None,
        }
    }

    /// Runs a part of an evaluation within the limits.
    ///
    /// # Errors
    ///
    /// A limit is exceeded, now or earlier.
    pub(super) fn run<T>(&mut self, part: impl FnOnce() -> T) -> Result<T, Limit> {
        if let Some(limit) = self.exceeded {
            return Err(limit);
        }
        let start = Instant::now();
        EVALUATION.set(Some(Evaluation {
            stack_base: stack_address(),
            deadline: start + self.left,
            checks: self.checks,
            exceeded: None,
        }));
        let result = part();
        self.left = self.left.saturating_sub(start.elapsed());
        if let Some(evaluation) = EVALUATION.take() {
            self.checks = evaluation.checks;
            self.exceeded = evaluation.exceeded;
        }
        self.exceeded.map_or(Ok(result), Err)
    }
}

/// The approximate end of this thread's stack.
#[inline(never)]
fn stack_address() -> usize {
    let marker = 0_u8;
    std::ptr::from_ref(black_box(&marker)).addr()
}

fn check() -> Result<(), Exn<'static, Val>> {
    let Some(mut evaluation) = EVALUATION.get() else {
        return Ok(());
    };
    evaluation.checks = evaluation.checks.wrapping_add(1);
    if evaluation.exceeded.is_none() {
        if stack_address().abs_diff(evaluation.stack_base) > STACK_MAX_BYTES {
            evaluation.exceeded = Some(Limit::Depth);
        } else if evaluation.checks.is_multiple_of(CHECKS_PER_CLOCK)
            && Instant::now() > evaluation.deadline
        {
            evaluation.exceeded = Some(Limit::RunTime);
        }
    }
    EVALUATION.set(Some(evaluation));
    match evaluation.exceeded {
        None => Ok(()),
        Some(_) => Err(Exn::from(Error::str("a limit is exceeded"))),
    }
}

/// The check as a filter that expressions can call.
pub(super) fn native() -> Fun<JustLut<Val>> {
    let check = Native::new(|(_, value)| box_once(check().map(|()| value)))
        .with_paths(|(_, at)| box_once(check().map(|()| at)))
        .with_update(|(_, value), update| match check() {
            Ok(()) => update(value),
            Err(error) => box_once(Err(error)),
        });
    (CHECK, v(0), check)
}

/// The definition of `range` with a check after each result.
pub(super) fn range() -> Def<&'static str> {
    let args = ["$from", "$to", "$by"];
    let values = args.map(Term::Var).into();
    let body = pipe(Term::Call(UNCHECKED_RANGE, values), call_check());
    Def {
        name: "range",
        args: args.into(),
        body,
    }
}

/// The function that `fromjson` calls first: the parser recurses, and the text may come from an event.
pub(super) fn depth_check() -> Fun<JustLut<Val>> {
    let check = Native::new(|(_, value)| {
        let is_too_deep = matches!(&value, Val::TStr(text) | Val::BStr(text) if is_deep(text));
        box_once(if is_too_deep {
            let message = format!("JSON that is nested more than {JSON_DEPTH_MAX} levels deep");
            Err(Exn::from(Error::str(message)))
        } else {
            Ok(value)
        })
    });
    (CHECK_DEPTH, v(0), check)
}

/// The definition of `fromjson` with a check before it.
pub(super) fn fromjson() -> Def<&'static str> {
    Def {
        name: "fromjson",
        args: Vec::new(),
        body: pipe(
            Term::Call(CHECK_DEPTH, Vec::new()),
            Term::Call(UNCHECKED_FROMJSON, Vec::new()),
        ),
    }
}

const fn call_check<'s>() -> Term<&'s str> {
    Term::Call(CHECK, Vec::new())
}

fn pipe<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(left.into(), BinaryOp::Pipe(None), right.into())
}

/// Adds checks to a definition of the standard library: to the functions inside it, because these recurse.
pub(super) fn with_checks_inside<'s>(def: Def<&'static str>) -> Def<&'s str> {
    Def {
        body: with_checks(def.body, 0),
        ..def
    }
}

fn with_checks_in_def(def: Def<&str>) -> Def<&str> {
    Def {
        body: pipe(call_check(), with_checks(def.body, 0)),
        ..def
    }
}

/// Adds checks to a term at this depth.
pub(super) fn with_checks<'s>(term: Term<&'s str>, depth: usize) -> Term<&'s str> {
    let deeper = |term| with_checks(term, depth + 1);
    let boxed = |term: Box<Term<&'s str>>| Box::new(deeper(*term));
    let all = |terms: Vec<Term<&'s str>>| terms.into_iter().map(deeper).collect();
    let term = match term {
        leaf @ (Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_)) => {
            return leaf;
        }
        Term::Str(format, parts) => {
            let parts = parts.into_iter().map(|part| match part {
                StrPart::Term(term) => StrPart::Term(deeper(term)),
                other => other,
            });
            Term::Str(format, parts.collect())
        }
        Term::Arr(term) => Term::Arr(term.map(boxed)),
        Term::Obj(fields) => {
            let fields = fields.into_iter();
            Term::Obj(
                fields
                    .map(|(key, value)| (deeper(key), value.map(deeper)))
                    .collect(),
            )
        }
        Term::Neg(term) => Term::Neg(boxed(term)),
        Term::BinOp(left, op, right) => Term::BinOp(boxed(left), op, boxed(right)),
        Term::Label(name, term) => Term::Label(name, boxed(term)),
        Term::Fold(name, source, pattern, terms) => {
            Term::Fold(name, boxed(source), pattern, all(terms))
        }
        Term::TryCatch(term, catch) => Term::TryCatch(boxed(term), catch.map(boxed)),
        Term::IfThenElse(branches, otherwise) => {
            let branches = branches.into_iter();
            Term::IfThenElse(
                branches
                    .map(|(condition, then)| (deeper(condition), deeper(then)))
                    .collect(),
                otherwise.map(boxed),
            )
        }
        Term::Def(defs, term) => {
            let defs = defs.into_iter().map(with_checks_in_def);
            Term::Def(defs.collect(), boxed(term))
        }
        Term::Call(name, args) => Term::Call(name, all(args)),
        Term::Path(term, Path(parts)) => {
            let parts = parts.into_iter().map(|(part, opt)| {
                let part = match part {
                    Part::Index(term) => Part::Index(deeper(term)),
                    Part::Range(from, to) => Part::Range(from.map(deeper), to.map(deeper)),
                };
                (part, opt)
            });
            Term::Path(boxed(term), Path(parts.collect()))
        }
    };
    if (depth + 1).is_multiple_of(LEVELS_PER_CHECK) {
        pipe(call_check(), term)
    } else {
        term
    }
}

/// Whether a JSON text is nested deeper than the limit.
pub(super) fn is_deep(json: &[u8]) -> bool {
    // Counting is cheap, and nearly every record has fewer brackets than the limit. The two brackets differ in one bit.
    let is_bracket = |byte: &u8| u8::from(byte | 0x20 == b'{');
    let brackets: usize = json
        .chunks(128)
        .map(|chunk| usize::from(chunk.iter().map(is_bracket).sum::<u8>()))
        .sum();
    if brackets <= JSON_DEPTH_MAX {
        return false;
    }
    let mut strings = StringState::default();
    let mut depth = 0_usize;
    json.iter()
        .filter(|&&byte| !strings.is_in_string(byte))
        .any(|byte| {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth > JSON_DEPTH_MAX
        })
}
