//! Reads a scenario from YAML or JSON. Mistakes are reported with their line and column.

use std::collections::{BTreeMap, HashMap};

use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use serde_saphyr::{Location, MessageFormatter, PropertySyntax, Spanned};

use super::error::ScenarioError;
use super::model::{Placed, Scenario};
use super::steps::{StepFields, read_block};
use super::values::{NameOr, ScalarText, TimeValue};
use super::variables::RewrittenText;
use crate::mock::engine::ServiceState;
use crate::mock::fixture::{Fixture, FixtureError};
use crate::mock::options::MockRules;
use crate::mock::rule_options::RULE_OPTIONS;

/// The only version of the format.
const VERSION: u64 = 1;
/// Bytes that a scenario file may have.
pub const SCENARIO_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How many users a scenario may generate.
const GENERATED_USERS_MAX: u64 = 1_000_000;
/// How many bytes the fields of all generated users may take, as they are written.
const GENERATED_FIELDS_MAX_BYTES: u64 = 128 * 1024 * 1024;
/// How many characters the name of a scenario may have.
const NAME_MAX_CHARS: usize = 200;
/// What is replaced by the number of a generated user.
const NUMBER_MARK: &str = "{n}";

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFields {
    version: Option<Spanned<u64>>,
    name: Option<Spanned<String>>,
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
            unset_variable: None,
        });
    }
    let rewritten = RewrittenText::new(text);
    match read_scenario(&rewritten.text, variables) {
        Ok(mut scenario) => {
            let file = scenario.fixture_file.iter_mut();
            for placed in file.chain(scenario.options.values_mut()) {
                placed.column = rewritten.column_in_source(placed.line, placed.column);
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
    if let Some(name) = &fields.name
        && name.value.chars().count() > NAME_MAX_CHARS
    {
        let message = format!("the name must have at most {NAME_MAX_CHARS} characters");
        return Err(ScenarioError::at(name.referenced, message));
    }
    let mut rules = MockRules::default();
    let mut options = BTreeMap::new();
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
        options.insert(name, Placed::at(value.referenced, value.value.0));
    }
    let frozen_at = fields.clock.map(|clock| clock.freeze.0);
    let (fixture, fixture_file) = read_fixture(fields.fixture, fields.generate, &rules)?;
    let mut order = 0;
    let block = read_block(&fields.steps, &mut order, 0)?;
    Ok(Scenario {
        name: fields.name.map(|name| name.value),
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
    let mut unset_variable = None;
    let message = match error {
        Error::PropertyRequiredButUnset { name, .. } => {
            unset_variable = Some(name.clone());
            format!("the variable `{name}` is not set")
        }
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
    ScenarioError {
        unset_variable,
        ..ScenarioError::at(location, message)
    }
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
) -> Result<(Fixture, Option<Placed<String>>), ScenarioError> {
    let mut file = None;
    let mut fields = None;
    match fixture {
        Some(Spanned {
            value: NameOr::Name(name),
            referenced: location,
            ..
        }) => {
            file = Some(Placed::at(location, name));
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
        let fields = generate.id.len() + json!(generate.set).to_string().len();
        if generate.users.saturating_mul(fields as u64) > GENERATED_FIELDS_MAX_BYTES {
            let limit = GENERATED_FIELDS_MAX_BYTES / (1024 * 1024);
            let message = format!("the fields of all users must have at most {limit} MiB together");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{self, FuzzTarget};
    use crate::mock::scenario::schedule::StepSchedule;

    #[test]
    fn what_a_run_keeps_in_memory_is_limited() {
        let mistake = |text: &str| {
            let error = parse_scenario(text, HashMap::new()).err();
            error.map(|error| error.to_string()).unwrap_or_default()
        };
        let named = |length: usize| format!("name: {}\nsteps: []\n", "é".repeat(length));
        assert_eq!(mistake(&named(200)), "");
        assert_eq!(
            mistake(&named(201)),
            "1:7: the name must have at most 200 characters"
        );
        let note = "x".repeat(1000);
        let users = format!(
            "generate: {{users: 1000000, id: 'u{{n}}', set: {{note: {note}}}}}\nsteps: []\n"
        );
        assert_eq!(
            mistake(&users),
            "1:11: the fields of all users must have at most 128 MiB together"
        );
    }

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
                let planned: Vec<_> = StepSchedule::new(&scenario).steps().take(1000).collect();
                assert_eq!(planned.len() as u64, steps.min(1000));
                assert!(planned.is_sorted_by_key(|step| step.at));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        });
    }
}
