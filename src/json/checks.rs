//! Adds checks to the terms of an expression, so that the limits hold.
//!
//! There is a check at the start of each function, after each value of an iteration, every few levels of nesting, and
//! wherever a value is built.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

use super::checked_functions::{
    ADD, CHECK, CHECK_PART, CHECK_TEXT, CHECK_UPDATED, CHECK_VALUE, DIVIDE, MULTIPLY, call, pipe,
};

/// How many levels of nesting are evaluated between two checks.
const LEVELS_PER_CHECK: usize = 8;
/// The variable with the operand of an arithmetic update. No expression can contain its name.
const OPERAND: &str = "$!operand";

/// Adds checks to a definition of the standard library: to the functions inside it, because these recurse.
pub(super) fn with_checks_inside<'s>(def: Def<&'static str>) -> Def<&'s str> {
    Def {
        body: with_checks(def.body, 0),
        ..def
    }
}

fn with_checks_in_def(def: Def<&str>) -> Def<&str> {
    Def {
        body: pipe(call(CHECK), with_checks(def.body, 0)),
        ..def
    }
}

/// Adds checks to a term at this depth.
pub(super) fn with_checks<'s>(term: Term<&'s str>, depth: usize) -> Term<&'s str> {
    let deeper = |term| with_checks(term, depth + 1);
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
            let fields = fields.map(|(key, value)| (deeper(key), value.map(deeper)));
            pipe(Term::Obj(fields.collect()), call(CHECK_VALUE))
        }
        Term::Neg(term) => Term::Neg(boxed(term)),
        Term::BinOp(left, op, right) => with_checked_operator(deeper(*left), op, deeper(*right)),
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
            let has_iterator = parts
                .iter()
                .any(|(part, _)| matches!(part, Part::Range(None, None)));
            let parts = parts.into_iter().map(|(part, opt)| {
                let part = match part {
                    Part::Index(term) => Part::Index(deeper(term)),
                    Part::Range(from, to) => Part::Range(from.map(deeper), to.map(deeper)),
                };
                (part, opt)
            });
            let path = Term::Path(boxed(term), Path(parts.collect()));
            if has_iterator {
                pipe(path, call(CHECK))
            } else {
                path
            }
        }
    };
    if (depth + 1).is_multiple_of(LEVELS_PER_CHECK) {
        pipe(call(CHECK), term)
    } else {
        term
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
        BinaryOp::Update if matches!(right, Term::Call(ADD | MULTIPLY | DIVIDE, _)) => {
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
        Math::Div if !has_number => Some(DIVIDE),
        Math::Add | Math::Div | Math::Sub | Math::Rem => None,
    }
}
