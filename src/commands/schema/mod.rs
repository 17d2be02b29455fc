//! `schema [RECORD]`: the JSON Schema of every record. The tests validate every printed line against it.
//!
//! `schema mock.api` prints the OpenAPI document of the mock's control API.
//!
//! A schema lists guaranteed fields and allows others, because records may get new fields and the service's objects are
//! open.

mod mock_api;
mod mock_endpoints;
mod mock_shapes;
mod recording_shapes;
mod report_shapes;
mod scenario_endpoints;
mod scenario_shape;
mod shapes;

use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};

use crate::exit::{Code, Failure};
use crate::settings::App;

/// The JSON Schema dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Flags of `schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without RECORD: one schema for every line of a stream, with the other records in its `$defs`.
mock.api is the OpenAPI document of the mock's control API.

Examples:
  presencectl schema presence.gap
  presencectl schema user -o json > user.schema.json
  presencectl schema mock.api -o json > openapi.json
  presencectl schema --jq '.[\"$defs\"] | keys'")]
pub struct SchemaArgs {
    /// Print only the schema of this record
    #[arg(value_name = "RECORD", value_parser = PossibleValuesParser::new(names()))]
    pub record: Option<String>,
}

/// Prints the schema.
///
/// # Errors
///
/// The output cannot be written.
pub fn run(app: &App, args: &SchemaArgs) -> anyhow::Result<Code> {
    let schema = match args.record.as_deref() {
        Some(mock_api::NAME) => mock_api::document(),
        Some(name) => record(name)
            .map(RecordSchema::schema)
            .ok_or_else(|| Failure::new(Code::Usage, "there is no such record"))?,
        None => any_line(),
    };
    let mut rows = app.output().documents(false)?;
    rows.push(&schema)?;
    rows.finish()?;
    Ok(Code::Ok)
}

/// A record with a schema.
#[derive(Debug, Clone, Copy)]
pub struct RecordSchema {
    /// Its name: the value of `type`, or the kind of object that a one-shot command prints.
    pub name: &'static str,
    /// The commands that print it, if it has no `type`.
    pub commands: &'static [&'static str],
    /// Whether streams print it.
    pub in_streams: bool,
    /// Whether the schema lists all its fields, as for records of our own.
    pub closed: bool,
    shape: fn() -> Value,
}

impl RecordSchema {
    const fn line(name: &'static str, shape: fn() -> Value) -> Self {
        Self {
            name,
            commands: &[],
            in_streams: true,
            closed: true,
            shape,
        }
    }

    const fn result(
        name: &'static str,
        commands: &'static [&'static str],
        shape: fn() -> Value,
    ) -> Self {
        Self {
            name,
            commands,
            in_streams: false,
            closed: true,
            shape,
        }
    }

    /// Marks the record as having fields that only the service or the application defines.
    const fn open(mut self) -> Self {
        self.closed = false;
        self
    }

    /// The JSON Schema of the record.
    pub fn schema(&self) -> Value {
        document(self.name, (self.shape)())
    }
}

