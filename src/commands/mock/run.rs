//! `mock run FILE [-- COMMAND]`: start a server, run the steps of a scenario on it, and check its expectations.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::junit::JunitReport;
use super::server::{self, MockServer, ServerArgs};
use super::server_command::ServerCommand;
use super::step_writer::StepWriter;
use crate::commands::fields::split_assignment;
use crate::exit::{Code, ExitStatus, Failure};
use crate::input_file::read_text;
use crate::mock::{
    self, EXAMPLE_SCENARIOS, EarlyEnd, RULE_OPTIONS, RunSignal, RunSpeed, RunSummary,
    SCENARIO_MAX_BYTES, Scenario, SkippedStep, StepRecord,
};
use crate::output::Column;
use crate::settings::App;
use crate::signals::Signals;
use crate::timer::sleep_until;

/// Flags of `mock run`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "presencectl mock run [OPTIONS] FILE [-- COMMAND...]",
    after_help = "\
Prints one record for each step, and one for each that did not run. With COMMAND, stdout is the command's, and --tee keeps the records; the command finds
the server in its environment, as with `mock exec`. When it ends, the remaining steps run at once.

Exit codes: 3 if an expectation is not met, 13 if the scenario does not load, 124 if --timeout ends the run, else that
of COMMAND.
`presencectl schema mock.scenario` describes the file, and --example shows one.

Examples:
  presencectl mock run --example on-call --print > scenario.yaml
  presencectl mock run --check scenario.yaml
  presencectl mock run scenario.yaml --var TEAM=red --junit report.xml -- npm test"
)]
pub struct RunArgs {
    /// Run the scenario in this YAML or JSON file; - reads stdin
    #[arg(value_name = "FILE", required_unless_present = "example")]
    pub file: Option<PathBuf>,

    /// Run a built-in scenario: busy-day, flaky-network or on-call
    #[arg(
        long,
        value_name = "NAME",
        value_parser = PossibleValuesParser::new(EXAMPLE_SCENARIOS.iter().map(|example| example.name)),
        hide_possible_values = true,
        conflicts_with = "file"
    )]
    pub example: Option<String>,

    /// Print the text of --example instead of running it
    #[arg(long, requires = "example")]
    pub print: bool,

    /// Check the scenario, and do not run it
    #[arg(long)]
    pub check: bool,

    /// Set a variable, for ${NAME} in the file (repeatable; else the environment)
    #[arg(long, value_name = "NAME=VALUE")]
    pub var: Vec<ScenarioVariable>,

    /// Run RATE times as fast, or max [default: max if the clock is frozen, else 1]
    #[arg(long, value_name = "RATE")]
    pub speed: Option<RunSpeed>,

    /// Write the results of all expectations to FILE, as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,

    /// Write the records to FILE too, as NDJSON
    #[arg(long, value_name = "FILE")]
    pub tee: Option<PathBuf>,

    /// The server
    #[command(flatten)]
    pub server: ServerArgs,

    /// Run this command with its arguments against the server
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// A variable and its value, as `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioVariable {
    name: String,
    value: String,
}

impl FromStr for ScenarioVariable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = split_assignment(text)?;
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// Runs a scenario.
///
/// # Errors
///
/// The scenario or the server cannot start (exit code 13), the mock refuses a step, or the output cannot be written.
pub(super) fn run(app: &App, args: &RunArgs) -> anyhow::Result<ExitStatus> {
    let (name, text) = read_scenario_text(args)?;
    if args.print {
        app.output().print(&text)?;
        return Ok(ExitStatus::Own(Code::Ok));
    }
    let mut variables: HashMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    for variable in &args.var {
        variables.insert(variable.name.clone(), variable.value.clone());
    }
    let invalid = |error: mock::ScenarioError| {
        let hint = match &error.unset_variable {
            Some(name) => format!("set it: --var {name}=VALUE, or {name} in the environment"),
            None => "see what a scenario may contain: presencectl schema mock.scenario".to_owned(),
        };
        Failure::new(Code::MockCannotStart, format!("{name}:{error}")).hinted(hint)
    };
    let mut scenario = mock::parse_scenario(&text, variables).map_err(invalid)?;
    if let Some(file) = scenario.fixture_file.take() {
        let folder = args.file.as_deref().and_then(Path::parent);
        let path = folder.unwrap_or(Path::new("")).join(&file.value);
        let text = read_text(&path, mock::FIXTURE_MAX_BYTES).map_err(|error| {
            invalid(file.error(format!("cannot read {}: {error}", path.display())))
        })?;
        let read = mock::read_fixture(&text)
            .map_err(|error| invalid(file.error(format!("{}: {error}", path.display()))))?;
        if let Some(warning) = read.warning() {
            app.output().warn(&warning);
        }
        scenario.add_fixture(read.fixture);
    }
    if args.check || app.is_dry_run() {
        return check(app, &name, &scenario);
    }
    let mut server = MockServer::prepare(app, &args.server)?;
    if let Some(warning) = server.warning() {
        app.output().warn(&warning);
    }
    configure(&mut server, args, &scenario)?;
    server::start_runtime()?.block_on(serve(app, args, &name, server, scenario))
}

