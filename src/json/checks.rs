//! Adds checks to the terms of an expression, so that the limits hold.
//!
//! There is a check at the start of each function, after each value of an iteration, every few levels of nesting, and
//! wherever a value is built.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Opt, Part, Path};

use super::checked_functions::{
    ADD, CHECK, CHECK_COPY, CHECK_KEY, CHECK_PART, CHECK_RECURSION, CHECK_RESULT, CHECK_TEXT,
    CHECK_UPDATED, CHECK_VALUE, DIVIDE, MULTIPLY, SUBTRACT, call, pipe,
};

/// How many levels of nesting are evaluated between two checks.
const LEVELS_PER_CHECK: usize = 8;
/// How many parts of a path are evaluated between two checks.
const PARTS_PER_CHECK: usize = 8;
/// The variable with the operand of an arithmetic update. No expression can contain its name.
const OPERAND: &str = "$!operand";

/// Where a term is.
#[derive(Clone, Copy, Default)]
pub(super) struct Place<'p> {
    depth: usize,
    /// The functions around it whose arguments are filters. Each call from inside keeps the arguments of the call around
    /// it.
    recursive: &'p [&'p str],
}

/// Adds checks to a definition of the standard library: to the functions inside it, because these recurse.
pub(super) fn with_checks_inside<'s>(def: Def<&'static str>) -> Def<&'s str> {
    Def {
        body: with_checks(def.body, Place::default()),
        ..def
    }
}

fn with_checks_in_def<'s>(def: Def<&'s str>, place: Place<'_>) -> Def<&'s str> {
    let mut recursive = place.recursive.to_vec();
    if def.args.iter().any(|arg| !arg.starts_with('$')) {
        recursive.push(def.name);
    }
    let inside = Place {
        depth: 0,
        recursive: &recursive,
    };
    Def {
        body: pipe(call(CHECK), with_checks(def.body, inside)),
        ..def
    }
}

/// Adds checks to a term at this place.
pub(super) fn with_checks<'s>(term: Term<&'s str>, place: Place<'_>) -> Term<&'s str> {
    let depth = place.depth;
    let inner = Place {
        depth: depth + 1,
        ..place
    };
    let deeper = |term| with_checks(term, inner);
    let boxed = |term: Box<Term<&'s str>>| Box::new(deeper(*term));
    let all = |terms: Vec<Term<&'s str>>| terms.into_iter().map(deeper).collect();
    let term = match term {
        leaf @ (Term::Id | Term::Num(_) | Term::Break(_) | Term::Var(_)) => return leaf,
        Term::Recurse => return pipe(Term::Recurse, call(CHECK)),
        Term::Str(format, parts) => {
            let parts = parts.into_iter().map(|part| match part {
                StrPart::Term(term) => StrPart::Term(pipe(deeper(term), call(CHECK_TEXT))),
                other => other,
            });
            Term::Str(format, parts.collect())
        }
        Term::Arr(None) => return Term::Arr(None),
        Term::Arr(term) => pipe(Term::Arr(term.map(boxed)), call(CHECK_VALUE)),
        Term::Obj(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(key, value)| match value {
                Some(value) => (with_checked_key(deeper(key)), Some(deeper(value))),
                None => (deeper(key), None),
            });
            pipe(Term::Obj(fields.collect()), call(CHECK_VALUE))
        }
        Term::Neg(term) if matches!(*term, Term::Num(_)) => Term::Neg(term),
        Term::Neg(term) => pipe(Term::Neg(boxed(term)), call(CHECK_RESULT)),
        Term::BinOp(left, BinaryOp::Pipe(Some(pattern)), right) => {
            let op = BinaryOp::Pipe(Some(with_checks_in_pattern(pattern, inner)));
            Term::BinOp(boxed(left), op, boxed(right))
        }
        Term::BinOp(left, op, right) => with_checked_operator(deeper(*left), op, deeper(*right)),
        Term::Label(name, term) => Term::Label(name, boxed(term)),
        Term::Fold(name, source, pattern, terms) => {
            let pattern = with_checks_in_pattern(pattern, inner);
            Term::Fold(name, boxed(source), pattern, all(terms))
        }
        Term::TryCatch(term, catch) => {
            // An error becomes a text with the whole value that it is about.
            let catch = catch.map(|catch| pipe(call(CHECK_COPY), deeper(*catch)));
            Term::TryCatch(boxed(term), catch.map(Box::new))
        }
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
            let defs = defs.into_iter().map(|def| with_checks_in_def(def, inner));
            Term::Def(defs.collect(), boxed(term))
        }
        Term::Call(name, args) => {
            let has_args = !args.is_empty();
            let args = args.into_iter().map(|arg| match arg {
                leaf @ (Term::Id | Term::Num(_) | Term::Var(_)) => leaf,
                arg => pipe(call(CHECK), deeper(arg)),
            });
            let called = Term::Call(name, args.collect());
            if has_args && place.recursive.contains(&name) {
                pipe(call(CHECK_RECURSION), called)
            } else {
                called
            }
        }
        Term::Path(term, Path(parts)) => with_checked_parts(deeper(*term), parts, inner),
    };
    if (depth + 1).is_multiple_of(LEVELS_PER_CHECK) {
        pipe(call(CHECK), term)
    } else {
        term
    }
}