/// All records.
pub const RECORDS: &[RecordSchema] = &[
    RecordSchema::line("presence.snapshot", shapes::snapshot),
    RecordSchema::line("event", shapes::event).open(),
    RecordSchema::line("connection.changed", shapes::connection_changed),
    RecordSchema::line("connection.recovered", shapes::connection_recovered),
    RecordSchema::line("presence.gap", shapes::gap),
    RecordSchema::line("presence.coverage", shapes::coverage),
    RecordSchema::line("stream.end", shapes::end),
    RecordSchema::result(
        "user",
        &[
            "set-user",
            "get-user",
            "query-users",
            "deactivate-user",
            "reactivate-user",
            "delete-user",
            "restore-user",
            "wait user",
        ],
        shapes::user,
    )
    .open(),
    RecordSchema::result(
        "channel",
        &[
            "set-channel",
            "get-channel",
            "query-channels",
            "wait channel",
        ],
        shapes::channel,
    )
    .open(),
    RecordSchema::result("count", &[], shapes::count),
    RecordSchema::result("request", &[], shapes::request),
    RecordSchema::result(
        "profile",
        &[
            "profile add",
            "profile list",
            "profile show",
            "profile use",
            "profile remove",
            "profile import",
        ],
        shapes::profile,
    ),
    RecordSchema::result(
        "token",
        &["token create", "token inspect", "token verify"],
        shapes::token,
    )
    .open(),
    RecordSchema::result("check", &["doctor"], shapes::check),
    RecordSchema::result("limit", &["limits"], shapes::limit),
    RecordSchema::result(
        "report.session",
        &["report sessions"],
        report_shapes::session,
    ),
    RecordSchema::result("report.uptime", &["report uptime"], report_shapes::uptime),
    RecordSchema::result("report.flaps", &["report flaps"], report_shapes::flaps),
    RecordSchema::result(
        "report.timeline",
        &["report timeline"],
        report_shapes::timeline,
    ),
    RecordSchema::result(
        "mock.ready",
        &["mock start", "mock env"],
        shapes::mock_ready,
    ),
    RecordSchema::result(
        "mock.status",
        &["mock status", "mock restore"],
        mock_shapes::status,
    ),
    RecordSchema::result(
        "mock.clock",
        &[
            "mock clock freeze",
            "mock clock advance",
            "mock clock set",
            "mock clock run",
            "mock clock reset",
        ],
        mock_shapes::clock,
    ),
    RecordSchema::result("mock.user", &["mock user"], mock_shapes::user).open(),
    RecordSchema::result(
        "mock.connection",
        &["mock connections"],
        mock_shapes::connection,
    ),
    RecordSchema::result(
        "mock.expectation",
        &["mock expect"],
        mock_shapes::expectation,
    ),
    RecordSchema::result("mock.step", &["mock run"], mock_shapes::step),
    RecordSchema::result("mock.step.skipped", &[], mock_shapes::skipped_step),
    RecordSchema::result("mock.check", &[], mock_shapes::check),
    RecordSchema::result("mock.scenario", &[], scenario_shape::scenario),
    RecordSchema::result("mock.trigger", &["mock trigger"], mock_shapes::trigger),
    RecordSchema::result(
        "mock.fault",
        &["mock fault add", "mock fault list"],
        mock_shapes::fault,
    ),
    RecordSchema::result(
        "mock.faults.cleared",
        &["mock fault clear"],
        mock_shapes::cleared,
    ),
    RecordSchema::result(
        "mock.app.created",
        &["mock app create"],
        mock_shapes::application_created,
    ),
    RecordSchema::result("mock.app", &["mock app list"], mock_shapes::application),
    RecordSchema::result(
        "mock.app.deleted",
        &["mock app delete"],
        mock_shapes::application_deleted,
    ),
    RecordSchema::result("mock.world", &["mock snapshot"], mock_shapes::world),
    RecordSchema::result("mock.request", &[], mock_shapes::request),
    RecordSchema::result("mock.socket.open", &[], mock_shapes::socket_open),
    RecordSchema::result("mock.socket.end", &[], mock_shapes::socket_end),
    RecordSchema::result("mock.frame.sent", &[], mock_shapes::frame_sent),
    RecordSchema::result("mock.frame.heard", &[], mock_shapes::frame_heard),
    RecordSchema::result("mock.log.lost", &[], mock_shapes::log_lost),
    RecordSchema::result("mock.record.ready", &[], recording_shapes::ready),
    RecordSchema::result("mock.recording", &["mock record"], recording_shapes::line),
    RecordSchema::result("mock.record.end", &[], recording_shapes::end),
    RecordSchema::result("error", &[], shapes::error),
];

/// The record with this name.
pub fn record(name: &str) -> Option<&'static RecordSchema> {
    RECORDS.iter().find(|record| record.name == name)
}

fn names() -> Vec<&'static str> {
    let records = RECORDS.iter().map(|record| record.name);
    records.chain([mock_api::NAME]).collect()
}

fn document(title: &str, shape: Value) -> Value {
    let mut schema = Map::from_iter([
        ("$schema".to_owned(), Value::from(DIALECT)),
        ("title".to_owned(), Value::from(title)),
    ]);
    if let Value::Object(shape) = shape {
        schema.extend(shape);
    }
    Value::Object(schema)
}

/// The schema of any line of a stream: a record of our own, selected by `type`, or else an event of the service.
fn any_line() -> Value {
    let lines = RECORDS.iter().filter(|record| record.in_streams);
    let of: Vec<Value> = lines
        .map(|record| json!({ "$ref": format!("#/$defs/{}", record.name) }))
        .collect();
    // The references inside the schema of a file hold only there.
    let all: Map<String, Value> = RECORDS
        .iter()
        .filter(|record| record.name != "mock.scenario")
        .map(|record| (record.name.to_owned(), (record.shape)()))
        .collect();
    document("a line of a stream", json!({ "oneOf": of, "$defs": all }))
}
