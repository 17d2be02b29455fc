//! Projection: finds out which fields of a record an expression reads.
//!
//! Most expressions read a few fields, such as `.user.id`. Parsing the whole record into values costs more than
//! evaluating them. So each path from the record is replaced by a variable, and only the values of these variables are
//! parsed. The results are those of the original expression if every path leads to a value or to nothing. Where the
//! interpreter would fail on a path, the original expression must be evaluated.
//!
//! A term is rewritten only if it is known which of its parts have the same input as itself. Any other term gets its
//! whole input. If that is the record, there is no projection.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path::{Opt, Part, Path};

/// The variables that stand for fields. No expression can contain their names.
const VARIABLES: [&str; 16] = [
    "$!0", "$!1", "$!2", "$!3", "$!4", "$!5", "$!6", "$!7", "$!8", "$!9", "$!10", "$!11", "$!12",
    "$!13", "$!14", "$!15",
];

/// The deepest nesting of terms that is rewritten.
const MAX_DEPTH: usize = 64;

/// The names on the way from the record to a field. Empty for the record itself.
pub(super) type FieldNames = Vec<String>;

/// An expression over variables instead of a record.
#[derive(Debug)]
pub(super) struct Projection<'s> {
    /// The field for each variable.
    pub(super) fields: Vec<FieldNames>,
    /// The rewritten expression.
    pub(super) term: Term<&'s str>,
}

impl<'s> Projection<'s> {
    /// Rewrites an expression; `None` if it reads the whole record or too many fields.
    pub(super) fn new(term: &Term<&'s str>) -> Option<Self> {
        let mut projector = Projector::default();
        let term = projector.rewrite(term, Scope::default())?;
        Some(Self {
            fields: projector.fields,
            term,
        })
    }

    /// The names of the variables, in the order of the fields.
    pub(super) fn variables(&self) -> &'static [&'static str] {
        &VARIABLES[..self.fields.len()]
    }

    /// The field that is the only result, if the expression only names one.
    pub(super) fn field(&self) -> Option<&FieldNames> {
        match (&self.term, self.fields.as_slice()) {
            (Term::Var(name), [field]) if *name == VARIABLES[0] => Some(field),
            _ => None,
        }
    }
}

/// Where a term is.
#[derive(Clone, Copy, Default)]
struct Scope<'i> {
    /// The field that is the term's input.
    input: &'i [String],
    depth: usize,
}

impl<'i> Scope<'i> {
    const fn with_input(self, input: &'i [String]) -> Self {
        Self { input, ..self }
    }

