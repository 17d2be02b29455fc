//! `mock record`: a proxy in front of any server that writes what a client and the server say to each other, without
//! secrets; and what makes a fixture or a scenario of such a recording.

mod capture;
mod frame_tap;
mod proxy;
mod recorder;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::{ParseError, Url};

use self::proxy::RecordingProxy;
use self::recorder::{Recorder, RecordingSink};
use super::endpoint;
use super::recording_file::read_recording;
use crate::config_file::{link_target, write_private};
use crate::environment;
use crate::exit::{Code, Failure};
use crate::mock::recording::{
    self, IdHandling, RecordingEnd, RecordingRedactor, RedactionOptions, is_secret_name,
};
use crate::settings::App;
use crate::signals::Signals;

/// The variables whose values are credentials, and so must not be in a recording.
const CREDENTIAL_VARIABLES: [&str; 7] = [
    "STREAM_API_SECRET",
    "STREAM_SECRET",
    "STREAM_API_KEY",
    "STREAM_KEY",
    "PRESENCECTL_USER_TOKEN",
    "PRESENCECTL_MOCK_SECRET",
    "PRESENCECTL_MOCK_TOKEN",
];
/// How long requests may take to end when the recording ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Flags of `mock record`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The proxy serves HTTP and WebSocket until Ctrl-C or --timeout. Its first line is a record with its `url`, which any SDK
can use as its base URL. Keys and tokens are dropped; texts, names, images and e-mail addresses become pseudonyms.
FILE.part grows meanwhile. At the end it is checked for secrets and becomes FILE. With --dry-run, the lines are printed.

Examples:
  presencectl mock record --upstream http://127.0.0.1:8080 --out session.ndjson
  presencectl mock record --upstream http://127.0.0.1:8080 --keep status,color --dry-run
  presencectl mock record --to-fixture session.ndjson > world.json")]
pub struct RecordArgs {
    /// Record the traffic between clients and the server at URL
    #[arg(
        long,
        value_name = "URL",
        required_unless_present_any = ["to_fixture", "to_scenario"]
    )]
    pub upstream: Option<String>,

    /// Write the recording, fixture or scenario to FILE
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Listen on this port; 0 picks a free one
    #[arg(long, default_value_t = 0, conflicts_with_all = ["to_fixture", "to_scenario"])]
    pub port: u16,

    /// Listen on ADDR [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["to_fixture", "to_scenario"])]
    pub host: Option<IpAddr>,

    /// Keep the values of fields with this name (repeatable)
    #[arg(
        long,
        value_name = "FIELD",
        value_delimiter = ',',
        value_parser = parse_field_name,
        conflicts_with_all = ["to_fixture", "to_scenario"]
    )]
    pub keep: Vec<String>,

    /// Replace ids by pseudonyms, too
    #[arg(long, conflicts_with_all = ["to_fixture", "to_scenario"])]
    pub pseudonymize_ids: bool,

    /// Print the users and channels of the recording FILE as a fixture
    #[arg(long, value_name = "FILE", conflicts_with_all = ["upstream", "to_scenario"])]
    pub to_fixture: Option<PathBuf>,

    /// Print what happened to users in the recording FILE as a scenario
    #[arg(long, value_name = "FILE", conflicts_with = "upstream")]
    pub to_scenario: Option<PathBuf>,
}

fn parse_field_name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it has no name of a field, such as status".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// The record that says that the proxy can be used.
#[derive(Debug, Serialize)]
struct ProxyReadyRecord<'a> {
    r#type: &'static str,
    url: String,
    upstream: &'a str,
    file: Option<&'a Path>,
    pid: u32,
}

/// The last record: what was recorded.
#[derive(Debug, Serialize)]
struct RecordingEndRecord<'a> {
    r#type: &'static str,
    file: Option<&'a Path>,
    requests: u64,
    sockets: u64,
    frames: u64,
}

/// Records until a signal or `--timeout`, or converts a recording.
///
/// # Errors
///
/// The proxy cannot start, the recording cannot be written or read, or it contains what looks like a secret.
pub(super) async fn run(app: &App, args: &RecordArgs) -> anyhow::Result<Code> {
    if let Some(file) = args.out.as_deref().filter(|_| !app.is_dry_run()) {
        check_destination(file)?;
    }
    if let Some(file) = &args.to_fixture {
        let recording = read_recording(app, file, Code::Usage)?;
        let fixture = recording::fixture_of(&recording)?;
        return write_document(app, args, &fixture);
    }
    if let Some(file) = &args.to_scenario {
        let recording = read_recording(app, file, Code::Usage)?;
        let converted = recording::scenario_of(&recording)?;
        if converted.steps == 0 {
            app.output()
                .warn("nothing happened to users in the recording; the scenario has no steps");
        }
        return write_document(app, args, &converted.scenario);
    }
    record(app, args).await
}

/// Checks that a file can be replaced at the end. It would be too late then to find out that it cannot.
fn check_destination(path: &Path) -> Result<(), Failure> {
    let unusable = |why: &str| {
        let message = format!("cannot write to {}: {why}", path.display());
        Failure::new(Code::Usage, message)
            .hinted("name a file in a folder that exists: --out session.ndjson")
    };
    if path == Path::new("-") {
        return Err(unusable("it is not the name of a file"));
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(unusable("it is a folder")),
        // A device would be replaced by a file.
        Ok(found) if !found.is_file() => Err(unusable("it is not a regular file")),
        Ok(_) => Ok(()),
        Err(_) => {
            let target = link_target(path);
            let folder = target.parent().filter(|folder| *folder != Path::new(""));
            match folder.map_or(Ok(()), |folder| fs::read_dir(folder).map(|_| ())) {
                Ok(()) => Ok(()),
                Err(error) => Err(unusable(&format!("its folder: {error}"))),
            }
        }
    }
}

