//! Validates every line that a tested command prints against its published schema, in addition to what the test itself
//! asserts.

use std::collections::HashMap;
use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use clap::CommandFactory;
use presencectl::cli::Cli;
use presencectl::commands::schema::{self, RecordSchema};
use serde_json::Value;

/// The schemas, compiled once for all tests.
static SCHEMAS: LazyLock<(Schemas, HashMap<&str, SchemaIndex>)> = LazyLock::new(|| {
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    let mut schemas = Schemas::new();
    let indexes = schema::RECORDS
        .iter()
        .map(|record| {
            let address = format!("https://presencectl.test/{}", record.name);
            compiler
                .add_resource(&address, record.schema())
                .expect("a schema is a document");
            let index = compiler.compile(&address, &mut schemas);
            (record.name, index.unwrap_or_else(|e| panic!("{e:#}")))
        })
        .collect();
    (schemas, indexes)
});

/// Which schema the lines of a command can be validated against.
#[derive(Debug, Clone)]
pub(crate) struct Contract {
    /// The command's words, or `None` where a flag changes the shape of the lines.
    command: Option<String>,
    is_dry_run: bool,
}

impl Contract {
    /// The contract of a command line, program name left out.
    pub(crate) fn of(arguments: &[String]) -> Self {
        let words = std::iter::once("presencectl").chain(arguments.iter().map(String::as_str));
        let flag = |name: &str| {
            arguments
                .iter()
                .any(|word| word == name || word.starts_with(&format!("{name}=")))
        };
        let shaped = ["--jq", "--columns", "--raw", "schema", "api"]
            .into_iter()
            .any(flag);
        let command = Cli::command()
            .try_get_matches_from(words)
            .ok()
            .filter(|_| !shaped)
            .map(|matches| {
                let mut words = Vec::new();
                let mut matches = &matches;
                while let Some((word, below)) = matches.subcommand() {
                    words.push(word);
                    matches = below;
                }
                words.join(" ")
            })
            // What another program prints is that program's.
            .filter(|command| {
                !matches!(command.as_str(), "mock exec" | "mock run")
                    || !arguments.iter().any(|word| word == "--")
            });
        Self {
            command,
            is_dry_run: flag("--dry-run"),
        }
    }

    /// Checks a line of stdout. Lines that are no JSON object are another format's.
    #[track_caller]
    pub(crate) fn check(&self, line: &str) {
        if let Some(command) = &self.command
            && let Ok(value @ Value::Object(_)) = serde_json::from_str(line)
        {
            let record = self.record(command, &value).unwrap_or_else(|| {
                panic!("`{command}` prints a record without a schema; name it in commands::schema: {line}")
            });
            check_against(record, &value);
        }
    }

    /// Checks a line of stderr that is an error's JSON form.
    #[track_caller]
    pub(crate) fn check_error(&self, line: &str) {
        if line.starts_with(r#"{"error":"#)
            && let Ok(value) = serde_json::from_str(line)
        {
            check_against(
                schema::record("error").expect("errors have a schema"),
                &value,
            );
        }
    }

    fn record(&self, command: &str, value: &Value) -> Option<&'static RecordSchema> {
        let named = |name: &str| schema::record(name);
        match value["type"].as_str() {
            Some(kind) if value["seq"].is_number() => named(kind).or_else(|| named("event")),
            Some(kind) if named(kind).is_some() => named(kind),
            _ if command == "mock record" => named("mock.recording"),
            _ if self.is_dry_run && value["method"].is_string() => named("request"),
            _ if command == "query-users" && value["count"].is_number() => named("count"),
            _ => schema::RECORDS
                .iter()
                .find(|record| record.commands.contains(&command)),
        }
    }
}

#[track_caller]
fn check_against(record: &RecordSchema, value: &Value) {
    let (schemas, indexes) = &*SCHEMAS;
    if let Err(error) = schemas.validate(value, indexes[record.name]) {
        panic!("not a `{}` by its schema: {error:#}\n{value}", record.name);
    }
    // A schema allows more than it names, so that records can grow; what we print today is to be named.
    if record.closed {
        let schema = record.schema();
        for field in value
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.keys())
        {
            assert!(
                schema["properties"].get(field).is_some(),
                "`{field}` of `{}` is not in its schema\n{value}",
                record.name
            );
        }
    }
}
