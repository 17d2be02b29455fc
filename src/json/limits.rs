//! Limits of jq expressions: how long one may run on a record, how deep it may recurse, how much it may build, and what
//! input it gets.
//!
//! The interpreter has no limits of its own. So checks are compiled into every expression (see `checks`). A check does
//! nothing until a limit is exceeded. From then on every check is an error.

use std::cell::Cell;
use std::hint::black_box;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::{Duration, Instant};

use jaq_core::{Error, Exn};
use jaq_json::Val;

use super::scanner::StringState;
use super::value_size::ValueSize;

/// The longest source that is compiled, in bytes.
pub(super) const SOURCE_MAX_BYTES: usize = 16 * 1024;
/// The deepest nesting of brackets in a source.
pub(super) const SOURCE_DEPTH_MAX: usize = 200;
/// The deepest nesting of JSON that is evaluated. The interpreter recurses, and a hostile event must not exhaust the
/// stack.
pub(super) const JSON_DEPTH_MAX: usize = 128;
/// The longest number that is evaluated, in digits. Reading it takes time in proportion to the square of its length.
pub(super) const NUMBER_MAX_DIGITS: usize = 20_000;
/// How long an expression may run on one record.
pub(super) const RUN_TIME_MAX: Duration = Duration::from_secs(1);
/// How much an expression may build on one record, in bytes: texts, arrays and objects.
pub(super) const BUILT_MAX_BYTES: usize = 256 << 20;
/// What becomes parts of other values before one of these is measured.
const UNMEASURED_MAX: ValueSize = ValueSize {
    bytes: 1 << 20,
    depth: 256,
};
/// How much of its thread's stack an evaluation may use: half.
const STACK_MAX_BYTES: usize = if cfg!(windows) {
    512 * 1024
} else {
    1024 * 1024
};
/// The stack for compiling: more than the deepest source within the limits needs.
pub(super) const COMPILE_STACK_BYTES: usize = if cfg!(debug_assertions) { 256 } else { 64 } << 20;
/// How often functions may call themselves with filters as arguments.
const RECURSIONS_MAX: u32 = 8000;
/// How many checks pass between two reads of the clock.
const CHECKS_PER_CLOCK: u32 = 8;
/// The memory of an operation before which the clock is read.
const CLOCK_MIN_BYTES: usize = 64 * 1024;

/// A limit that an evaluation exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    RunTime,
    Depth,
    Built,
}

/// Why an evaluation did not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    Exceeded(Limit),
    /// The interpreter has a defect.
    Panicked,
}

/// The evaluation that runs on this thread.
#[derive(Debug, Clone, Copy)]
struct Evaluation {
    stack_base: usize,
    deadline: Instant,
    work: Work,
}

/// What an evaluation has done on a record so far.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    checks: u32,
    /// What it has built, in bytes. What it has dropped again counts, too.
    built: usize,
    /// What became parts of other values since one of these was measured.
    unmeasured: ValueSize,
    /// How often functions called themselves with filters as arguments.
    recursions: u32,
    exceeded: Option<Limit>,
}

thread_local! {
    static EVALUATION: Cell<Option<Evaluation>> = const { Cell::new(None) };
}

/// What an expression may still do on one record. The time in which results are written does not count.
#[derive(Debug)]
pub(super) struct EvaluationBudget {
    run_time: Duration,
    work: Work,
}

impl EvaluationBudget {
    pub(super) fn new(run_time: Duration) -> Self {
        Self {
            run_time,
            work: Work::default(),
        }
    }

    /// Runs a part of an evaluation within the limits.
    ///
    /// # Errors
    ///
    /// A limit is exceeded, now or earlier, or the interpreter panicked.
    pub(super) fn run<T>(&mut self, part: impl FnOnce() -> T) -> Result<T, Stop> {
        if let Some(limit) = self.work.exceeded {
            return Err(Stop::Exceeded(limit));
        }
        silence_panics_of_evaluations();
        let start = Instant::now();
        EVALUATION.set(Some(Evaluation {
            stack_base: stack_address(),
            deadline: start + self.run_time,
            work: self.work,
        }));
        // The interpreter panics on a few regular expressions, and while it sorts some numbers. An event must not end the
        // program. Nothing of the evaluation is used afterwards.
        let result = catch_unwind(AssertUnwindSafe(part));
        self.run_time = self.run_time.saturating_sub(start.elapsed());
        if let Some(evaluation) = EVALUATION.take() {
            self.work = evaluation.work;
        }
        match (self.work.exceeded, result) {
            (Some(limit), _) => Err(Stop::Exceeded(limit)),
            (None, Ok(result)) => Ok(result),
            (None, Err(_)) => Err(Stop::Panicked),
        }
    }

