//! Detached servers: `mock start --detach` starts one, and `mock env` and `mock stop` find it again.
//!
//! A detached server is this program again, in a session of its own. It tells the program that started it when it is
//! ready, through a pipe, and then keeps nothing of it. The address of the last one is kept in the user's state folder.
//! Only Unix has sessions, so only there a server can be detached.

use std::ffi::OsStr;
use std::fs;
#[cfg(unix)]
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
#[cfg(unix)]
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::control::{ask_as, call};
use super::endpoint::{MockEndpoint, ReadyFormat, console_url};
use crate::api::Client;
use crate::config_file::write_private;
use crate::error_to_exit::code_of;
use crate::exit::{Code, Failure};
use crate::settings::App;

/// The first argument of a detached server, by which it knows what it is.
const DETACHED_NAME: &str = "presencectl (detached)";

/// How the start of a detached server ended.
#[derive(Debug)]
pub(super) enum DetachedStart {
    /// The server is ready. The text says how to reach it.
    Ready(String),
    /// The server has said on stderr why it cannot start, and ended with this code.
    Failed(u8),
}

/// Whether this process is a detached server.
pub(super) fn is_detached() -> bool {
    std::env::args_os().next().as_deref() == Some(OsStr::new(DETACHED_NAME))
}

/// Starts this command line again as a detached server and waits until it is ready.
///
/// # Errors
///
/// The process cannot be started, or the server's address cannot be kept or rendered. Then there is no server.
#[cfg(unix)]
pub(super) fn start(format: ReadyFormat) -> anyhow::Result<DetachedStart> {
    use std::os::unix::process::CommandExt;
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program)
        .arg0(DETACHED_NAME)
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start a process")?;
    let started = wait_until_ready(&mut child, format);
    if started.is_err() {
        // Nobody would know where the server is. An error here means that it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
    started
}

/// Refuses: this system has no sessions.
///
/// # Errors
///
/// Always.
#[cfg(not(unix))]
pub(super) fn start(_: ReadyFormat) -> anyhow::Result<DetachedStart> {
    Err(
        Failure::new(Code::Usage, "--detach is not available on this system")
            .hinted("run the tests in it: presencectl mock exec -- COMMAND; or leave `presencectl mock start` running")
            .into(),
    )
}

#[cfg(unix)]
fn wait_until_ready(child: &mut Child, format: ReadyFormat) -> anyhow::Result<DetachedStart> {
    let mut ready = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut ready)?;
    }
    // The server closes its end once it is ready.
    let mut messages = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_end(&mut messages)?;
    }
    // There is nowhere left to say that stderr is gone.
    let _ = io::stderr().write_all(&messages);
    if ready.is_empty() {
        let code = child.wait()?.code();
        let code = code.and_then(|code| u8::try_from(code).ok());
        return Ok(DetachedStart::Failed(
            code.unwrap_or(Code::Unexpected.number()),
        ));
    }
    let endpoint: MockEndpoint = serde_json::from_str(&ready)?;
    let text = endpoint.render(format)?;
    LastDetached::of(&endpoint).save()?;
    Ok(DetachedStart::Ready(text))
}

/// Tells the program that started this server how to reach it, and lets go of that program.
///
/// # Errors
///
/// The program is gone, or the system does not allow a session of its own.
#[cfg(unix)]
pub(super) fn report_ready(endpoint: &MockEndpoint) -> anyhow::Result<()> {
    // Ctrl-C in the terminal, and its end, are not for this process any more.
    rustix::process::setsid().map_err(io::Error::from)?;
    // The folder can be removed while the server runs.
    std::env::set_current_dir("/")?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(endpoint)?)?;
    stdout.flush()?;
    let null = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null).map_err(io::Error::from)?;
    rustix::stdio::dup2_stderr(&null).map_err(io::Error::from)?;
    Ok(())
}

/// Does nothing: no server is detached on this system.
///
/// # Errors
///
/// None.
#[cfg(not(unix))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of systems with sessions"
)]
pub(super) const fn report_ready(_: &MockEndpoint) -> anyhow::Result<()> {
    Ok(())
}

/// The address of the server that this user detached last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LastDetached {
    url: String,
    api_key: String,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
}