/// The name of the scenario, for messages, and its text.
fn read_scenario_text(args: &RunArgs) -> anyhow::Result<(String, String)> {
    if let Some(name) = &args.example {
        let example = EXAMPLE_SCENARIOS
            .iter()
            .find(|example| example.name == name);
        let text = example.map_or("", |example| example.text);
        return Ok((name.clone(), text.to_owned()));
    }
    let path = args.file.as_deref().unwrap_or(Path::new("-"));
    let name = path.display().to_string();
    let text = read_text(path, SCENARIO_MAX_BYTES).map_err(|error| {
        let message = format!("cannot read {name}: {error}");
        Failure::new(Code::MockCannotStart, message)
            .hinted("start from an example: presencectl mock run --example on-call --print")
    })?;
    Ok((name, text))
}

/// Prints what a run would do.
fn check(app: &App, name: &str, scenario: &Scenario) -> anyhow::Result<ExitStatus> {
    let columns = ["file", "steps", "duration", "users", "channels"].map(Column::plain);
    let mut rows = app.output().row(&columns)?;
    let (steps, duration) = scenario.extent();
    rows.push(&json!({
        "type": "mock.check",
        "file": name,
        "steps": steps,
        "duration": humantime::format_duration(duration).to_string(),
        "users": scenario.fixture.users.len(),
        "channels": scenario.fixture.channels.len(),
    }))?;
    rows.finish()?;
    Ok(ExitStatus::Own(Code::Ok))
}

/// Applies what the scenario says about the server. Flags take precedence.
fn configure(server: &mut MockServer, args: &RunArgs, scenario: &Scenario) -> anyhow::Result<()> {
    let options = &mut server.options;
    if args.server.fixture.is_none() && !args.server.demo {
        options.fixture = scenario.fixture.clone();
    }
    options.frozen_at = scenario.frozen_at;
    options.seed = Some(scenario.seed);
    for (name, value) in &scenario.options {
        let option = RULE_OPTIONS.iter().find(|option| option.name == name);
        if let Some(option) = option
            && option.value(&options.rules) == option.default()
        {
            option
                .set_value(&mut options.rules, &value.value)
                .map_err(|message| Failure::new(Code::MockCannotStart, message))?;
        }
    }
    Ok(())
}

/// How a run ended before its last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interruption {
    Signal(Code),
    Timeout,
}

impl Interruption {
    const fn reason(self) -> &'static str {
        match self {
            Self::Signal(_) => "a signal ended the run",
            Self::Timeout => "the time ran out before the last step",
        }
    }

    fn into_status(self) -> anyhow::Result<ExitStatus> {
        match self {
            Self::Signal(signal) => Ok(ExitStatus::Own(signal)),
            Self::Timeout => Err(Failure::new(Code::TimedOut, self.reason())
                .hinted("give it more time with --timeout, or let the clock jump with --speed max")
                .into()),
        }
    }
}

/// Where the results of the steps go.
struct RunResults<'a> {
    writer: StepWriter<'a>,
    report: Option<JunitReport>,
}

impl<'a> RunResults<'a> {
    fn create(
        app: &'a App,
        args: &RunArgs,
        name: &str,
        scenario: &Scenario,
    ) -> anyhow::Result<Self> {
        let title = scenario.name.as_deref().unwrap_or(name);
        let report = args.junit.as_deref();
        Ok(Self {
            writer: StepWriter::new(app, args.command.is_empty(), args.tee.as_deref())?,
            report: report
                .map(|path| JunitReport::create(path, title, name))
                .transpose()?,
        })
    }

    fn write(&mut self, record: &StepRecord) -> anyhow::Result<()> {
        if let Some(report) = &mut self.report {
            report.add(record);
        }
        self.writer.write(record)
    }