/// Prints a document, or writes it to `--out`.
fn write_document(app: &App, args: &RecordArgs, value: &serde_json::Value) -> anyhow::Result<Code> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    match args.out.as_deref().filter(|_| !app.is_dry_run()) {
        Some(file) => write_private(file, &text)?,
        None => endpoint::print(&text)?,
    }
    Ok(Code::Ok)
}

async fn record(app: &App, args: &RecordArgs) -> anyhow::Result<Code> {
    let upstream = parse_upstream(args.upstream.as_deref().unwrap_or_default())?;
    let file = if app.is_dry_run() {
        None
    } else {
        Some(args.out.as_deref().ok_or_else(|| {
            Failure::new(Code::Usage, "there is no file to write the recording to")
                .hinted("add --out FILE, or --dry-run to print the recording")
        })?)
    };
    let http = app.pass_through(&upstream)?;
    let redactor = redactor(args)?;
    let host = args.host.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let address = SocketAddr::new(host, args.port);
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::new(
            Code::MockCannotStart,
            format!("cannot listen on {address}: {error}"),
        )
        .hinted("pick a free port: --port 0")
    })?;
    let mut signals = Signals::listen()?;
    let sink = match file {
        Some(file) => RecordingSink::create(file)?,
        None => RecordingSink::Output(Arc::clone(app.output())),
    };
    let output = Arc::clone(app.output());
    let recorder = Arc::new(Recorder::new(redactor, sink, move |text| output.warn(text)));
    let mut port_address = listener.local_addr()?;
    if !host.is_loopback() {
        app.output().warn(&format!(
            "other machines can reach the proxy on {host}, and through it {upstream}"
        ));
    }
    if host.is_unspecified() {
        port_address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let url = format!("http://{port_address}");
    print_record(&ProxyReadyRecord {
        r#type: "mock.record.ready",
        url: url.clone(),
        upstream: upstream.as_str().trim_end_matches('/'),
        file,
        pid: std::process::id(),
    })?;
    app.output().status(&format!(
        "recording: use {url} as the base URL of a client; Ctrl-C ends the recording"
    ));
    recorder.start(app.now(), args.pseudonymize_ids, &args.keep);

    let (close, closing) = watch::channel(());
    let proxy = RecordingProxy::new(upstream, http, Arc::clone(&recorder), closing.clone());
    let mut closed = closing;
    let server = axum::serve(listener, proxy::router(proxy)).with_graceful_shutdown(async move {
        // A dropped sender ends the server as well.
        let _ = closed.changed().await;
    });
    let server = tokio::spawn(server.into_future());
    let ended = tokio::select! {
        code = signals.next() => code,
        () = sleep_for(app.timeout()) => Code::Ok,
        () = recorder.failed() => Code::Ok,
    };
    // Everybody who listens is told; without anybody there is nothing to tell.
    let _ = close.send(());
    // Requests that take longer are not recorded.
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, server).await;
    let Some(RecordingEnd {
        requests,
        sockets,
        frames,
        ..
    }) = recorder.finish()?
    else {
        // The reader of the lines has gone.
        return Ok(Code::Ok);
    };
    print_record(&RecordingEndRecord {
        r#type: "mock.record.end",
        file,
        requests,
        sockets,
        frames,
    })?;
    Ok(ended)
}

async fn sleep_for(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

fn print_record(record: &impl Serialize) -> anyhow::Result<()> {
    Ok(endpoint::print(&(serde_json::to_string(record)? + "\n"))?)
}

/// The redactor of the flags, which knows the credentials of the environment.
fn redactor(args: &RecordArgs) -> anyhow::Result<RecordingRedactor> {
    let keep: BTreeSet<String> = args.keep.iter().cloned().collect();
    if let Some(name) = keep.iter().find(|name| is_secret_name(name)) {
        return Err(Failure::new(
            Code::Usage,
            format!("the field `{name}` cannot be kept: its values are secrets"),
        )
        .hinted("name fields such as name, status, text or image")
        .into());
    }
    let ids = if args.pseudonymize_ids {
        IdHandling::Pseudonyms
    } else {
        IdHandling::Kept
    };
    let mut redactor = RecordingRedactor::new(&rand::random(), RedactionOptions { ids, keep });
    for name in CREDENTIAL_VARIABLES {
        if let Some(value) = environment::variable(name) {
            redactor.learn(&value);
        }
    }
    Ok(redactor)
}

fn parse_upstream(text: &str) -> Result<Url, Failure> {
    let invalid = |why: &str| {
        Failure::new(Code::Usage, format!("the upstream {why}")).hinted(
            "write --upstream https://chat.stream-io-api.com, or http://127.0.0.1:PORT for a mock",
        )
    };
    let url = match Url::parse(text) {
        Err(ParseError::RelativeUrlWithoutBase) => {
            return Err(invalid("must begin with http:// or https://"));
        }
        url => url.map_err(|error| invalid(&format!("is not a URL: {error}")))?,
    };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid("must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("must not contain a user name or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("must not have a query or a fragment"));
    }
    Ok(url)
}