    fn deeper(self) -> Option<Self> {
        (self.depth < MAX_DEPTH).then_some(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

/// Rewrites terms and collects the fields that they read.
#[derive(Default)]
struct Projector {
    fields: Vec<FieldNames>,
}

impl Projector {
    /// The variable of a field; `None` for the whole record.
    fn variable<'s>(&mut self, field: &[String]) -> Option<Term<&'s str>> {
        if field.is_empty() {
            return None;
        }
        let known = self.fields.iter().position(|known| known == field);
        let index = known.unwrap_or_else(|| {
            self.fields.push(field.to_vec());
            self.fields.len() - 1
        });
        VARIABLES.get(index).copied().map(Term::Var)
    }

    /// A term that gets its whole input.
    fn apply<'s>(&mut self, term: &Term<&'s str>, scope: Scope<'_>) -> Option<Term<&'s str>> {
        Some(pipe(self.variable(scope.input)?, term.clone()))
    }

    fn rewrite<'s>(&mut self, term: &Term<&'s str>, scope: Scope<'_>) -> Option<Term<&'s str>> {
        if let Some(field) = resolve(term, scope) {
            return self.variable(&field);
        }
        let inner = scope.deeper()?;
        Some(match term {
            Term::Num(_) | Term::Break(_) | Term::Var(_) | Term::Arr(None) => term.clone(),
            Term::Neg(term) => Term::Neg(self.rewrite(term, inner)?.into()),
            Term::Arr(Some(term)) => Term::Arr(Some(self.rewrite(term, inner)?.into())),
            Term::Label(name, term) => Term::Label(name, self.rewrite(term, inner)?.into()),
            Term::TryCatch(term, catch) => {
                Term::TryCatch(self.rewrite(term, inner)?.into(), catch.clone())
            }
            Term::Str(format, parts) => {
                let parts = parts.iter().map(|part| match part {
                    StrPart::Term(term) => self.rewrite(term, inner).map(StrPart::Term),
                    other => Some(other.clone()),
                });
                Term::Str(*format, parts.collect::<Option<_>>()?)
            }
            Term::Obj(entries) => {
                let entries = entries.iter().map(|entry| self.rewrite_entry(entry, inner));
                Term::Obj(entries.collect::<Option<_>>()?)
            }
            Term::IfThenElse(branches, otherwise) => {
                let branches = branches
                    .iter()
                    .map(|(condition, then)| {
                        Some((self.rewrite(condition, inner)?, self.rewrite(then, inner)?))
                    })
                    .collect::<Option<_>>()?;
                let otherwise = match otherwise {
                    Some(otherwise) => self.rewrite(otherwise, inner)?,
                    None => self.variable(scope.input)?,
                };
                Term::IfThenElse(branches, Some(otherwise.into()))
            }
            Term::Fold(name, source, pattern, terms) if is_constant(pattern) => {
                let source = self.rewrite(source, inner)?.into();
                // Only the first value has the term's input; the others have the intermediate results.
                let (first, others) = terms.split_first()?;
                let terms = std::iter::once(self.rewrite(first, inner)?);
                let terms = terms.chain(others.iter().cloned()).collect();
                Term::Fold(name, source, pattern.clone(), terms)
            }
            Term::BinOp(left, op, right) => match op {
                BinaryOp::Pipe(None) => self.rewrite_pipe(left, right, inner)?,
                BinaryOp::Pipe(Some(pattern)) if !is_constant(pattern) => {
                    self.apply(term, scope)?
                }
                BinaryOp::Assign
                | BinaryOp::Update
                | BinaryOp::UpdateMath(_)
                | BinaryOp::UpdateAlt => self.apply(term, scope)?,
                BinaryOp::Pipe(Some(_))
                | BinaryOp::Comma
                | BinaryOp::Alt
                | BinaryOp::Or
                | BinaryOp::And
                | BinaryOp::Math(_)
                | BinaryOp::Cmp(_) => {
                    let left = self.rewrite(left, inner)?;
                    let right = self.rewrite(right, inner)?;
                    Term::BinOp(left.into(), op.clone(), right.into())
                }
            },
            Term::Call(name, args) => match (*name, args.as_slice()) {
                ("empty" | "true" | "false" | "null" | "nan" | "infinite" | "now", []) => {
                    term.clone()
                }
                ("error" | "first" | "last" | "isempty" | "add", [_])
                | ("limit" | "skip" | "nth", [_, _])
                | ("range", [_] | [_, _] | [_, _, _]) => {
                    let args = args.iter().map(|arg| self.rewrite(arg, inner));
                    Term::Call(name, args.collect::<Option<_>>()?)
                }
                ("any" | "all", [source, condition]) => {
                    Term::Call(name, vec![self.rewrite(source, inner)?, condition.clone()])
                }
                ("select", [_]) => self.rewrite_pipe(term, &Term::Id, inner)?,
                _ => self.apply(term, scope)?,
            },
            Term::Path(base, Path(parts)) => {
                let (base, parts) = match resolve(base, inner) {
                    Some(mut field) => {
                        let names: Vec<String> = parts.iter().map_while(index_name).collect();
                        let rest = &parts[names.len()..];
                        field.extend(names);
                        (self.variable(&field)?, rest)
                    }
                    None => (self.rewrite(base, inner)?, parts.as_slice()),
                };
                let mut bound = |bound: &Option<Term<&'s str>>| match bound {
                    Some(bound) => self.rewrite(bound, inner).map(Some),
                    None => Some(None),
                };
                let parts = parts.iter().map(|(part, optional)| {
                    let part = match part {
                        Part::Index(index) => Part::Index(bound(&Some(index.clone()))??),
                        Part::Range(from, to) => Part::Range(bound(from)?, bound(to)?),
                    };
                    Some((part, *optional))
                });
                Term::Path(base.into(), Path(parts.collect::<Option<_>>()?))
            }
            Term::Id | Term::Recurse | Term::Fold(..) | Term::Def(..) => self.apply(term, scope)?,
        })
    }

    /// Rewrites `left | right`.
    fn rewrite_pipe<'s>(
        &mut self,
        left: &Term<&'s str>,
        right: &Term<&'s str>,
        scope: Scope<'_>,
    ) -> Option<Term<&'s str>> {
        if let Some(field) = resolve(left, scope) {
            let right = self.rewrite(right, scope.with_input(&field).deeper()?)?;
            if !field.is_empty() && !self.fields.iter().any(|read| read.starts_with(&field)) {
                // The value does not matter, but whether the path fails does.
                self.variable(&field)?;
            }
            return Some(right);
        }
        match left {
            Term::BinOp(first, BinaryOp::Pipe(None), second) => {
                let rest = pipe(Term::clone(second), right.clone());
                self.rewrite_pipe(first, &rest, scope.deeper()?)
            }
            // The output is the input.
            Term::Call("select", args) if args.len() == 1 => {
                let condition = self.rewrite(&args[0], scope)?;
                let then = self.rewrite(right, scope.deeper()?)?;
                let otherwise = Term::Call("empty", Vec::new());
                Some(Term::IfThenElse(
                    vec![(condition, then)],
                    Some(otherwise.into()),
                ))
            }
            _ => Some(pipe(self.rewrite(left, scope)?, right.clone())),
        }
    }

