//! The definitions of the standard library that an expression needs.
//!
//! Parsing and compiling the whole library takes longer than most one-shot commands do otherwise. An expression that
//! calls no function needs none of it.

use std::collections::BTreeSet;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Part, Path};

/// The definitions of the library that a term calls, directly or through others, in their order. A definition can call
/// itself and earlier ones.
pub(super) fn needed<'s>(
    term: &Term<&'s str>,
    library: impl FnOnce() -> Vec<Def<&'static str>>,
) -> Vec<Def<&'static str>> {
    let mut called: BTreeSet<&'s str> = BTreeSet::new();
    visit(term, &mut |name| {
        called.insert(name);
    });
    if called.is_empty() {
        return Vec::new();
    }
    let mut needed = Vec::new();
    for def in library().into_iter().rev() {
        if called.contains(def.name) {
            visit(&def.body, &mut |name| {
                called.insert(name);
            });
            needed.push(def);
        }
    }
    needed.reverse();
    needed
}

/// Passes on the names of the functions that a term calls.
fn visit<'s>(term: &Term<&'s str>, call: &mut impl FnMut(&'s str)) {
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
        Term::Str(format, parts) => {
            format.iter().for_each(|format| call(format));
            for part in parts {
                if let StrPart::Term(term) = part {
                    visit(term, call);
                }
            }
        }
        Term::Arr(items) => items.iter().for_each(|items| visit(items, call)),
        Term::Obj(entries) => {
            for (key, value) in entries {
                visit(key, call);
                value.iter().for_each(|value| visit(value, call));
            }
        }
        Term::Neg(term) | Term::Label(_, term) => visit(term, call),
        Term::BinOp(left, op, right) => {
            visit(left, call);
            if let BinaryOp::Pipe(Some(pattern)) = op {
                visit_pattern(pattern, call);
            }
            visit(right, call);
        }
        Term::Fold(_, source, pattern, terms) => {
            visit(source, call);
            visit_pattern(pattern, call);
            terms.iter().for_each(|term| visit(term, call));
        }
        Term::TryCatch(term, catch) => {
            visit(term, call);
            catch.iter().for_each(|catch| visit(catch, call));
        }
        Term::IfThenElse(branches, otherwise) => {
            for (condition, then) in branches {
                visit(condition, call);
                visit(then, call);
            }
            otherwise.iter().for_each(|term| visit(term, call));
        }
        Term::Def(defs, term) => {
            defs.iter().for_each(|def| visit(&def.body, call));
            visit(term, call);
        }
        Term::Call(name, args) => {
            call(name);
            args.iter().for_each(|arg| visit(arg, call));
        }
        Term::Path(term, Path(parts)) => {
            visit(term, call);
            for (part, _) in parts {
                match part {
                    Part::Index(index) => visit(index, call),
                    Part::Range(from, to) => {
                        from.iter().chain(to).for_each(|bound| visit(bound, call));
                    }
                }
            }
        }
    }
}

fn visit_pattern<'s>(pattern: &Pattern<&'s str>, call: &mut impl FnMut(&'s str)) {
    match pattern {
        Pattern::Var(_) => {}
        Pattern::Arr(items) => items.iter().for_each(|item| visit_pattern(item, call)),
        Pattern::Obj(entries) => {
            for (key, value) in entries {
                visit(key, call);
                visit_pattern(value, call);
            }
        }
    }
}