fn with_checks_in_pattern<'s>(pattern: Pattern<&'s str>, place: Place<'_>) -> Pattern<&'s str> {
    let inside = |pattern| with_checks_in_pattern(pattern, place);
    match pattern {
        Pattern::Var(_) => pattern,
        Pattern::Arr(items) => Pattern::Arr(items.into_iter().map(inside).collect()),
        Pattern::Obj(entries) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let key = with_checked_key(with_checks(key, place));
                (key, inside(value))
            });
            Pattern::Obj(entries.collect())
        }
    }
}

/// A path whose base has checks.
fn with_checked_parts<'s>(
    base: Term<&'s str>,
    parts: Vec<(Part<Term<&'s str>>, Opt)>,
    place: Place<'_>,
) -> Term<&'s str> {
    let deeper = |term| with_checks(term, place);
    let mut path = base;
    let is_long = parts.len() > PARTS_PER_CHECK;
    let mut parts = parts.into_iter().peekable();
    while parts.peek().is_some() {
        let (mut some, mut check) = (Vec::new(), None);
        for (part, opt) in parts.by_ref().take(PARTS_PER_CHECK) {
            some.push(match part {
                Part::Index(index) => (Part::Index(with_checked_key(deeper(index))), opt),
                Part::Range(None, None) => {
                    check = check.or(Some(CHECK));
                    (Part::Range(None, None), opt)
                }
                Part::Range(from, to) => {
                    check = Some(CHECK_COPY);
                    (Part::Range(from.map(deeper), to.map(deeper)), opt)
                }
            });
        }
        path = Term::Path(path.into(), Path(some));
        if is_long {
            // The evaluation of a long path begins with its last part, and recurses.
            path = pipe(call(CHECK), path);
        }
        if let Some(check) = check {
            path = pipe(path, call(check));
        }
    }
    path
}

/// A key whose size has a check, unless it is written in the source.
fn with_checked_key(key: Term<&str>) -> Term<&str> {
    let is_constant = match &key {
        Term::Num(_) => true,
        Term::Str(None, parts) => !parts.iter().any(|part| matches!(part, StrPart::Term(_))),
        _ => false,
    };
    if is_constant {
        key
    } else {
        pipe(key, call(CHECK_KEY))
    }
}

/// An operation whose operands have checks, with the checks of the operator.
fn with_checked_operator<'s>(
    left: Term<&'s str>,
    op: BinaryOp<&'s str>,
    right: Term<&'s str>,
) -> Term<&'s str> {
    match op {
        BinaryOp::Math(op) => match checked_operator(op, &left, &right) {
            Some(function) => Term::Call(function, vec![left, right]),
            None => Term::BinOp(left.into(), BinaryOp::Math(op), right.into()),
        },
        BinaryOp::UpdateMath(op) => match checked_operator(op, &Term::Id, &right) {
            // `p += f` is `f as $x | p |= . + $x`.
            Some(function) => {
                let operation = Term::Call(function, vec![Term::Id, Term::Var(OPERAND)]);
                let update = Term::BinOp(left.into(), BinaryOp::Update, operation.into());
                let bind = BinaryOp::Pipe(Some(Pattern::Var(OPERAND)));
                Term::BinOp(right.into(), bind, pipe(update, call(CHECK_UPDATED)).into())
            }
            None => Term::BinOp(left.into(), BinaryOp::UpdateMath(op), right.into()),
        },
        BinaryOp::Update if matches!(right, Term::Call(ADD | SUBTRACT | MULTIPLY | DIVIDE, _)) => {
            let update = Term::BinOp(left.into(), BinaryOp::Update, right.into());
            pipe(update, call(CHECK_UPDATED))
        }
        BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateAlt => {
            let right = pipe(right, call(CHECK_PART));
            let update = Term::BinOp(left.into(), op, right.into());
            pipe(update, call(CHECK_UPDATED))
        }
        BinaryOp::Pipe(_)
        | BinaryOp::Comma
        | BinaryOp::Alt
        | BinaryOp::Or
        | BinaryOp::And
        | BinaryOp::Cmp(_) => Term::BinOp(left.into(), op, right.into()),
    }
}

/// The function that stands for an operator; `None` if the operation needs no check.
fn checked_operator(op: Math, left: &Term<&str>, right: &Term<&str>) -> Option<&'static str> {
    let has_number = matches!(left, Term::Num(_)) || matches!(right, Term::Num(_));
    match op {
        Math::Add if !has_number => Some(ADD),
        Math::Mul => Some(MULTIPLY),
        Math::Sub if !has_number => Some(SUBTRACT),
        Math::Div if !has_number => Some(DIVIDE),
        Math::Add | Math::Sub | Math::Div | Math::Rem => None,
    }
}
