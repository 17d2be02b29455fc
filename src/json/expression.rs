//! jq expressions over records: `--jq`, `--where`, `--until`, `wait --for`.
//!
//! The `jaq` crates provide the language. An expression is compiled once and sees only the record that it is given. Where
//! it reads some fields of the record only, the rest is not parsed (see `projection`).
//!
//! Functions that read files, the environment, stdin or time zones, that write to stderr, or that end the process are
//! not available. Results are computed one at a time, so a condition costs only its first result.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use jaq_core::load::parse::{Def, Term};
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Ctx, ValX, Vars, compile, unwrap_valr};
use jaq_json::{Val, read};
use memchr::memchr;

use super::checked_functions::{self, Data};
use super::checks::Place;
use super::limits::{
    self, BUILT_MAX_BYTES, EvaluationBudget, JSON_DEPTH_MAX, Limit, NUMBER_MAX_DIGITS,
    RUN_TIME_MAX, Stop,
};
use super::path::{FieldPath, FieldTree, Found, has_half_surrogates};
use super::printing::{Printed, StringForm, printed};
use super::projection::{FieldNames, Projection};
use super::scanner::Json;
use super::value_size::ValueSize;
use super::{checks, definitions};
use crate::escape;
use crate::exit::{Code, Failure};

type CompiledFilter = jaq_core::Filter<Data>;

/// The name of the jq definition that contains an expression.
const MAIN_DEFINITION: &str = "__main";

/// Functions that are not available, because they reach outside the record.
const UNAVAILABLE_FUNCTIONS: [&str; 10] = [
    "env",
    "halt",
    "halt_error",
    "debug",
    "debug_empty",
    "stderr",
    "stderr_empty",
    "localtime",
    "strflocaltime",
    "input",
];

/// A compiled jq expression.
pub struct Expr {
    source: String,
    /// The expression over the fields that it reads. `None` if it reads the whole record.
    projected: Option<ProjectedExpr>,
    /// The expression over the whole record. With a projection it is compiled when a record needs it.
    whole: OnceLock<CompiledFilter>,
    /// The limit that the expression exceeded on a record. It is then not evaluated again, so that the stream stays
    /// responsive.
    exceeded: OnceLock<Limit>,
}

/// An expression that is evaluated without the rest of the record.
enum ProjectedExpr {
    /// It names a field.
    Field(FieldPath),
    /// It computes something from fields.
    Filter {
        fields: Vec<FieldNames>,
        tree: FieldTree,
        /// The filter over variables, one for each field.
        filter: CompiledFilter,
    },
}

/// What an evaluation starts from.
enum Start<'e> {
    /// The only result.
    Result(Val),
    /// A filter with its variables and its input.
    Filter(&'e CompiledFilter, Vars<Val>, Val),
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expr").field(&self.source).finish()
    }
}

/// Why an expression has no result for a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalError(String);

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EvalError {}

impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Self {
        Self::new(Code::Usage, error.0).hinted(
            "try the expression on one record first: presencectl query-users -n 1 --jq EXPR",
        )
    }
}

impl Expr {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// The expression does not compile. The exit code is 2, and the message shows the position.
    pub fn compile(source: &str) -> Result<Self, Failure> {
        if source.len() > limits::SOURCE_MAX_BYTES
            || bracket_depth(source) > limits::SOURCE_DEPTH_MAX
        {
            let message = format!(
                "`{}` does not compile: an expression has at most {} bytes and {} levels of brackets",
                escape::quote(source),
                limits::SOURCE_MAX_BYTES,
                limits::SOURCE_DEPTH_MAX
            );
            return Err(Failure::new(Code::Usage, message));
        }
        let (projected, whole) = on_large_stack(|| compile_source(source))
            .unwrap_or_else(|| Err(refusal(source, None)))?;
        Ok(Self {
            source: source.to_owned(),
            projected,
            whole: whole.map_or_else(OnceLock::new, OnceLock::from),
            exceeded: OnceLock::new(),
        })
    }