    /// Writes which steps did not run.
    fn write_skipped(&mut self, skipped: &[SkippedStep]) -> anyhow::Result<()> {
        if let Some(report) = &mut self.report {
            skipped.iter().for_each(|step| report.add_skipped(step));
        }
        self.writer.write_skipped(skipped)
    }

    fn finish(self, interruption: Option<Interruption>) -> anyhow::Result<()> {
        self.writer.finish()?;
        let Some(mut report) = self.report else {
            return Ok(());
        };
        if let Some(interruption) = interruption {
            report.add_interruption(interruption.reason());
        }
        report.write()
    }
}

async fn serve(
    app: &App,
    args: &RunArgs,
    name: &str,
    mut server: MockServer,
    scenario: Scenario,
) -> anyhow::Result<ExitStatus> {
    let has_command = !args.command.is_empty();
    let mut results = RunResults::create(app, args, name, &scenario)?;
    let deadline = app.timeout().map(|timeout| Instant::now() + timeout);
    let listeners = server.listen()?;
    let endpoint = server.endpoint(listeners.local_addr()?);
    let mut signals = Signals::listen()?;
    let host = server.reachable_host();
    let speed = args.speed.unwrap_or_else(|| RunSpeed::of(&scenario));
    let mut warnings = std::pin::pin!(server.warn_of_unmatched(app));
    let (stop, stopped) = oneshot::channel::<()>();
    let (started, start) = oneshot::channel();
    let serving = tokio::spawn(mock::serve_and_tell(
        listeners,
        server.options,
        async {
            // An error means that this function is gone, which is the signal just as well.
            let _ = stopped.await;
        },
        started,
    ));
    let Ok(running) = start.await else {
        serving.await??;
        return Ok(ExitStatus::Own(Code::Unexpected));
    };
    let mut command = None;
    if has_command {
        command = Some(ServerCommand::start(app, &args.command, &endpoint, host)?);
    } else {
        app.output()
            .status(&format!("mock server ready at {}", endpoint.url));
    }
    let (signal, signalled) = watch::channel(RunSignal::Continue);
    let mut runner = running.runner(scenario, speed, signalled);
    let (mut summary, mut status, mut interruption) = (None, None, None);
    {
        let mut run = std::pin::pin!(runner.run(|record| results.write(record)));
        while interruption.is_none()
            && (summary.is_none() || (command.is_some() && status.is_none()))
        {
            let command_end = async {
                match &mut command {
                    Some(command) if status.is_none() => command.wait().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = &mut run, if summary.is_none() => summary = Some(ended?),
                code = command_end => {
                    status = Some(code?);
                    signal.send_replace(RunSignal::SkipWaits);
                }
                never = &mut warnings => match never {},
                received = signals.next() => match &command {
                    Some(command) if status.is_none() => command.forward(received)?,
                    _ => interruption = Some(Interruption::Signal(received)),
                },
                () = sleep_until(deadline) => interruption = Some(Interruption::Timeout),
            }
        }
        if let (None, Some(interruption)) = (&summary, interruption) {
            // The runner then says which steps were skipped.
            signal.send_replace(RunSignal::Stop(interruption.reason()));
            summary = Some(run.await?);
        }
    }
    let summary = summary.unwrap_or_default();
    results.write_skipped(&summary.skipped)?;
    if let Some(command) = command {
        command.kill_group().await?;
    }
    results.finish(interruption)?;
    drop(stop);
    serving.await??;
    match interruption {
        Some(interruption) => interruption.into_status(),
        None => outcome(&summary, status),
    }
}

/// The exit status of a run: the command's failure first, then that of the scenario.
fn outcome(summary: &RunSummary, status: Option<u8>) -> anyhow::Result<ExitStatus> {
    if let Some(status) = status.filter(|status| *status != 0) {
        return Ok(ExitStatus::Child(status));
    }
    if let Some(EarlyEnd::Refused { line, detail }) = &summary.early_end {
        let message = format!("the mock refused a step: line {line}: {detail}");
        return Err(Failure::new(Code::Refused, message)
            .hinted("fix the step on that line; see what a step may contain: presencectl schema mock.scenario")
            .into());
    }
    match summary.unmet {
        0 => Ok(ExitStatus::Own(Code::Ok)),
        1 => Err(unmet("1 expectation is not met".to_owned())),
        count => Err(unmet(format!("{count} expectations are not met"))),
    }
}

fn unmet(message: String) -> anyhow::Error {
    Failure::new(Code::NothingMatched, message)
        .hinted("each failed step has `ok: false`; keep the records with --tee FILE")
        .into()
}