    /// Counts a result of the expression, in bytes.
    ///
    /// # Errors
    ///
    /// The results are too large.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Limit> {
        self.work.built = self.work.built.saturating_add(bytes);
        if self.work.built > BUILT_MAX_BYTES {
            self.work.exceeded = Some(Limit::Built);
        }
        self.work.exceeded.map_or(Ok(()), Err)
    }
}

/// Keeps panics of evaluations from being printed. They become errors.
fn silence_panics_of_evaluations() {
    static SILENCED: Once = Once::new();
    SILENCED.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if EVALUATION.get().is_none() {
                print(info);
            }
        }));
    });
}

/// The approximate end of this thread's stack.
#[inline(never)]
fn stack_address() -> usize {
    let marker = 0_u8;
    std::ptr::from_ref(black_box(&marker)).addr()
}

/// Does nothing while the evaluation on this thread is within its limits.
///
/// # Errors
///
/// A limit is exceeded.
pub(super) fn check() -> Result<(), Exn<'static, Val>> {
    charge(0)
}

/// The same, at once if the time is over, for an operation that can take long.
///
/// # Errors
///
/// A limit is exceeded.
pub(super) fn check_clock() -> Result<(), Exn<'static, Val>> {
    EVALUATION.set(EVALUATION.get().map(|mut evaluation| {
        evaluation.work.checks |= CHECKS_PER_CLOCK - 1;
        evaluation
    }));
    check()
}

/// Counts a call of a function by itself with filters as arguments. Dropping these arguments recurses.
///
/// # Errors
///
/// A limit is exceeded.
pub(super) fn check_recursion() -> Result<(), Exn<'static, Val>> {
    EVALUATION.set(EVALUATION.get().map(|mut evaluation| {
        let work = &mut evaluation.work;
        work.recursions += 1;
        if work.recursions > RECURSIONS_MAX {
            work.exceeded = work.exceeded.or(Some(Limit::Depth));
        }
        evaluation
    }));
    check()
}

/// Counts memory that an operation takes, in bytes, before it takes it.
///
/// # Errors
///
/// A limit is exceeded.
pub(super) fn charge(bytes: usize) -> Result<(), Exn<'static, Val>> {
    let Some(mut evaluation) = EVALUATION.get() else {
        return Ok(());
    };
    let work = &mut evaluation.work;
    work.checks = work.checks.wrapping_add(1);
    work.built = work.built.saturating_add(bytes);
    if work.exceeded.is_none() {
        if work.built > BUILT_MAX_BYTES {
            work.exceeded = Some(Limit::Built);
        } else if stack_address().abs_diff(evaluation.stack_base) > STACK_MAX_BYTES {
            work.exceeded = Some(Limit::Depth);
        } else if (bytes > CLOCK_MIN_BYTES || work.checks.is_multiple_of(CHECKS_PER_CLOCK))
            && Instant::now() > evaluation.deadline
        {
            work.exceeded = Some(Limit::RunTime);
        }
    }
    let is_exceeded = work.exceeded.is_some();
    EVALUATION.set(Some(evaluation));
    if is_exceeded {
        return Err(Exn::from(Error::str("a limit is exceeded")));
    }
    Ok(())
}

/// Counts a value that becomes a part of another. Measuring the whole each time would take time in proportion to the
/// square of its size.
pub(super) fn add_unmeasured(part: ValueSize) {
    EVALUATION.set(EVALUATION.get().map(|mut evaluation| {
        let unmeasured = &mut evaluation.work.unmeasured;
        unmeasured.bytes = unmeasured.bytes.saturating_add(part.bytes);
        unmeasured.depth = unmeasured.depth.saturating_add(part.depth);
        evaluation
    }));
}

/// Whether the whole must be measured now. The count starts again.
pub(super) fn must_measure() -> bool {
    EVALUATION.get().is_some_and(|mut evaluation| {
        let unmeasured = evaluation.work.unmeasured;
        let must =
            unmeasured.bytes > UNMEASURED_MAX.bytes || unmeasured.depth > UNMEASURED_MAX.depth;
        if must {
            evaluation.work.unmeasured = ValueSize::default();
            EVALUATION.set(Some(evaluation));
        }
        must
    })
}

/// Whether a JSON text has a number that is longer than the limit.
pub(super) fn has_long_number(json: &[u8]) -> bool {
    if json.len() <= NUMBER_MAX_DIGITS {
        return false;
    }
    let mut strings = StringState::default();
    let mut digits = 0_usize;
    json.iter().any(|&byte| {
        let is_digit = !strings.is_in_string(byte) && byte.is_ascii_digit();
        digits = if is_digit { digits + 1 } else { 0 };
        digits > NUMBER_MAX_DIGITS
    })
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
