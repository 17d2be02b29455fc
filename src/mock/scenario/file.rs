//! Reads a scenario from YAML or JSON. Mistakes are reported with their line and column.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use serde_saphyr::{Location, MessageFormatter, PropertySyntax, Spanned};

use super::values::{
    DurationValue, NameOr, OneOrMany, PercentValue, ScalarText, TimeValue, TrueValue,
};
use super::variables::RewrittenText;
use crate::domain::UserId;
use crate::domain::glob::Glob;
use crate::escape;
use crate::mock::engine::{JsonObject, ServiceState};
use crate::mock::error::Rejection;
use crate::mock::expectation::ExpectationSpec;
use crate::mock::faults::FaultSpec;
use crate::mock::fixture::{Fixture, FixtureError};
use crate::mock::options::MockRules;
use crate::mock::routes::ControlTrigger;
use crate::mock::rule_options::RULE_OPTIONS;

/// The only version of the format.
const VERSION: u64 = 1;
/// Bytes that a scenario file may have.
pub const SCENARIO_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How deeply repetitions may be nested.
const REPEAT_DEPTH_MAX: usize = 4;
/// How often a step may be repeated.
const ROUNDS_MAX: u64 = 10_000_000;
/// How many users a scenario may generate.
const GENERATED_USERS_MAX: u64 = 1_000_000;
/// How long `wait_for` waits, unless it says otherwise.
const WAIT_DEFAULT: &str = "30s";
/// What is replaced by the number of a generated user.
const NUMBER_MARK: &str = "{n}";

/// A mistake in a scenario file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError {
    /// The line, from 1; 0 if it is not known.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    message: String,
}

impl ScenarioError {
    fn at(location: Location, message: impl fmt::Display) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
            message: message.to_string(),
        }
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        f.write_str(&escape::escape(&self.message))
    }
}

impl std::error::Error for ScenarioError {}

/// A scenario that was read and checked.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The name, if the file has one.
    pub name: Option<String>,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The users and channels at the start.
    pub fixture: Fixture,
    /// The file with the users and channels, if the scenario names one.
    pub fixture_file: Option<FixtureFileName>,
    /// The rule options that the scenario sets, each with its value as text.
    pub options: Vec<(String, String)>,
    /// The time at which the clock is frozen at the start.
    pub frozen_at: Option<DateTime<Utc>>,
    pub(super) steps: Vec<ScenarioStep>,
    duration: Duration,
}

impl Scenario {
    /// How many steps there are with all repetitions, and how long they take on the clock.
    pub fn extent(&self) -> (u64, Duration) {
        (count_steps(&self.steps), self.duration)
    }

    /// Adds the users and channels of a file before those of the scenario.
    pub fn add_fixture(&mut self, file: Fixture) {
        let own = std::mem::replace(&mut self.fixture, file);
        self.fixture.users.extend(own.users);
        self.fixture.channels.extend(own.channels);
    }
}

fn count_steps(steps: &[ScenarioStep]) -> u64 {
    let counts = steps.iter().map(|step| match &step.action {
        StepAction::Repeat(repeat) => count_steps(&repeat.steps).saturating_mul(repeat.rounds),
        _ => 1,
    });
    counts.fold(0, u64::saturating_add)
}

/// The name of a fixture file, and where it stands in the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixtureFileName {
    /// The name, relative to the scenario.
    pub name: String,
    line: u64,
    column: u64,
}

impl FixtureFileName {
    /// The error if the file cannot be used.
    pub fn error(&self, why: impl fmt::Display) -> ScenarioError {
        ScenarioError {
            line: self.line,
            column: self.column,
            message: why.to_string(),
        }
    }
}

/// A step of a scenario, or of the block that is repeated.
#[derive(Debug, Clone)]
pub(super) struct ScenarioStep {
    /// When it happens, after the start of its block.
    pub(super) offset: Duration,
    /// Its place among all steps of the file.
    pub(super) order: u32,
    pub(super) line: u64,
    pub(super) action: StepAction,
}