    /// A presence field that the expression reads beside the user instead of in it, such as `.online` for
    /// `.user.online`. Such an expression is rarely true.
    pub fn misplaced_user_field(&self) -> Option<&'static str> {
        let source = self.source.as_str();
        if source.contains(".user") || source.contains(".type") {
            return None;
        }
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let is_at_top = |path: &str| {
            source.match_indices(path).any(|(at, _)| {
                let before = source[..at].chars().next_back();
                let after = source[at + path.len()..].chars().next();
                !before
                    .is_some_and(|c| is_name(c) || matches!(c, '.' | ')' | ']' | '}' | '"' | '?'))
                    && !after.is_some_and(is_name)
            })
        };
        [".online", ".invisible", ".status", ".last_active"]
            .into_iter()
            .find(|path| is_at_top(path))
    }

    /// The source of the expression.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The results for a JSON text, computed one at a time. An error is the last item.
    pub fn results(
        &self,
        json: &[u8],
        strings: StringForm,
    ) -> impl Iterator<Item = Result<Printed, EvalError>> {
        let short = self.read_field(json).map(|value| {
            let text = value
                .strip_prefix('"')
                .and_then(|text| text.strip_suffix('"'));
            Ok(match text {
                Some(text) if strings == StringForm::Raw => Printed::Text(text.to_owned()),
                _ => Printed::Json(value.to_owned()),
            })
        });
        let values = short.is_none().then(|| self.values(json));
        let long = values.into_iter().flatten();
        short
            .into_iter()
            .chain(long.map(move |value| Ok(printed(value?, strings))))
    }

    /// The results, if the text has all fields that the expression reads. `None` if the whole record is necessary to
    /// know them.
    pub(crate) fn results_of_fields(
        &self,
        json: &[u8],
        strings: StringForm,
    ) -> Option<impl Iterator<Item = Result<Printed, EvalError>>> {
        if self.exceeded.get().is_some() {
            return None;
        }
        let values = self.evaluate(Ok(self.projected_start(json)?));
        Some(values.map(move |value| Ok(printed(value?, strings))))
    }

    /// Whether the first result for a JSON text is neither `false` nor `null`. Without a result it is `false`.
    ///
    /// # Errors
    ///
    /// The first result is an error, such as `startswith` on a number.
    pub fn is_true(&self, json: &[u8]) -> Result<bool, EvalError> {
        if let Some(value) = self.read_field(json) {
            return Ok(!matches!(value, "null" | "false"));
        }
        match self.values(json).next() {
            None => Ok(false),
            Some(value) => Ok(!matches!(value?, Val::Null | Val::Bool(false))),
        }
    }

    /// The fields of a record that the expression reads; `None` if it reads all of it.
    pub(crate) fn fields(&self) -> Option<&[FieldNames]> {
        Some(match self.projected.as_ref()? {
            ProjectedExpr::Field(path) => std::slice::from_ref(path.names()),
            ProjectedExpr::Filter { fields, .. } => fields,
        })
    }

    /// The names on the way to the only result, if it can be read directly from the text.
    pub(crate) fn path_in(&self, json: &[u8]) -> Option<&[String]> {
        self.path()
            .filter(|_| !limits::is_deep(json) && !has_half_surrogates(json))
            .map(|path| path.names().as_slice())
    }

    /// The only result, as JSON text, if it can be read directly from the text.
    pub(crate) fn read_field<'j>(&self, json: &'j [u8]) -> Option<&'j str> {
        self.path()
            .filter(|_| !limits::is_deep(json))
            .and_then(|path| path.evaluate(json))
    }

    const fn path(&self) -> Option<&FieldPath> {
        match &self.projected {
            Some(ProjectedExpr::Field(path)) => Some(path),
            Some(ProjectedExpr::Filter { .. }) | None => None,
        }
    }

    /// An iterator of results, which an error ends.
    fn values(&self, json: &[u8]) -> impl Iterator<Item = Result<Val, EvalError>> {
        self.evaluate(self.start(json))
    }

    fn start(&self, json: &[u8]) -> Result<Start<'_>, EvalError> {
        if let Some(limit) = self.exceeded.get() {
            return Err(self.stopped(*limit));
        }
        if let Some(start) = self.projected_start(json) {
            return Ok(start);
        }
        let record = parse(json)?;
        Ok(Start::Filter(self.whole()?, Vars::new([]), record))
    }

    /// The start of an evaluation with the fields that the expression reads. `None` if it needs the whole record: the
    /// text may not be what the interpreter accepts, or a path leads through a value that has no fields.
    fn projected_start(&self, json: &[u8]) -> Option<Start<'_>> {
        let projected = self.projected.as_ref()?;
        if limits::is_deep(json) || has_half_surrogates(json) {
            return None;
        }
        let json = Json::new(std::str::from_utf8(json).ok()?);
        Some(match projected {
            ProjectedExpr::Field(path) => Start::Result(value_of(path.find(json).ok()?)?),
            ProjectedExpr::Filter {
                fields,
                tree,
                filter,
            } => {
                let found = tree.find(json, fields.len()).ok()?;
                let values: Option<Vec<Val>> = found.into_iter().map(value_of).collect();
                Start::Filter(filter, Vars::new(values?), Val::Null)
            }
        })
    }

    /// The filter over the whole record.
    fn whole(&self) -> Result<&CompiledFilter, EvalError> {
        if let Some(filter) = self.whole.get() {
            return Ok(filter);
        }
        let source = self.source.as_str();
        let compiled = on_large_stack(|| compile_filter(source, parse_term(source)?, &[]));
        // The projection of the same expression has been compiled.
        let filter = compiled
            .unwrap_or_else(|| Err(refusal(source, None)))
            .map_err(|failure| EvalError(failure.message))?;
        Ok(self.whole.get_or_init(|| filter))
    }

    fn evaluate<'e>(
        &'e self,
        start: Result<Start<'e>, EvalError>,
    ) -> impl Iterator<Item = Result<Val, EvalError>> {
        let mut budget = EvaluationBudget::new(RUN_TIME_MAX);
        let mut start = Some(start);
        let mut results = None;
        let mut has_failed = false;
        std::iter::from_fn(move || {
            if has_failed {
                return None;
            }
            let next = match start.take() {
                Some(Err(error)) => Some(Err(error)),
                Some(Ok(Start::Result(value))) => Some(Ok(value)),
                Some(Ok(Start::Filter(filter, variables, input))) => {
                    let ran = budget.run(|| {
                        let context = Ctx::<Data>::new(&filter.lut, variables);
                        let results = results.insert(filter.id.run((context, input)));
                        results.next()
                    });
                    self.checked(ran, &mut budget)
                }
                None => {
                    let results = results.as_mut()?;
                    let ran = budget.run(|| results.next());
                    self.checked(ran, &mut budget)
                }
            };
            has_failed = matches!(next, Some(Err(_)));
            next
        })
    }

    fn checked(
        &self,
        ran: Result<Option<ValX<'_, Val>>, Stop>,
        budget: &mut EvaluationBudget,
    ) -> Option<Result<Val, EvalError>> {
        let value = match ran {
            Ok(None) => return None,
            Ok(Some(result)) => unwrap_valr(result).map_err(|error| self.failed(error)),
            Err(Stop::Exceeded(limit)) => Err(self.exceed(limit)),
            Err(Stop::Panicked) => Err(self.failed(jaq_json::Error::str(
                "the interpreter cannot evaluate it, because of a defect",
            ))),
        };
        Some(value.and_then(|value| {
            let size = ValueSize::of(&value)
                .map_err(|excess| self.failed(jaq_json::Error::str(excess)))?;
            match budget.charge(size.bytes) {
                Ok(()) => Ok(value),
                Err(limit) => Err(self.exceed(limit)),
            }
        }))
    }

    /// The error of a limit that is exceeded. From now on the expression is not evaluated any more.
    fn exceed(&self, limit: Limit) -> EvalError {
        self.stopped(*self.exceeded.get_or_init(|| limit))
    }

    fn stopped(&self, limit: Limit) -> EvalError {
        let source = escape::quote(&self.source);
        EvalError(match limit {
            Limit::RunTime => format!(
                "`{source}` ran for more than {} s on one record and is not evaluated again",
                RUN_TIME_MAX.as_secs()
            ),
            Limit::Depth => {
                format!("`{source}` recurses too deeply on a record and is not evaluated again")
            }
            Limit::Built => format!(
                "`{source}` builds more than {} MiB on one record and is not evaluated again",
                BUILT_MAX_BYTES >> 20
            ),
        })
    }

    fn failed(&self, error: jaq_json::Error) -> EvalError {
        // The library quotes the whole value.
        let error = match error.into_val() {
            Val::TStr(text) => String::from_utf8_lossy(&text[..text.len().min(4096)]).into_owned(),
            other => other.to_string(),
        };
        EvalError(format!(
            "the expression `{}` fails on a record: {}",
            escape::escape(&self.source),
            escape::truncate(&escape::escape(&error), 160)
        ))
    }
}

