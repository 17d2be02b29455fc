//! What `mock start` and `mock exec` share: the flags of the server, its socket, its secret and its variables.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc;

use super::endpoint::{MockEndpoint, console_url};
use super::recording_file::read_recording;
use super::rules::RuleArgs;
use crate::config_file::read_secret_file;
use crate::domain::SecretString;
use crate::environment;
use crate::exit::{Code, Failure};
use crate::input_file::read_text;
use crate::mock::{self, Listeners, MockOptions, ReplaySource, TlsIdentity};
use crate::settings::App;

/// Connections that may wait to be accepted, so that a thousand clients can start at once.
const LISTEN_BACKLOG: u32 = 4096;

/// Threads that serve. All of them change one state, so more would wait for each other; and to count the machine's
/// processors takes longer than to start two threads.
const WORKER_THREADS: usize = 2;

/// The variable with a fixture or the name of one, for containers.
const FIXTURE_VARIABLE: &str = "PRESENCECTL_MOCK_FIXTURE";

/// Flags of a mock server.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// Listen on this port; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,

    /// Listen on ADDR; beyond loopback, control needs a token [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR")]
    pub host: Option<IpAddr>,

    /// Serve https and wss, with a certificate of a CA made at the start
    #[arg(long)]
    pub tls: bool,

    /// Accept this API key
    #[arg(long, value_name = "KEY", default_value = "mock-key")]
    pub api_key: String,

    /// Read the API secret from FILE [default: PRESENCECTL_MOCK_SECRET, or random]
    #[arg(long, value_name = "FILE")]
    pub api_secret_file: Option<PathBuf>,

    /// Start with the users and channels of this JSON or YAML file
    ///
    /// PRESENCECTL_MOCK_FIXTURE sets it, too: a file's name, or the JSON itself.
    #[arg(long, value_name = "FILE", conflicts_with = "demo")]
    pub fixture: Option<PathBuf>,

    /// Start with demo users who come and go
    #[arg(long)]
    pub demo: bool,

    /// Answer from this recording; requests that it does not have fail
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fixture", "demo"])]
    pub replay: Option<PathBuf>,

    /// Do not serve the console at /_mock/ui
    #[arg(long)]
    pub no_console: bool,

    /// The rules
    #[command(flatten)]
    pub rules: RuleArgs,
}

/// Starts the threads that serve.
///
/// # Errors
///
/// The system allows no more threads or files.
pub(super) fn start_runtime() -> anyhow::Result<Runtime> {
    runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// A server about to be run.
#[derive(Debug)]
pub(super) struct MockServer {
    pub(super) options: MockOptions,
    /// Where the secret comes from, for people.
    pub(super) secret_from: String,
    /// Receives a line for each request that a replayed recording does not have.
    unmatched: Option<mpsc::UnboundedReceiver<String>>,
    host: IpAddr,
    port: u16,
    tls: Option<ServerTls>,
}

/// The certificates of a server, and the file for clients to trust, which lives as long.
#[derive(Debug)]
struct ServerTls {
    identity: TlsIdentity,
    ca_file: NamedTempFile,
}

impl ServerTls {
    fn generate(host: IpAddr, now: DateTime<Utc>) -> Result<Self, Failure> {
        let identity = TlsIdentity::generate(host, now)
            .map_err(|error| cannot_start(format!("cannot make certificates: {error:#}")))?;
        let folder = std::env::temp_dir();
        let ca_file = std::path::absolute(&folder)
            .and_then(|folder| create_ca_file(&folder, &identity.ca_pem))
            .map_err(|error| {
                cannot_start(format!(
                    "cannot write the CA's certificate to the folder {}: {error}",
                    folder.display()
                ))
                .hinted("name a folder that can be written to in TMPDIR")
            })?;
        Ok(Self { identity, ca_file })
    }
}

/// The names of files with the certificate of a CA are between these.
const CA_FILE_NAME: [&str; 2] = ["presencectl-mock-ca-", ".pem"];

/// Writes the certificate of a CA to a new file. A server holds a lock on its file, so a file without a lock is one of a
/// server that was killed, and is removed.
fn create_ca_file(folder: &Path, ca_pem: &str) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(CA_FILE_NAME[0]).suffix(CA_FILE_NAME[1]);
    // Clients may run as other users.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.tempfile_in(folder)?;
    #[cfg(unix)]
    {
        remove_leftovers(folder, file.path());
        file.as_file().lock()?;
        // Another server may have taken the file for a leftover before it was locked.
        while !file.path().exists() {
            file = builder.tempfile_in(folder)?;
            file.as_file().lock()?;
        }
    }
    file.write_all(ca_pem.as_bytes())?;
    Ok(file)
}