/// What a step does.
#[derive(Debug, Clone)]
pub(super) enum StepAction {
    User(UserTarget, UserStepAction),
    Fault(FaultSpec),
    ClearFaults,
    Clock(ClockAction),
    Trigger(ControlTrigger),
    WaitForRequest(ExpectationSpec),
    WaitForConnection { user: String, within: Duration },
    Expect(ExpectationSpec),
    Repeat(Repetition),
}

/// Which user a step is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum UserTarget {
    Id(String),
    /// One of the users whose id matches, drawn by the seed.
    Any(Glob),
}

/// What a user does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum UserStepAction {
    Connect,
    Disconnect,
    Drop,
    Toggle,
    /// Changes fields: one of these bodies of a control request, drawn by the seed.
    Set(Vec<JsonObject>),
}

/// What happens to the clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ClockAction {
    Advance(Duration),
    Set(DateTime<Utc>),
    /// Stops the clock, at its present time or at another one.
    Freeze(Option<DateTime<Utc>>),
    Run(f64),
}

/// Steps that are repeated.
#[derive(Debug, Clone)]
pub(super) struct Repetition {
    /// The time from one round to the next.
    pub(super) every: Duration,
    pub(super) rounds: u64,
    /// The largest delay of a round, as a share of `every`.
    pub(super) jitter: f64,
    pub(super) steps: Vec<ScenarioStep>,
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFields {
    version: Option<Spanned<u64>>,
    name: Option<String>,
    #[serde(default)]
    seed: u64,
    fixture: Option<Spanned<NameOr<FixtureFields>>>,
    generate: Option<Spanned<GenerateFields>>,
    #[serde(default)]
    options: BTreeMap<String, Spanned<ScalarText>>,
    clock: Option<ClockStartFields>,
    steps: Vec<Spanned<StepFields>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FixtureFields {
    #[serde(default)]
    users: Vec<Spanned<Map<String, Value>>>,
    #[serde(default)]
    channels: Vec<Spanned<Map<String, Value>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GenerateFields {
    users: u64,
    id: String,
    #[serde(default)]
    set: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockStartFields {
    freeze: TimeValue,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFields {
    at: Option<DurationValue>,
    after: Option<DurationValue>,
    user: Option<Spanned<UserStepFields>>,
    fault: Option<Spanned<FaultSpec>>,
    clear_faults: Option<TrueValue>,
    clock: Option<Spanned<ClockFields>>,
    trigger: Option<Spanned<ControlTrigger>>,
    wait_for: Option<Spanned<WaitFields>>,
    expect: Option<Spanned<ExpectationSpec>>,
    repeat: Option<Box<Spanned<RepetitionFields>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserStepFields {
    id: Option<String>,
    any: Option<String>,
    connect: Option<TrueValue>,
    disconnect: Option<TrueValue>,
    drop: Option<TrueValue>,
    toggle: Option<TrueValue>,
    set: Option<OneOrMany<Map<String, Value>>>,
    unset: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockFields {
    advance: Option<DurationValue>,
    set: Option<TimeValue>,
    freeze: Option<ScalarText>,
    run: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitFields {
    request: Option<Spanned<ExpectationSpec>>,
    connection: Option<String>,
    within: Option<DurationValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RepetitionFields {
    at: Option<DurationValue>,
    after: Option<DurationValue>,
    every: DurationValue,
    times: Option<u64>,
    #[serde(rename = "for")]
    duration: Option<DurationValue>,
    jitter: Option<PercentValue>,
    steps: Vec<Spanned<StepFields>>,
}

/// Reads a scenario from YAML or JSON, which is YAML too. `${NAME}` in a value is a
/// variable.
///
/// # Errors
///
/// The text is neither, a variable is not set, or something in it is invalid.
pub fn parse_scenario(
    text: &str,
    variables: HashMap<String, String>,
) -> Result<Scenario, ScenarioError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(ScenarioError {
            line: 1,
            column: 1,
            message: "the file is empty, expected a scenario with steps".to_owned(),
        });
    }
    let rewritten = RewrittenText::new(text);
    match read_scenario(&rewritten.text, variables) {
        Ok(mut scenario) => {
            if let Some(file) = &mut scenario.fixture_file {
                file.column = rewritten.column_in_source(file.line, file.column);
            }
            Ok(scenario)
        }
        Err(error) => Err(ScenarioError {
            column: rewritten.column_in_source(error.line, error.column),
            ..error
        }),
    }
}

fn read_scenario(
    text: &str,
    variables: HashMap<String, String>,
) -> Result<Scenario, ScenarioError> {
    let options = serde_saphyr::options! { property_syntax: PropertySyntax::DockerCompose };
    let options = options.with_properties(variables);
    let fields: ScenarioFields = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| explain(&error, text))?;
    if let Some(version) = &fields.version
        && version.value != VERSION
    {
        let message = format!("version {} is not known, expected {VERSION}", version.value);
        return Err(ScenarioError::at(version.referenced, message));
    }
    let mut rules = MockRules::default();
    let mut options = Vec::new();
    for (name, value) in fields.options {
        let at = |message: String| ScenarioError::at(value.referenced, message);
        let option = RULE_OPTIONS
            .iter()
            .find(|option| option.name == name)
            .ok_or_else(|| {
                let message = format!(
                    "unknown option `{name}`, expected one of those that `presencectl mock start --help` lists"
                );
                at(message)
            })?;
        option.set_value(&mut rules, &value.value.0).map_err(at)?;
        options.push((name, value.value.0));
    }
    let frozen_at = fields.clock.map(|clock| clock.freeze.0);
    let (fixture, fixture_file) = read_fixture(fields.fixture, fields.generate, &rules)?;
    let mut order = 0;
    let block = read_block(&fields.steps, &mut order, 0)?;
    Ok(Scenario {
        name: fields.name,
        seed: fields.seed,
        fixture,
        fixture_file,
        options,
        frozen_at,
        steps: block.steps,
        duration: block.end,
    })
}

/// An error of the parser, in our words where they are clearer: the library's words are for those who program with it.
fn explain(error: &serde_saphyr::Error, text: &str) -> ScenarioError {
    use serde_saphyr::Error;
    let error = error.without_snippet();
    let location = error.location().unwrap_or(Location::UNKNOWN);
    let message = match error {
        Error::PropertyRequiredButUnset { name, .. } => format!(
            "the variable `{name}` is not set, expected --var {name}=VALUE or {name} in the environment"
        ),
        Error::InvalidPropertyName { name, .. } => {
            format!("`{name}` is not a variable, expected letters, digits and _, as in ${{NAME}}")
        }
        Error::Unexpected {
            expected: "mapping start",
            ..
        } => "expected an object, such as {name: value}".to_owned(),
        Error::Unexpected {
            expected: "sequence start",
            ..
        } => "expected a list".to_owned(),
        Error::Unexpected {
            expected: "string scalar",
            ..
        } => "expected a text".to_owned(),
        Error::InvalidScalar { ty, .. } if ty.starts_with(['u', 'i']) => {
            "expected a whole number, 0 or more".to_owned()
        }
        Error::InvalidScalar { ty, .. } if ty.starts_with('f') => "expected a number".to_owned(),
        Error::DuplicateMappingKey { .. } => {
            format!("the field `{}` is there twice", word_at(text, location))
        }
        Error::MultipleDocuments { .. } => {
            "there is a second document, expected one scenario in a file".to_owned()
        }
        other => serde_saphyr::DefaultMessageFormatter
            .format_message(other)
            // The library hides the names of fields once a variable was replaced.
            .replace("an interpolated field", word_at(text, location))
            // It shows variables as they are in the rewritten text.
            .replace("?}", "}"),
    };
    ScenarioError::at(location, message)
}

/// The word that begins at a place.
fn word_at(text: &str, location: Location) -> &str {
    let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let line = text.lines().nth(index(location.line())).unwrap_or_default();
    let start = line.char_indices().nth(index(location.column()));
    let word = start.map_or("", |(start, _)| &line[start..]);
    word.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .next()
        .unwrap_or_default()
}

fn read_fixture(
    fixture: Option<Spanned<NameOr<FixtureFields>>>,
    generate: Option<Spanned<GenerateFields>>,
    rules: &MockRules,
) -> Result<(Fixture, Option<FixtureFileName>), ScenarioError> {
    let mut file = None;
    let mut fields = None;
    match fixture {
        Some(Spanned {
            value: NameOr::Name(name),
            referenced: location,
            ..
        }) => {
            file = Some(FixtureFileName {
                name,
                line: location.line(),
                column: location.column(),
            });
        }
        Some(Spanned {
            value: NameOr::Value(value),
            ..
        }) => fields = Some(value),
        None => {}
    }
    let mut fixture = Fixture::default();
    let (mut user_locations, mut channel_locations) = (Vec::new(), Vec::new());
    for user in fields.iter_mut().flat_map(|fields| fields.users.drain(..)) {
        user_locations.push(user.referenced);
        fixture.users.push(user.value);
    }
    for channel in fields
        .iter_mut()
        .flat_map(|fields| fields.channels.drain(..))
    {
        channel_locations.push(channel.referenced);
        fixture.channels.push(channel.value);
    }
    if let Some(generate) = generate {
        let at = generate.referenced;
        let generate = generate.value;
        if generate.users > GENERATED_USERS_MAX {
            let message = format!("users must be at most {GENERATED_USERS_MAX}");
            return Err(ScenarioError::at(at, message));
        }
        if !generate.id.contains(NUMBER_MARK) {
            let message = format!("id must contain {NUMBER_MARK}, which is replaced by a number");
            return Err(ScenarioError::at(at, message));
        }
        // If one is valid, so are all: they differ in their number only.
        user_locations.push(at);
        for number in 1..=generate.users {
            fixture.users.push(generated_user(&generate, number));
        }
    }
    let located = |error: &FixtureError| {
        let place = |name: &str, locations: &[Location]| {
            let index = error.place().strip_prefix(name)?.strip_prefix('[')?;
            let index: usize = index.split(']').next()?.parse().ok()?;
            locations.get(index).or(locations.last()).copied()
        };
        let location = place("users", &user_locations)
            .or_else(|| place("channels", &channel_locations))
            .unwrap_or(Location::UNKNOWN);
        ScenarioError::at(location, error.reason())
    };
    // The users of a file are checked with that file.
    if file.is_none() {
        ServiceState::new(rules.clone(), 0)
            .load(&fixture, DateTime::UNIX_EPOCH)
            .map_err(|error| located(&error))?;
    }
    Ok((fixture, file))
}

fn generated_user(generate: &GenerateFields, number: u64) -> Map<String, Value> {
    let numbered = |text: &str| text.replace(NUMBER_MARK, &number.to_string());
    let mut user = Map::new();
    user.insert("id".to_owned(), numbered(&generate.id).into());
    for (name, value) in &generate.set {
        let value = match value {
            Value::String(text) => numbered(text).into(),
            other => other.clone(),
        };
        user.insert(name.clone(), value);
    }
    user
}

/// The steps of a block, and how long it takes.
struct StepBlock {
    steps: Vec<ScenarioStep>,
    end: Duration,
}

fn read_block(
    fields: &[Spanned<StepFields>],
    order: &mut u32,
    depth: usize,
) -> Result<StepBlock, ScenarioError> {
    let mut block = StepBlock {
        steps: Vec::with_capacity(fields.len()),
        end: Duration::ZERO,
    };
    // The end of the step before, from which `after` counts.
    let mut previous = Duration::ZERO;
    for step in fields {
        let location = step.referenced;
        let fields = &step.value;
        let number = *order;
        *order = order.saturating_add(1);
        let (inner_at, inner_after) = fields
            .repeat
            .as_ref()
            .map_or((None, None), |repeat| (repeat.value.at, repeat.value.after));
        let times = [
            fields.at.map(|at| at.0),
            fields.after.map(|after| previous.saturating_add(after.0)),
            inner_at.map(|at| at.0),
            inner_after.map(|after| previous.saturating_add(after.0)),
        ];
        let mut times = times.into_iter().flatten();
        let offset = times.next().unwrap_or(previous);
        if times.next().is_some() {
            let message = "a step has more than one time, expected at or after";
            return Err(ScenarioError::at(location, message));
        }
        let (action, length) = read_action(step, order, depth)?;
        previous = offset.saturating_add(length);
        block.end = block.end.max(previous);
        block.steps.push(ScenarioStep {
            offset,
            order: number,
            line: location.line(),
            action,
        });
    }
    Ok(block)
}

/// The action of a step, and how long it takes on the clock.
fn read_action(
    step: &Spanned<StepFields>,
    order: &mut u32,
    depth: usize,
) -> Result<(StepAction, Duration), ScenarioError> {
    const ACTIONS: &str =
        "expected one of user, fault, clear_faults, clock, trigger, wait_for, expect and repeat";
    let fields = &step.value;
    let mut actions = Vec::new();
    let mut length = Duration::ZERO;
    if let Some(user) = &fields.user {
        actions.push(read_user(user)?);
    }
    if let Some(fault) = &fields.fault {
        fault
            .value
            .read()
            .map_err(|rejection| rejected(fault.referenced, &rejection))?;
        actions.push(StepAction::Fault(fault.value.clone()));
    }
    if fields.clear_faults.is_some() {
        actions.push(StepAction::ClearFaults);
    }
    if let Some(clock) = &fields.clock {
        actions.push(StepAction::Clock(read_clock(clock)?));
    }
    if let Some(trigger) = &fields.trigger {
        trigger
            .value
            .check()
            .map_err(|rejection| rejected(trigger.referenced, &rejection))?;
        actions.push(StepAction::Trigger(trigger.value.clone()));
    }
    if let Some(wait) = &fields.wait_for {
        actions.push(read_wait(wait)?);
    }
    if let Some(expect) = &fields.expect {
        check_expectation(expect)?;
        actions.push(StepAction::Expect(expect.value.clone()));
    }
    if let Some(repeat) = &fields.repeat {
        let (repeat, end) = read_repeat(repeat, order, depth)?;
        length = end;
        actions.push(StepAction::Repeat(repeat));
    }
    let mut actions = actions.into_iter();
    match (actions.next(), actions.next()) {
        (Some(action), None) => Ok((action, length)),
        (None, _) => Err(ScenarioError::at(
            step.referenced,
            format!("the step does nothing, {ACTIONS}"),
        )),
        (Some(_), Some(_)) => Err(ScenarioError::at(
            step.referenced,
            format!("the step does more than one thing, {ACTIONS}"),
        )),
    }
}

fn rejected(location: Location, rejection: &Rejection) -> ScenarioError {
    ScenarioError::at(location, &rejection.detail)
}

fn read_user(user: &Spanned<UserStepFields>) -> Result<StepAction, ScenarioError> {
    let at = |message: &str| ScenarioError::at(user.referenced, message);
    let fields = &user.value;
    let target = match (&fields.id, &fields.any) {
        (Some(id), None) => {
            let id: UserId = id
                .parse()
                .map_err(|error| ScenarioError::at(user.referenced, error))?;
            UserTarget::Id(id.as_str().to_owned())
        }
        (None, Some(glob)) => UserTarget::Any(Glob::new(glob)),
        _ => return Err(at("expected either id, or any with a glob of ids")),
    };
    let changes = fields.set.is_some() || fields.unset.is_some();
    let actions = [
        fields.connect.map(|_| UserStepAction::Connect),
        fields.disconnect.map(|_| UserStepAction::Disconnect),
        fields.drop.map(|_| UserStepAction::Drop),
        fields.toggle.map(|_| UserStepAction::Toggle),
        changes.then(|| UserStepAction::Set(change_bodies(fields))),
    ];
    let mut actions = actions.into_iter().flatten();
    match (actions.next(), actions.next()) {
        (Some(UserStepAction::Set(bodies)), None) if bodies.is_empty() => {
            Err(at("set is an empty list, expected at least one object"))
        }
        (Some(action), None) => Ok(StepAction::User(target, action)),
        _ => Err(at(
            "expected one of connect, disconnect, drop, toggle, and set with unset",
        )),
    }
}

/// The bodies of control requests, one of which changes the user.
fn change_bodies(fields: &UserStepFields) -> Vec<JsonObject> {
    let unset = json!(fields.unset.as_deref().unwrap_or_default());
    let body = |set: &Map<String, Value>| {
        Map::from_iter([
            ("set".to_owned(), set.clone().into()),
            ("unset".to_owned(), unset.clone()),
        ])
    };
    match &fields.set {
        Some(sets) => sets.0.iter().map(body).collect(),
        None => vec![body(&Map::new())],
    }
}

fn read_clock(clock: &Spanned<ClockFields>) -> Result<ClockAction, ScenarioError> {
    let at = |message: &str| ScenarioError::at(clock.referenced, message);
    let fields = &clock.value;
    let freeze = fields.freeze.as_ref().map(|text| match text.0.as_str() {
        "true" => Ok(ClockAction::Freeze(None)),
        text => DateTime::parse_from_rfc3339(text)
            .map(|time| ClockAction::Freeze(Some(time.to_utc())))
            .map_err(|_| at("freeze must be true, or a time such as 2026-01-31T08:00:00Z")),
    });
    let run = fields.run.map(|rate| {
        if rate > 0.0 && rate <= 1e6 {
            Ok(ClockAction::Run(rate))
        } else {
            Err(at("run must be a number above 0, at most 1000000"))
        }
    });
    let actions = [
        fields.advance.map(|by| Ok(ClockAction::Advance(by.0))),
        fields.set.map(|to| Ok(ClockAction::Set(to.0))),
        freeze,
        run,
    ];
    let mut actions = actions.into_iter().flatten();
    match (actions.next(), actions.next()) {
        (Some(action), None) => action,
        _ => Err(at("expected one of advance, set, freeze and run")),
    }
}

fn read_wait(wait: &Spanned<WaitFields>) -> Result<StepAction, ScenarioError> {
    let fields = &wait.value;
    match (&fields.request, &fields.connection) {
        (Some(request), None) => {
            let mut spec = request.value.clone();
            if let Some(within) = fields.within {
                if spec.within.is_some() {
                    let message = "within is there twice, expected it beside request or in it";
                    return Err(ScenarioError::at(wait.referenced, message));
                }
                spec.within = Some(humantime::format_duration(within.0).to_string());
            }
            spec.within.get_or_insert_with(|| WAIT_DEFAULT.to_owned());
            let spec = Spanned::new(spec, request.referenced, request.defined);
            check_expectation(&spec)?;
            Ok(StepAction::WaitForRequest(spec.value))
        }
        (None, Some(user)) => Ok(StepAction::WaitForConnection {
            user: user
                .parse::<UserId>()
                .map_err(|error| ScenarioError::at(wait.referenced, error))?
                .as_str()
                .to_owned(),
            within: fields
                .within
                .map_or(Duration::from_secs(30), |within| within.0),
        }),
        _ => Err(ScenarioError::at(
            wait.referenced,
            "expected either request or connection",
        )),
    }
}

fn check_expectation(expect: &Spanned<ExpectationSpec>) -> Result<(), ScenarioError> {
    expect
        .value
        .compile(DateTime::UNIX_EPOCH)
        .map(|_| ())
        .map_err(|rejection| rejected(expect.referenced, &rejection))
}

fn read_repeat(
    repeat: &Spanned<RepetitionFields>,
    order: &mut u32,
    depth: usize,
) -> Result<(Repetition, Duration), ScenarioError> {
    let at = |message: String| ScenarioError::at(repeat.referenced, message);
    let fields = &repeat.value;
    if depth >= REPEAT_DEPTH_MAX {
        let message = format!("repetitions are nested more than {REPEAT_DEPTH_MAX} deep");
        return Err(at(message));
    }
    let every = fields.every.0;
    let rounds = match (fields.times, fields.duration) {
        (Some(times), None) => times,
        (None, Some(_)) if every.is_zero() => {
            return Err(at(
                "every must be greater than zero where for is set".to_owned()
            ));
        }
        (None, Some(duration)) => {
            let rounds = duration.0.as_nanos().div_ceil(every.as_nanos());
            u64::try_from(rounds).unwrap_or(u64::MAX)
        }
        _ => return Err(at("expected either times or for".to_owned())),
    };
    if rounds > ROUNDS_MAX {
        return Err(at(format!(
            "the steps are repeated {rounds} times, expected at most {ROUNDS_MAX}"
        )));
    }
    let block = read_block(&fields.steps, order, depth + 1)?;
    let rounds_u32 = u32::try_from(rounds).unwrap_or(u32::MAX);
    // A round that takes longer than the time to the next one ends after it.
    let end = every.saturating_mul(rounds_u32).max(
        every
            .saturating_mul(rounds_u32.saturating_sub(1))
            .saturating_add(block.end),
    );
    let repeat = Repetition {
        every,
        rounds,
        jitter: fields.jitter.map_or(0.0, |jitter| jitter.0),
        steps: block.steps,
    };
    Ok((repeat, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{self, FuzzTarget};
    use crate::mock::scenario::schedule::StepSchedule;

    #[test]
    fn fuzz_scenarios() {
        const FIELDS: &[(&str, &str)] = &[
            ("version", "1"),
            ("seed", "7"),
            ("name", r#""a day""#),
            (
                "fixture",
                r#"{"users":[{"id":"amy"}],"channels":[{"type":"messaging","id":"a"}]}"#,
            ),
            ("fixture", r#""world.json""#),
            (
                "generate",
                r#"{"users":3,"id":"user-{n}","set":{"name":"{n}"}}"#,
            ),
            ("options", r#"{"idle-timeout":"30s","upsert-merges":true}"#),
            ("clock", r#"{"freeze":"2026-01-31T08:00:00Z"}"#),
            (
                "steps",
                r#"[{"at":"1s","user":{"id":"amy","connect":true}},{"after":"1s","clear_faults":true}]"#,
            ),
            (
                "steps",
                r#"[{"repeat":{"every":"1s","times":3,"jitter":"50%","steps":[{"user":{"any":"*","toggle":true}}]}}]"#,
            ),
            (
                "steps",
                r#"[{"expect":{"path":"/users","status":"4xx","count":1}},{"wait_for":{"connection":"amy"}}]"#,
            ),
            (
                "steps",
                r#"[{"fault":{"kind":"drop"}},{"clock":{"advance":"1h"}},{"trigger":{"text":"x","user":"amy"}}]"#,
            ),
        ];
        const WORDS: &[&str] = &[
            "steps",
            "at",
            "after",
            "user",
            "fault",
            "clock",
            "trigger",
            "wait_for",
            "expect",
            "repeat",
            "every",
            "times",
            "for",
            "jitter",
            "id",
            "any",
            "set",
            "unset",
            "toggle",
            "freeze",
            "advance",
            "within",
            "request",
            "connection",
            "1s",
            "50%",
            "${A}",
            "${B:-1s}",
            "99999999999h",
            "- ",
            ": ",
            "&a ",
            "*a",
            "<<: ",
            "|",
            "!!str ",
        ];
        let target = FuzzTarget {
            name: "scenarios",
            inputs: 1500,
            generate: |rng| fuzz::object(rng, WORDS, FIELDS),
            words: WORDS,
        };
        let variables = HashMap::from([("A".to_owned(), "amy".to_owned())]);
        target.run(|text| match parse_scenario(text, variables.clone()) {
            Ok(scenario) => {
                let (steps, _) = scenario.extent();
                let planned: Vec<_> = StepSchedule::new(&scenario).take(1000).collect();
                assert_eq!(planned.len() as u64, steps.min(1000));
                assert!(planned.is_sorted_by_key(|step| step.at));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        });
    }
}