    /// Rewrites an entry of an object.
    fn rewrite_entry<'s>(
        &mut self,
        (key, value): &(Term<&'s str>, Option<Term<&'s str>>),
        scope: Scope<'_>,
    ) -> Option<(Term<&'s str>, Option<Term<&'s str>>)> {
        Some(match value {
            Some(value) => (self.rewrite(key, scope)?, Some(self.rewrite(value, scope)?)),
            None if matches!(key, Term::Var(_)) => (key.clone(), None),
            None => {
                let field = [scope.input, &[constant(key)?]].concat();
                (key.clone(), Some(self.variable(&field)?))
            }
        })
    }
}

fn pipe<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(left.into(), BinaryOp::Pipe(None), right.into())
}

/// The field that is the only result of a term; `None` if there is more to it than a path.
fn resolve(term: &Term<&str>, scope: Scope<'_>) -> Option<FieldNames> {
    let inner = scope.deeper()?;
    match term {
        Term::Id => Some(scope.input.to_vec()),
        Term::Path(base, Path(parts)) => {
            let mut field = resolve(base, inner)?;
            for part in parts {
                field.push(index_name(part)?);
            }
            Some(field)
        }
        Term::BinOp(left, BinaryOp::Pipe(None), right) => {
            let field = resolve(left, inner)?;
            resolve(right, inner.with_input(&field))
        }
        _ => None,
    }
}

/// The name of a part such as `.name`.
fn index_name((part, _): &(Part<Term<&str>>, Opt)) -> Option<String> {
    match part {
        Part::Index(index) => constant(index),
        Part::Range(..) => None,
    }
}

/// The text of a string without interpolation.
fn constant(term: &Term<&str>) -> Option<String> {
    let Term::Str(None, parts) = term else {
        return None;
    };
    let mut text = String::new();
    for part in parts {
        match part {
            StrPart::Str(part) => text.push_str(part),
            StrPart::Char(char) => text.push(*char),
            StrPart::Term(_) => return None,
        }
    }
    Some(text)
}

/// Whether a pattern contains no terms to evaluate.
fn is_constant(pattern: &Pattern<&str>) -> bool {
    match pattern {
        Pattern::Var(_) => true,
        Pattern::Arr(items) => items.iter().all(is_constant),
        Pattern::Obj(entries) => entries
            .iter()
            .all(|(key, value)| constant(key).is_some() && is_constant(value)),
    }
}