/// Runs a part of the compiler. It recurses, and the stack size of main threads differs. `None` if it cannot run, or
/// panics.
fn on_large_stack<T: Send>(part: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(limits::COMPILE_STACK_BYTES)
            .spawn_scoped(scope, part);
        thread.ok()?.join().ok()
    })
}

/// Compiles an expression over the fields that it reads, or else over the whole record.
fn compile_source(
    source: &str,
) -> Result<(Option<ProjectedExpr>, Option<CompiledFilter>), Failure> {
    let term = parse_term(source)?;
    let Some(projection) = Projection::new(&term) else {
        return Ok((None, Some(compile_filter(source, term, &[])?)));
    };
    if let Some(path) = projection.field().cloned().and_then(FieldPath::new) {
        return Ok((Some(ProjectedExpr::Field(path)), None));
    }
    let variables = projection.variables();
    let projected = ProjectedExpr::Filter {
        tree: FieldTree::new(&projection.fields),
        filter: compile_filter(source, projection.term, variables)?,
        fields: projection.fields,
    };
    Ok((Some(projected), None))
}

fn parse_term(source: &str) -> Result<Term<&str>, Failure> {
    load::parse(source, |parser| parser.term()).ok_or_else(|| {
        let program = File {
            code: source,
            path: (),
        };
        // The loader knows the error and its position.
        match Loader::new([]).load(&Arena::default(), program) {
            Err(errors) => refused(source, errors),
            Ok(_) => refusal(source, None),
        }
    })
}