/// Removes this user's files of servers that were killed.
#[cfg(unix)]
fn remove_leftovers(folder: &Path, own: &Path) {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let is_ca_file = name.to_str().is_some_and(|name| {
            name.starts_with(CA_FILE_NAME[0]) && name.ends_with(CA_FILE_NAME[1])
        });
        let is_leftover = is_ca_file
            && path != own
            && entry
                .metadata()
                .is_ok_and(|metadata| metadata.is_file() && metadata.uid() == user);
        if is_leftover
            && let Ok(file) = fs::File::open(&path)
            && file.try_lock().is_ok()
        {
            // If it cannot be removed, nothing depends on it.
            let _ = fs::remove_file(&path);
        }
    }
}

impl MockServer {
    /// Resolves the options, the secret and the fixture.
    ///
    /// # Errors
    ///
    /// The fixture or the secret cannot be read (exit code 13).
    pub(super) fn prepare(app: &App, args: &ServerArgs) -> anyhow::Result<Self> {
        let host = args.host.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let mut options = MockOptions {
            api_key: args.api_key.clone(),
            control_token: choose_control_token(host),
            has_console: !args.no_console,
            rules: args.rules.rules.clone(),
            ..MockOptions::default()
        };
        let secret_from = choose_secret(app, args, &mut options)?;
        let tls = if args.tls {
            let tls = ServerTls::generate(host, app.now())?;
            options.ca_file = Some(tls.ca_file.path().to_owned());
            Some(tls)
        } else {
            None
        };
        if args.demo {
            options.fixture = mock::demo_fixture(app.now());
        } else if let Some((name, text)) = fixture_text(args.fixture.as_deref())? {
            let read = mock::read_fixture(&text)
                .map_err(|error| cannot_start(format!("{name} is not a valid fixture: {error}")))?;
            if let Some(warning) = read.warning() {
                app.output().warn(&warning);
            }
            options.fixture = read.fixture;
        }
        let unmatched = match &args.replay {
            Some(path) => {
                let recording = read_recording(app, path, Code::MockCannotStart)?;
                let (reporter, unmatched) = mpsc::unbounded_channel();
                options.replay = Some(ReplaySource {
                    recording: Arc::new(recording),
                    reporter,
                });
                Some(unmatched)
            }
            None => None,
        };
        Ok(Self {
            options,
            secret_from,
            unmatched,
            host,
            port: args.port,
            tls,
        })
    }

    /// Warns of each request that a replayed recording does not have, as long as it is polled.
    pub(super) fn warn_of_unmatched(
        &mut self,
        app: &App,
    ) -> impl Future<Output = Infallible> + use<> {
        let output = Arc::clone(app.output());
        let unmatched = self.unmatched.take();
        async move {
            if let Some(mut unmatched) = unmatched {
                while let Some(text) = unmatched.recv().await {
                    output.warn(&text);
                }
            }
            std::future::pending().await
        }
    }

    /// Binds the port on every address to listen on.
    ///
    /// # Errors
    ///
    /// The port is in use (exit code 13).
    pub(super) fn listen(&self) -> Result<Listeners, Failure> {
        let listeners = listen(self.host, self.port).map_err(|(address, error)| {
            cannot_start(format!("cannot listen on {address}: {error}"))
                .hinted("pick a free port: --port 0")
        })?;
        Ok(match &self.tls {
            Some(tls) => listeners.with_tls(&tls.identity),
            None => listeners,
        })
    }

    /// The address by which this machine reaches the server.
    pub(super) fn reachable_host(&self) -> IpAddr {
        // Every machine knows itself by loopback; only it can know its other addresses.
        match self.host {
            address if !address.is_unspecified() => address,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        }
    }