impl LastDetached {
    fn of(endpoint: &MockEndpoint) -> Self {
        Self {
            url: endpoint.url.clone(),
            api_key: endpoint.api_key.clone(),
            pid: endpoint.pid,
            control_token: endpoint.control_token.clone(),
            ca_file: endpoint.ca_file.clone(),
        }
    }

    fn path() -> anyhow::Result<PathBuf> {
        let folders = etcetera::choose_base_strategy().context("the user has no home folder")?;
        let folder = folders.state_dir().unwrap_or_else(|| folders.cache_dir());
        Ok(folder.join("presencectl").join("mock.json"))
    }

    fn save(&self) -> anyhow::Result<()> {
        let path = Self::path()?;
        write_private(&path, &serde_json::to_string(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn load() -> anyhow::Result<Self> {
        fs::read_to_string(Self::path()?)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .ok_or_else(|| {
                Failure::new(Code::Usage, "no address of a mock server was given")
                    .hinted(
                        "start a mock: presencectl mock start --detach; or give its address: --base-url http://127.0.0.1:PORT",
                    )
                    .into()
            })
    }
}

/// A running server, for `mock env` and `mock stop`.
#[derive(Debug)]
pub(super) struct RunningServer {
    /// A client of its control API.
    pub(super) client: Client,
    /// How to reach it.
    pub(super) endpoint: MockEndpoint,
}

/// Finds the server at the address that was given, else the one that this user detached last.
///
/// # Errors
///
/// There is none, or it has ended.
pub(super) async fn find(app: &App) -> anyhow::Result<RunningServer> {
    let given = app.mock_url();
    let last = match &given {
        None => Some(LastDetached::load()?),
        Some(_) => None,
    };
    let client = match &last {
        None => app.mock_client()?,
        Some(last) => app
            .mock_client_of(&last.url, &last.api_key, last.control_token.clone())?
            .with_ca_file(last.ca_file.clone()),
    };
    let answer = ask_as(&client, "GET", "credentials", &[], None).await;
    let text = |name: &str| match &answer {
        Ok(fields) => fields.get(name).and_then(Value::as_str).unwrap_or_default(),
        Err(_) => "",
    };
    let pid = answer.as_ref().ok().and_then(|fields| fields.get("pid"));
    let pid = pid.and_then(Value::as_u64).unwrap_or_default();
    if let Some(last) = &last {
        let has_ended = match &answer {
            // Another server may have got the same port.
            Ok(_) => pid != u64::from(last.pid),
            Err(error) => code_of(error) == Code::CannotConnect,
        };
        if has_ended {
            return Err(Failure::new(
                Code::CannotConnect,
                format!("the mock server at {} has ended", last.url),
            )
            .hinted("start another: presencectl mock start --detach")
            .into());
        }
    }
    let url = last.as_ref().map_or_else(
        || given.unwrap_or_default().trim_end_matches('/').to_owned(),
        |last| last.url.clone(),
    );
    let control_token = last.map_or_else(
        || crate::environment::variable("PRESENCECTL_MOCK_TOKEN"),
        |last| last.control_token,
    );
    let console = Some(text("console")).filter(|path| !path.is_empty());
    let endpoint = MockEndpoint {
        console: console.map(|path| console_url(&url, path, control_token.as_deref())),
        url,
        api_key: text("api_key").to_owned(),
        api_secret: text("api_secret").to_owned(),
        secret_from: "the running server".to_owned(),
        pid: u32::try_from(pid).unwrap_or_default(),
        ca_file: Some(text("ca_file"))
            .filter(|file| !file.is_empty())
            .map(PathBuf::from),
        control_token,
    };
    answer?;
    Ok(RunningServer { client, endpoint })
}

/// Stops the server: the one whose address was given, else the one that this user detached last.
///
/// # Errors
///
/// The server cannot be reached or is not a mock.
pub(super) async fn stop(app: &App) -> anyhow::Result<Code> {
    if app.is_dry_run() {
        return call(app, "POST", "stop", Some(json!({})), &[]).await;
    }
    let server = find(app).await?;
    ask_as(&server.client, "POST", "stop", &[], Some(json!({}))).await?;
    Ok(Code::Ok)
}