fn refused(source: &str, errors: load::Errors<&str, ()>) -> Failure {
    refusal(source, errors.into_iter().find_map(|(_, e)| place_of(e)))
}

/// Compiles a term of the source, with these variables.
fn compile_filter<'s>(
    source: &'s str,
    term: Term<&'s str>,
    variables: &'static [&'static str],
) -> Result<CompiledFilter, Failure> {
    let allowed = |name: &str| !UNAVAILABLE_FUNCTIONS.contains(&name);
    let arena = Arena::default();
    let library = || {
        let formats = load::parse(include_str!("formats.jq"), |parser| parser.defs());
        checked_functions::defs()
            .chain(jaq_core::defs())
            .chain(jaq_std::defs())
            .chain(jaq_json::defs())
            .chain(formats.unwrap_or_default())
            .filter(|def| allowed(def.name))
            .collect()
    };
    let defs = definitions::needed(&term, library);
    let main = Def {
        name: MAIN_DEFINITION,
        args: Vec::new(),
        body: checks::with_checks(term, Place::default()),
    };
    let defs = defs
        .into_iter()
        .map(checks::with_checks_inside)
        .chain([main]);
    let funs = jaq_core::funs::<Data>()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .filter(|(name, ..)| allowed(name))
        // These Bessel functions take time in proportion to the number.
        .filter(|(name, ..)| !matches!(*name, "jn" | "yn"))
        .map(|(name, args, run)| (checked_functions::name_of(name), args, run))
        .chain(checked_functions::natives());
    let program = File {
        code: MAIN_DEFINITION,
        path: (),
    };
    let modules = Loader::new(defs)
        .load(&arena, program)
        .map_err(|errors| refused(source, errors))?;
    jaq_core::Compiler::default()
        .with_funs(funs)
        .with_global_vars(variables.iter().copied())
        .compile(modules)
        .map_err(|errors| {
            let first = errors.into_iter().flat_map(|(_, errors)| errors).next();
            refusal(
                source,
                first.map(|(name, kind)| (undefined(name, &kind), name)),
            )
        })
}

