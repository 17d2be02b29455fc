//! What `mock start` and `mock exec` share: the flags of the server, its socket, its secret and its variables.

use std::io;
use std::path::PathBuf;

use tokio::net::{TcpListener, TcpSocket};

use super::rules::RuleArgs;
use crate::app::App;
use crate::config::read_secret_file;
use crate::domain::SecretString;
use crate::environment;
use crate::exit::{Code, Failure};
use crate::mock::{self, MockOptions};

/// Connections that may wait to be accepted, so that a thousand clients can start at once.
const LISTEN_BACKLOG: u32 = 4096;

/// Flags of a mock server.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// Listen on this loopback port; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,

    /// Accept this API key
    #[arg(long, value_name = "KEY", default_value = "mock-key")]
    pub api_key: String,

    /// Read the API secret from FILE [default: PRESENCECTL_MOCK_SECRET, or random]
    #[arg(long, value_name = "FILE")]
    pub api_secret_file: Option<PathBuf>,

    /// Start with the users and channels of this JSON file
    #[arg(long, value_name = "FILE", conflicts_with = "demo")]
    pub fixture: Option<PathBuf>,

    /// Start with demo users who come and go
    #[arg(long)]
    pub demo: bool,

    /// The rules
    #[command(flatten)]
    pub rules: RuleArgs,
}

/// A server about to be run.
#[derive(Debug)]
pub(super) struct MockServer {
    pub(super) options: MockOptions,
    /// Where the secret comes from, for people.
    pub(super) secret_from: String,
    port: u16,
}

impl MockServer {
    /// Resolves the options, the secret and the fixture.
    ///
    /// # Errors
    ///
    /// The fixture or the secret cannot be read (exit code 13).
    pub(super) fn prepare(app: &App, args: &ServerArgs) -> anyhow::Result<Self> {
        let mut options = MockOptions {
            api_key: args.api_key.clone(),
            rules: args.rules.rules.clone(),
            ..MockOptions::default()
        };
        let secret_from = choose_secret(app, args, &mut options)?;
        if args.demo {
            options.fixture = mock::demo_fixture(app.now());
        } else if let Some(path) = &args.fixture {
            let text = std::fs::read_to_string(path).map_err(|error| {
                cannot_start(format!("cannot read {}: {error}", path.display()))
            })?;
            options.fixture = mock::read_fixture(&text).map_err(|error| {
                cannot_start(format!(
                    "{} is not a valid fixture: {error}",
                    path.display()
                ))
            })?;
        }
        Ok(Self {
            options,
            secret_from,
            port: args.port,
        })
    }

    /// Binds the port.
    ///
    /// # Errors
    ///
    /// The port is in use (exit code 13).
    pub(super) fn listen(&self) -> Result<TcpListener, Failure> {
        listen(self.port).map_err(|error| {
            cannot_start(format!("cannot listen on 127.0.0.1:{}: {error}", self.port))
                .hinted("pick a free port: --port 0")
        })
    }

    /// The variables by which every SDK, and this program, finds the server.
    pub(super) fn variables(&self, url: &str) -> [(&'static str, String); 8] {
        let secret = self.options.secret.reveal();
        let key = &self.options.api_key;
        let host = url.trim_start_matches("http://");
        [
            ("STREAM_API_KEY", key.clone()),
            ("STREAM_API_SECRET", secret.to_owned()),
            ("STREAM_KEY", key.clone()),
            ("STREAM_SECRET", secret.to_owned()),
            ("STREAM_CHAT_URL", url.to_owned()),
            ("STREAM_BASE_URL", url.to_owned()),
            // The only address variable of the JavaScript client, which puts http:// before it.
            ("STREAM_LOCAL_TEST_HOST", host.to_owned()),
            ("PRESENCECTL_BASE_URL", url.to_owned()),
        ]
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // A restart on the same port must not wait for the kernel to forget the old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    socket.listen(LISTEN_BACKLOG)
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