    /// How to reach the server, once it listens on this address.
    pub(super) fn endpoint(&self, address: SocketAddr) -> MockEndpoint {
        let host = self.reachable_host();
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", SocketAddr::new(host, address.port()));
        let token = self.options.control_token.as_ref();
        MockEndpoint {
            console: self
                .options
                .has_console
                .then(|| console_url(&url, mock::CONSOLE_PATH, token.map(SecretString::reveal))),
            url,
            api_key: self.options.api_key.clone(),
            api_secret: self.options.secret.reveal().to_owned(),
            secret_from: self.secret_from.clone(),
            pid: std::process::id(),
            control_token: token.map(|token| token.reveal().to_owned()),
            ca_file: self.options.ca_file.clone(),
        }
    }

    /// What to warn of when other machines can reach the server.
    pub(super) fn warning(&self) -> Option<String> {
        self.options.control_token.as_ref()?;
        Some(format!(
            "other machines can reach the mock on {}; controlling it needs the control token (PRESENCECTL_MOCK_TOKEN)",
            self.host
        ))
    }
}

/// How often a free port is tried that turns out to be in use on IPv6.
const FREE_PORT_ATTEMPTS: u32 = 16;

/// Listens on an address. Beside IPv4 loopback, IPv6 loopback answers too: `localhost` may mean either.
fn listen(host: IpAddr, port: u16) -> Result<Listeners, (SocketAddr, io::Error)> {
    let mut attempts = 0;
    loop {
        let address = SocketAddr::new(host, port);
        let first = listen_on(address).map_err(|error| (address, error))?;
        if host != IpAddr::from(Ipv4Addr::LOCALHOST) && host != IpAddr::from(Ipv4Addr::UNSPECIFIED)
        {
            return Ok(first.into());
        }
        let bound = first.local_addr().map_err(|error| (address, error))?;
        let other = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), bound.port());
        attempts += 1;
        match listen_on(other) {
            Ok(second) => return Ok(Listeners::new(first, vec![second])),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if port != 0 || attempts == FREE_PORT_ATTEMPTS {
                    return Err((other, error));
                }
            }
            // The machine has no IPv6.
            Err(_) => return Ok(first.into()),
        }
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart on the same port must not wait for the kernel to forget the old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}

/// The text of the fixture, with a name for messages: of the file that was given, else of the variable, which holds JSON
/// or names a file.
fn fixture_text(file: Option<&Path>) -> Result<Option<(String, String)>, Failure> {
    let path = match (file, environment::variable(FIXTURE_VARIABLE)) {
        (Some(path), _) => path.to_owned(),
        (None, Some(json)) if json.starts_with(['{', '[']) => {
            return Ok(Some((FIXTURE_VARIABLE.to_owned(), json)));
        }
        (None, Some(path)) => path.into(),
        (None, None) => return Ok(None),
    };
    let text = read_text(&path, mock::FIXTURE_MAX_BYTES)
        .map_err(|error| cannot_start(format!("cannot read {}: {error}", path.display())))?;
    Ok(Some((path.display().to_string(), text)))
}

fn choose_control_token(host: IpAddr) -> Option<SecretString> {
    if host.is_loopback() {
        return None;
    }
    let given = environment::variable("PRESENCECTL_MOCK_TOKEN").map(SecretString::new);
    Some(given.unwrap_or_else(mock::random_secret))
}

fn choose_secret(
    app: &App,
    args: &ServerArgs,
    options: &mut MockOptions,
) -> anyhow::Result<String> {
    if let Some(path) = &args.api_secret_file {
        options.secret = read_secret_file(path, &|warning| app.output().warn(warning))
            .map_err(|error| cannot_start(format!("{error:#}")))?;
        return Ok(format!("the file {}", path.display()));
    }
    match environment::variable("PRESENCECTL_MOCK_SECRET") {
        Some(secret) => {
            options.secret = SecretString::new(secret);
            Ok("the variable PRESENCECTL_MOCK_SECRET".to_owned())
        }
        None => Ok("generated; --print env shows it".to_owned()),
    }
}

fn cannot_start(message: String) -> Failure {
    Failure::new(Code::MockCannotStart, message)
}