/// The value of a field, as the interpreter parses it. `None` if the interpreter fails on the way to it.
fn value_of(found: Found<'_>) -> Option<Val> {
    let text = match found {
        Found::Value(text) => text,
        Found::Nothing => "null",
        Found::NotAContainer => return None,
    };
    match text.as_bytes() {
        b"null" => Some(Val::Null),
        b"true" => Some(Val::Bool(true)),
        b"false" => Some(Val::Bool(false)),
        [b'"', inner @ .., b'"'] if memchr(b'\\', inner).is_none() => {
            Some(Val::utf8_str(Bytes::copy_from_slice(inner)))
        }
        other if limits::has_long_number(other) => None,
        other => read::parse_single(other).ok(),
    }
}

/// The depth of nested brackets, including those in strings.
fn bracket_depth(source: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn parse(json: &[u8]) -> Result<Val, EvalError> {
    if limits::is_deep(json) {
        return Err(EvalError(format!(
            "the record is nested more than {JSON_DEPTH_MAX} levels deep"
        )));
    }
    if limits::has_long_number(json) {
        return Err(EvalError(format!(
            "the record has a number of more than {NUMBER_MAX_DIGITS} digits"
        )));
    }
    read::parse_single(json).map_err(|error| EvalError(format!("the record is not JSON: {error}")))
}

/// An error of the compiler, with the source from its position on.
fn place_of(error: load::Error<&str>) -> Option<(String, &str)> {
    match error {
        load::Error::Io(errors) => errors
            .into_iter()
            .next()
            .map(|(path, _)| ("there are no modules here".to_owned(), path)),
        load::Error::Lex(errors) => errors
            .into_iter()
            .next()
            .map(|(expected, rest)| (format!("expected {}", expected.as_str()), rest)),
        load::Error::Parse(errors) => errors
            .into_iter()
            .next()
            .map(|(expected, rest)| (format!("expected {}", expected.as_str()), rest)),
    }
}

fn undefined(name: &str, kind: &compile::Undefined) -> String {
    let bare = name.trim_start_matches('$');
    if UNAVAILABLE_FUNCTIONS.contains(&bare) || matches!(bare, "inputs" | "ENV" | "__prog_args") {
        return format!("`{name}` is not available: an expression can read only the record");
    }
    match kind {
        compile::Undefined::Filter(0) => format!("there is no filter `{name}`"),
        compile::Undefined::Filter(1) => format!("there is no filter `{name}` with an argument"),
        compile::Undefined::Filter(arity) => {
            format!("there is no filter `{name}` with {arity} arguments")
        }
        other => format!("there is no {} `{name}`", other.as_str()),
    }
}

fn refusal(source: &str, found: Option<(String, &str)>) -> Failure {
    let shown = escape::escape(source);
    let message = match found {
        None => format!("`{shown}` does not compile"),
        Some((what, rest)) => {
            let at = load::span(source, rest).start;
            // A position outside the source would be a mistake of the library. Then no position is shown.
            let before = source.get(..at).map(|before| before.chars().count() + 1);
            match before {
                Some(column) if rest.is_empty() => {
                    format!("`{shown}` does not compile: {what} at the end (column {column})")
                }
                Some(column) => {
                    let rest = escape::escape(rest);
                    let near = escape::truncate(&rest, 20);
                    format!("`{shown}` does not compile: {what} at column {column}, `{near}`")
                }
                None => format!("`{shown}` does not compile: {what}"),
            }
        }
    };
    Failure::new(Code::Usage, message).hinted("the language is jq's: presencectl help expressions")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::testing;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn results(expr: &str, json: &str) -> Vec<String> {
        Expr::compile(expr)
            .unwrap()
            .results(json.as_bytes(), StringForm::Quoted)
            .map(|result| match result.unwrap() {
                Printed::Text(text) | Printed::Json(text) => text,
            })
            .collect()
    }

    fn refused(expr: &str) -> String {
        let failure = Expr::compile(expr).unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        failure.message
    }

    #[test]
    fn results_are_lines_of_json() {
        let json = r#"{"user":{"id":"john","n":1.10,"tags":["a","b"]}}"#;
        assert_eq!(results(".user.id", json), [r#""john""#]);
        assert_eq!(results(".user.tags[]", json), [r#""a""#, r#""b""#]);
        assert_eq!(
            results("{id: .user.id, x: null}", json),
            [r#"{"id":"john","x":null}"#]
        );
        assert_eq!(results("empty", json), [""; 0]);
        assert_eq!(
            results(r#""a\nb\u0000\u009b""#, json),
            [r#""a\nb\u0000\u009b""#]
        );
        assert_eq!(
            results(
                r#".user | has("id"), (.tags | map(ascii_upcase) | join("-"))"#,
                json
            ),
            ["true", "\"A-B\""]
        );
    }

    #[test]
    fn what_json_cannot_say_is_said_as_jq_does() {
        assert_eq!(
            results("nan, [infinite], -infinite", "1"),
            [
                "null",
                "[1.7976931348623157e308]",
                "-1.7976931348623157e308"
            ]
        );
        assert_eq!(results(r#""é" | tobytes"#, "1"), ["\"é\""]);
    }

    #[test]
    fn truth_is_that_of_the_first_result() {
        let truth = |expr: &str| Expr::compile(expr).unwrap().is_true(br#"{"a":0,"s":""}"#);
        assert_eq!(truth(".a"), Ok(true), "0 is true, as in jq");
        assert_eq!(truth(".s"), Ok(true));
        assert_eq!(truth(".b"), Ok(false));
        assert_eq!(truth("empty"), Ok(false));
        assert_eq!(truth("false, true"), Ok(false));
        assert_eq!(
            truth("true, error"),
            Ok(true),
            "nothing after the first is evaluated"
        );
        assert!(truth(".a | startswith(\"x\")").is_err());
        // An endless expression has a first result all the same.
        assert_eq!(truth("def f: true, f; f"), Ok(true));
    }

    #[test]
    fn the_place_of_a_mistake_is_shown() {
        insta::assert_snapshot!(refused(".user |"), @"`.user |` does not compile: expected term at the end (column 8)");
        insta::assert_snapshot!(refused(".user.id == \"john"), @r#"`.user.id == "john` does not compile: expected closing quote at the end (column 18)"#);
        insta::assert_snapshot!(refused(".a ] b"), @"`.a ] b` does not compile: expected token at column 4, `] b`");
        insta::assert_snapshot!(refused(".a | frobnicate(1)"), @"`.a | frobnicate(1)` does not compile: there is no filter `frobnicate` with an argument at column 6, `frobnicate`");
        insta::assert_snapshot!(refused("$x"), @"`$x` does not compile: there is no variable `$x` at column 1, `$x`");
        insta::assert_snapshot!(refused("é\u{1b}"), @r"`é\u{1b}` does not compile: expected token at column 1, `é\u{1b}`");
    }

    #[test]
    fn the_outside_world_is_withheld() {
        for expr in [
            "env",
            "$ENV",
            "input",
            "inputs",
            "halt",
            "halt_error",
            "debug",
            "stderr",
            "now | localtime",
            r#"import "a" as a; ."#,
            r#"include "a"; ."#,
            r#"import "a" as $a; ."#,
            "input_filename",
            "get_search_list",
        ] {
            assert!(Expr::compile(expr).is_err(), "{expr}");
        }
        assert!(refused("$ENV.SECRET").contains("can read only the record"));
        assert!(Expr::compile("now - 1 | todate").is_ok());
    }

    #[test]
    fn a_user_field_beside_the_user_is_noticed() {
        let misplaced = |source: &str| Expr::compile(source).unwrap().misplaced_user_field();
        assert_eq!(misplaced(".online"), Some(".online"));
        assert_eq!(misplaced("(.status // \"\") | length > 0"), Some(".status"));
        for right in [
            ".user.online",
            ".user | .online",
            ".type == \"connection.changed\" and .online",
            ".channel.online",
            ".online_since",
        ] {
            assert_eq!(misplaced(right), None, "{right}");
        }
    }

    #[test]
    fn strings_are_raw_or_quoted() {
        let printed = |source: &str, strings| -> Vec<Printed> {
            let expr = Expr::compile(source).unwrap();
            let results = expr.results(r#"{"a":"x\"y","b":"é","n":null}"#.as_bytes(), strings);
            results.map(Result::unwrap).collect()
        };
        let text = |text: &str| Printed::Text(text.to_owned());
        let json = |json: &str| Printed::Json(json.to_owned());
        assert_eq!(
            printed(".a, .b", StringForm::Raw),
            [text("x\"y"), text("é")]
        );
        assert_eq!(printed(".b", StringForm::Raw), [text("é")]);
        assert_eq!(printed(".b", StringForm::Quoted), [json("\"é\"")]);
        assert_eq!(
            printed(".n, [.b]", StringForm::Raw),
            [json("null"), json("[\"é\"]")]
        );
        assert_eq!(
            printed("[.b, 1] | @tsv, @csv, @sh, @base64", StringForm::Raw),
            [
                text("é\t1"),
                text("\"é\",1"),
                text("'é' 1"),
                text("WyLDqSIsMV0=")
            ]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

        /// An expression over the fields that it reads has the results of the expression over the whole record, and
        /// the same errors.
        #[test]
        fn a_projection_changes_no_result(
            source in testing::expression(),
            records in vec(prop_oneof![4 => testing::event(), 1 => testing::json()], 8),
        ) {
            let projected = Expr::compile(&source).unwrap();
            let whole = Expr { projected: None, ..Expr::compile(&source).unwrap() };
            for json in &records {
                let results = |expr: &Expr| -> Vec<_> {
                    expr.results(json.as_bytes(), StringForm::Quoted).take(50).collect()
                };
                prop_assert_eq!(results(&projected), results(&whole), "{}: {}", source, json);
                let truth = |expr: &Expr| expr.is_true(json.as_bytes());
                prop_assert_eq!(truth(&projected), truth(&whole), "{}: {}", source, json);
            }
        }
    }

    #[test]
    fn fields_that_are_read() {
        let fields = |source: &str| -> Option<Vec<String>> {
            let expr = Expr::compile(source).unwrap();
            let fields = expr.fields()?.iter();
            Some(fields.map(|names| names.join(".")).collect())
        };
        for (source, expected) in [
            (
                "{id: .user.id, online: .user.online}",
                "user.id user.online",
            ),
            (".user | {id, online}", "user.id user.online"),
            (
                r#"select(.type == "a" and .user.online) | .user | "\(.id): \(.status // "-")""#,
                "type user.online user.id user.status",
            ),
            (r#".user.id | test("^a") | not"#, "user.id"),
            (
                ".user.teams[0], (.user.tags | length)",
                "user.teams user.tags",
            ),
            ("[.user.id, .user.status] | @tsv", "user.id user.status"),
            (".user | select(.online) | .id", "user.online user.id"),
            (
                "reduce .user.teams[] as $team (.seq; . + 1)",
                "user.teams seq",
            ),
            (".a.b | 1", "a.b"),
            (".user as $user | $user.id", "user"),
            ("now", ""),
        ] {
            assert_eq!(
                fields(source).map(|fields| fields.join(" ")).as_deref(),
                Some(expected),
                "{source}"
            );
        }
        for source in [
            ".",
            "..",
            "length",
            "keys",
            ". as $record | $record.user",
            "select(.user.online)",
            ".user.id = 1",
            "del(.user)",
            "to_entries",
            "paths",
            "if .user then .user end",
            "def f: .user; f",
            ".[\"us\" + \"er\"], .",
        ] {
            assert_eq!(fields(source), None, "{source}");
        }
    }

    #[test]
    fn each_function_has_the_definitions_that_it_needs() {
        let library = jaq_core::defs()
            .chain(jaq_std::defs())
            .chain(jaq_json::defs());
        let mut compiled = 0;
        for def in library {
            let args = vec!["."; def.args.len()].join(";");
            let call = match args.as_str() {
                "" => def.name.to_owned(),
                args => format!("{}({args})", def.name),
            };
            match Expr::compile(&call) {
                Ok(_) => compiled += 1,
                Err(failure) => {
                    assert!(
                        failure.message.contains("is not available"),
                        "{call}: {}",
                        failure.message
                    );
                }
            }
        }
        assert!(compiled > 100, "{compiled}");
    }

    #[test]
    fn compiled_expressions_go_between_threads() {
        fn sendable<T: Send + Sync>() {}
        sendable::<Expr>();
    }
}
