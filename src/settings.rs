//! Resolved settings: what the flags mean in this environment, with this profile, on this terminal.
//!
//! Resolved once per run and lazily: a command that needs no credentials asks for none, a command that needs no
//! configuration file reads none. Nothing deeper looks at flags, environment or terminal. Precedence everywhere is
//! flag, environment, profile, default; a profile counts as one unit, so that a key from the environment is never
//! paired with a secret or an address from a file.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio::sync::{OnceCell as AsyncOnceCell, oneshot};
use url::Url;

use crate::api::retry::RetryObserver;
use crate::api::{self, Auth, Client, ClientSettings, ProxyServer, Tracer};
use crate::args::{Colour, FormatArg, GlobalArgs};
use crate::config_file::{self, Config, Profile};
use crate::domain::{SecretString, UserId, token};
use crate::environment;
use crate::escape;
use crate::exit::{Code, Failure};
use crate::input_file::read_text;
use crate::json::expression::Expr;
use crate::mock;
use crate::output::{self, Output};
use crate::terminal::Terminal;

/// The default address of the service.
pub const DEFAULT_BASE_URL: &str = "https://chat.stream-io-api.com";
/// The default observer: the user that watchers connect as.
pub const DEFAULT_OBSERVER: &str = "presencectl-observer";
/// The default time limit of a call with its retries.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The default time limit of connecting.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The default number of retries of an idempotent call.
pub const DEFAULT_RETRIES: u32 = 3;
/// The environment variables for the API key. The first one with a value counts.
const KEY_VARIABLES: [&str; 2] = ["STREAM_API_KEY", "STREAM_KEY"];
/// The environment variables for the API secret. The first one with a value counts.
const SECRET_VARIABLES: [&str; 2] = ["STREAM_API_SECRET", "STREAM_SECRET"];
/// The environment variable for a user token.
const TOKEN_VARIABLE: &str = "PRESENCECTL_USER_TOKEN";

/// The resolved settings of a run, and the objects that commands share.
#[derive(Debug)]
pub struct App {
    global: GlobalArgs,
    output: Arc<Output>,
    profile: OnceCell<Option<(String, Profile)>>,
    access: AsyncOnceCell<ServiceAccess>,
}

/// How to reach the service.
#[derive(Debug)]
struct ServiceAccess {
    base_url: Url,
    api_key: String,
    credentials: Credentials,
    /// Stops the server of `--mock` when the run ends.
    _mock: Option<oneshot::Sender<()>>,
}

#[derive(Debug, Clone)]
enum Credentials {
    Secret(SecretString),
    Token { user: UserId, token: SecretString },
}

impl App {
    /// Resolves the global flags that concern output.
    ///
    /// # Errors
    ///
    /// The `--jq` expression does not compile.
    pub fn resolve(global: GlobalArgs) -> anyhow::Result<Self> {
        let terminal = Terminal::detect();
        let (format, explicit_machine) = match global.output {
            FormatArg::Auto if terminal.stdout => (output::Format::Table, false),
            FormatArg::Auto => (output::Format::Ndjson, false),
            FormatArg::Table => (output::Format::Table, false),
            FormatArg::Json => (output::Format::Json, true),
            FormatArg::Ndjson => (output::Format::Ndjson, true),
            FormatArg::Tsv => (output::Format::Tsv, false),
            FormatArg::Csv => (output::Format::Csv, false),
        };
        let colour = match global.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal.has_colour,
        };
        let jq = global
            .jq
            .as_deref()
            .map(Expr::compile)
            .transpose()
            .context("in --jq")?;
        let output = Output::new(output::OutputSettings {
            format,
            explicit_machine,
            columns: global.columns.clone(),
            headers: !global.no_headers,
            jq,
            colour,
            width: terminal.width.filter(|_| format == output::Format::Table),
            terminal,
            quiet: global.quiet,
            verbose: global.verbose,
            utc: false,
        });
        Ok(Self {
            global,
            output: Arc::new(output),
            profile: OnceCell::new(),
            access: AsyncOnceCell::new(),
        })
    }

    /// The properties of the terminal.
    pub fn terminal(&self) -> &Terminal {
        &self.output.settings().terminal
    }

    /// Whether `--dry-run` was given: changes are printed instead of sent.
    pub const fn is_dry_run(&self) -> bool {
        self.global.dry_run
    }

    /// Whether `--yes` was given: confirmations are answered with yes.
    pub const fn assumes_yes(&self) -> bool {
        self.global.yes
    }

    /// The value of `--timeout`. Without it, a call has [`DEFAULT_TIMEOUT`] and a stream has no limit.
    pub const fn timeout(&self) -> Option<Duration> {
        self.global.timeout
    }

    /// The user of `--as`.
    pub const fn acting_as(&self) -> Option<&UserId> {
        self.global.acting_as.as_ref()
    }

    /// The address of `--base-url`.
    pub fn base_url(&self) -> Option<&str> {
        self.global.base_url.as_deref()
    }

    /// Whether this run has a mock server of its own: `--mock`.
    pub fn has_own_mock(&self) -> bool {
        self.global.mock.is_some()
    }

    /// The profile of `--profile`.
    pub fn profile_name(&self) -> Option<&str> {
        self.global.profile.as_deref()
    }

    /// The configuration file: `--config`, else the one in the user's configuration folder.
    ///
    /// # Errors
    ///
    /// The user has no home folder, and `--config` was not given.
    pub fn config_path(&self) -> anyhow::Result<PathBuf> {
        config_file::path(self.global.config.as_deref())
    }

    /// Whether none of `--output`, `--jq` and `--columns` was given.
    pub fn has_default_output(&self) -> bool {
        self.global.output == FormatArg::Auto
            && self.global.jq.is_none()
            && self.global.columns.is_empty()
    }

    /// The output of this run.
    pub fn output(&self) -> &Arc<Output> {
        &self.output
    }

    /// The current time. Commands pass it on to rules and renderers, which read no clock.
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    /// A client with the available credentials: the server's, or a user's with `--as` or a user token.
    ///
    /// # Errors
    ///
    /// Credentials are missing, the address is invalid, the profile is invalid, or the fixture of `--mock` does not
    /// load.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let access = self.access().await?;
        let auth = match (&access.credentials, &self.global.acting_as) {
            (Credentials::Secret(secret), None) => Auth::Server {
                secret: secret.clone(),
            },
            (Credentials::Secret(secret), Some(user)) => Auth::Minted {
                user: user.clone(),
                secret: secret.clone(),
            },
            (Credentials::Token { user, token }, _) => Auth::Token {
                user: user.clone(),
                token: token.clone(),
            },
        };
        self.client_with(auth).await
    }

    /// A client with server credentials, even with `--as`: streams act as their observer but set them up as the server.
    /// `None` if there is only a user token.
    ///
    /// # Errors
    ///
    /// As [`App::client`].
    pub async fn server_client(&self) -> anyhow::Result<Option<Client>> {
        match &self.access().await?.credentials {
            Credentials::Secret(secret) => {
                let auth = Auth::Server {
                    secret: secret.clone(),
                };
                self.client_with(auth).await.map(Some)
            }
            Credentials::Token { .. } => Ok(None),
        }
    }

    /// The user that streams connect as: `--as`, or else the token's user, the profile's observer, or the default.
    ///
    /// # Errors
    ///
    /// As [`App::client`].
    pub async fn observer(&self) -> anyhow::Result<UserId> {
        let access = self.access().await?;
        if let Some(user) = &self.global.acting_as {
            return Ok(user.clone());
        }
        if let Credentials::Token { user, .. } = &access.credentials {
            return Ok(user.clone());
        }
        let observer = match self.profile.get() {
            Some(Some((_, profile))) => profile.observer.clone(),
            Some(None) | None => None,
        };
        Ok(observer.unwrap_or_else(|| {
            DEFAULT_OBSERVER
                .parse()
                .expect("the default observer is a user id")
        }))
    }

    /// The API secret, for signing and verifying tokens on this machine.
    ///
    /// # Errors
    ///
    /// There is no API secret.
    pub async fn secret(&self) -> anyhow::Result<SecretString> {
        if self.global.mock.is_none() {
            // A profile named with `-p` takes precedence over the environment, as it does for calls.
            if self.global.profile.is_none()
                && let Some(secret) = first_env(&SECRET_VARIABLES)
            {
                return Ok(SecretString::new(secret));
            }
            if let Some((name, profile)) = self.profile()? {
                return self
                    .secret_of(profile)
                    .await?
                    .ok_or_else(|| no_secret(name, profile).into());
            }
        } else if let Credentials::Secret(secret) = &self.access().await?.credentials {
            return Ok(secret.clone());
        }
        if SECRET_VARIABLES
            .iter()
            .any(|name| environment::is_empty(name))
        {
            return Err(no_credentials().into());
        }
        Err(Failure::new(
            Code::NotAuthenticated,
            "this command needs the API secret, and there is none",
        )
        .hinted("set STREAM_API_SECRET, or add a profile: presencectl profile add")
        .into())
    }

    /// Whether changes require `--yes`, because the current profile is protected. Always `false` with `--mock`.
    ///
    /// # Errors
    ///
    /// The profile is invalid.
    pub fn is_protected(&self) -> anyhow::Result<bool> {
        if self.global.mock.is_some() {
            return Ok(false);
        }
        Ok(self
            .profile()?
            .is_some_and(|(_, profile)| profile.protected))
    }

    /// Returns if a change is allowed. `what` is an infinitive with its object, such as `change users`. Every command
    /// calls this before it changes something.
    ///
    /// # Errors
    ///
    /// The profile is protected and `--yes` was not given, or the profile is invalid.
    pub fn confirm_change(&self, what: &str) -> anyhow::Result<()> {
        if self.global.yes || self.global.dry_run || !self.is_protected()? {
            return Ok(());
        }
        Err(Failure::new(
            Code::Usage,
            format!("the profile is protected: --yes is required to {what}"),
        )
        .hinted("add --yes, or see what would be sent: --dry-run")
        .into())
    }

    /// The address of a mock server, if one was given. The vendor's is never meant here.
    pub fn mock_url(&self) -> Option<String> {
        self.global
            .base_url
            .clone()
            .or_else(|| environment::variable("STREAM_CHAT_URL"))
    }

    /// A client for the control API of a mock server. It acts on the application of `STREAM_API_KEY`, else on the first.
    ///
    /// # Errors
    ///
    /// No address was given, or it is unusable.
    pub fn mock_client(&self) -> anyhow::Result<Client> {
        let url = self.mock_url().ok_or_else(|| {
            Failure::new(Code::Usage, "no address of a mock server was given").hinted(
                "name it: --base-url http://127.0.0.1:PORT, as `presencectl mock start` prints it",
            )
        })?;
        let key = first_env(&KEY_VARIABLES).unwrap_or_default();
        self.mock_client_of(&url, &key, environment::variable("PRESENCECTL_MOCK_TOKEN"))
    }

    /// A client for the control API of one application of a mock server, with the server's control token if it has one.
    ///
    /// # Errors
    ///
    /// The address is unusable.
    pub fn mock_client_of(
        &self,
        url: &str,
        api_key: &str,
        control_token: Option<String>,
    ) -> anyhow::Result<Client> {
        let auth = match control_token {
            Some(token) => Auth::Token {
                user: DEFAULT_OBSERVER
                    .parse()
                    .expect("the default observer is a user id"),
                token: SecretString::new(token),
            },
            None => Auth::Server {
                secret: SecretString::new(""),
            },
        };
        // A mock is usually on this machine: it answers, or it is not there.
        self.build_client(parse_base_url(url)?, api_key, auth, 0)
    }

    async fn client_with(&self, auth: Auth) -> anyhow::Result<Client> {
        let access = self.access().await?;
        let base_url = access.base_url.clone();
        self.build_client(base_url, &access.api_key, auth, DEFAULT_RETRIES)
    }

    /// Builds a client, which retries this often unless `--retry` says otherwise.
    fn build_client(
        &self,
        base_url: Url,
        api_key: &str,
        auth: Auth,
        default_retries: u32,
    ) -> anyhow::Result<Client> {
        let output = Arc::clone(&self.output);
        let trace_output = Arc::clone(&self.output);
        let client = Client::new(ClientSettings {
            base_url,
            api_key: api_key.to_owned(),
            auth,
            allow_http: self.global.allow_http,
            timeout: self.global.timeout.unwrap_or(DEFAULT_TIMEOUT),
            connect_timeout: self
                .global
                .connect_timeout
                .unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            retries: self.global.retry.unwrap_or(default_retries),
            on_retry: RetryObserver::new(move |retry| {
                output.warn(&format!(
                    "{}; {} again in {:.1} s ({} of {})",
                    retry.reason,
                    retry.request,
                    retry.wait.as_secs_f64(),
                    retry.attempt,
                    retry.of
                ));
            }),
        })?;
        let tracer = Tracer::new(self.global.verbose, move |line| trace_output.trace(line));
        let proxy = ProxyServer::for_address(&client.settings().base_url, environment::variable)?;
        Ok(client.with_tracer(tracer).with_proxy(proxy))
    }

    async fn access(&self) -> anyhow::Result<&ServiceAccess> {
        self.access.get_or_try_init(|| self.resolve_access()).await
    }

    async fn resolve_access(&self) -> anyhow::Result<ServiceAccess> {
        if let Some(fixture) = &self.global.mock {
            return Box::pin(self.start_mock(fixture)).await;
        }
        let named = self.profile()?;
        let profile = named.map(|(_, profile)| profile);
        let base_url = self.service_url(profile)?;
        let api_key = match profile {
            Some(profile) => Some(profile.api_key.clone()),
            None => first_env(&KEY_VARIABLES),
        }
        .ok_or_else(no_credentials)?;
        if let Some(token) = environment::variable(TOKEN_VARIABLE) {
            let user = token::inspect(&token)
                .ok()
                .and_then(|claims| claims.user_id)
                .and_then(|id| id.parse().ok())
                .ok_or_else(|| {
                    Failure::new(
                        Code::NotAuthenticated,
                        "PRESENCECTL_USER_TOKEN is not a user token",
                    )
                    .hinted("make one where the secret is: presencectl token create ID --ttl 1h")
                })?;
            if let Some(other) = &self.global.acting_as {
                return Err(Failure::new(
                    Code::Usage,
                    format!("--as {other} needs the API secret, and PRESENCECTL_USER_TOKEN is a token of {user}"),
                )
                .hinted("leave out --as, or unset PRESENCECTL_USER_TOKEN and set STREAM_API_SECRET")
                .into());
            }
            return Ok(ServiceAccess {
                base_url,
                api_key,
                credentials: Credentials::Token {
                    user,
                    token: SecretString::new(token),
                },
                _mock: None,
            });
        }
        let secret = match named {
            Some((name, profile)) => self
                .secret_of(profile)
                .await?
                .ok_or_else(|| no_secret(name, profile))?,
            None => first_env(&SECRET_VARIABLES)
                .map(SecretString::new)
                .ok_or_else(no_credentials)?,
        };
        Ok(ServiceAccess {
            base_url,
            api_key,
            credentials: Credentials::Secret(secret),
            _mock: None,
        })
    }

    /// The address of the service, as far as it is known without credentials.
    fn service_url(&self, profile: Option<&Profile>) -> anyhow::Result<Url> {
        let base_url = match (&self.global.base_url, profile) {
            (Some(url), _) => url.clone(),
            (None, Some(profile)) if profile.base_url.is_some() => {
                profile.base_url.clone().unwrap_or_default()
            }
            (None, _) => {
                environment::variable("STREAM_CHAT_URL").unwrap_or_else(|| DEFAULT_BASE_URL.into())
            }
        };
        parse_base_url(&base_url)
    }

    /// A client without credentials, for trying the network.
    ///
    /// # Errors
    ///
    /// The address or the profile cannot be used.
    pub fn client_without_credentials(&self) -> anyhow::Result<Client> {
        let profile = self.profile()?.map(|(_, profile)| profile);
        let auth = Auth::Server {
            secret: SecretString::new(""),
        };
        self.build_client(self.service_url(profile)?, "", auth, DEFAULT_RETRIES)
    }

    /// A client that passes requests on to this server as they are.
    ///
    /// # Errors
    ///
    /// The server is reached by plain http beyond loopback, the proxy of the environment is malformed, or the system has
    /// no certificate roots.
    pub fn pass_through(&self, server: &Url) -> anyhow::Result<reqwest::Client> {
        let proxy = ProxyServer::for_address(server, environment::variable)?;
        let connect_timeout = self
            .global
            .connect_timeout
            .unwrap_or(DEFAULT_CONNECT_TIMEOUT);
        let allow_http = self.global.allow_http;
        Ok(api::pass_through(
            server,
            proxy.as_ref(),
            connect_timeout,
            allow_http,
        )?)
    }

    /// The application that commands act on, as text that is the same for the same application: its key and address.
    /// `None` if it is not known. Neither secret nor network are needed.
    pub fn application(&self) -> Option<String> {
        if self.global.mock.is_some() {
            return Some("mock".to_owned());
        }
        let profile = self.profile().ok()?.map(|(_, profile)| profile);
        let key = match profile {
            Some(profile) => profile.api_key.clone(),
            None => first_env(&KEY_VARIABLES)?,
        };
        Some(format!("{key} {}", self.service_url(profile).ok()?))
    }

    /// Reads the secret of a profile from its source; `None` if the profile has none.
    ///
    /// # Errors
    ///
    /// See [`Profile::secret`].
    pub async fn secret_of(&self, profile: &Profile) -> anyhow::Result<Option<SecretString>> {
        let limit = self.global.timeout.unwrap_or(DEFAULT_TIMEOUT);
        profile
            .secret(limit, &|warning| self.output.warn(warning))
            .await
    }

    /// The current profile with its name. `None` if the key comes from the environment and no profile was named.
    fn profile(&self) -> anyhow::Result<Option<&(String, Profile)>> {
        if let Some(profile) = self.profile.get() {
            return Ok(profile.as_ref());
        }
        let named = self.global.profile.as_deref();
        let found = if named.is_none() && first_env(&KEY_VARIABLES).is_some() {
            None
        } else {
            let file = self.global.config.as_deref();
            if let Some(path) = config_file::open_to_all(file) {
                let path = path.display();
                self.output.warn(&format!(
                    "anybody on this machine may write the configuration {path}, and so run commands as you: chmod 600 {path}"
                ));
            }
            let config = Config::load(file)?;
            if let Some(warning) = &config.warning {
                self.output.warn(warning);
            }
            config.profile(named)?
        };
        Ok(self.profile.get_or_init(|| found).as_ref())
    }

    async fn start_mock(&self, fixture: &str) -> anyhow::Result<ServiceAccess> {
        let mut options = mock::MockOptions::default();
        // As with the variable, 1 means the demo data.
        if matches!(fixture, "" | "1") {
            options.fixture = mock::demo_fixture(self.now());
        } else {
            let text = read_text(Path::new(fixture), mock::FIXTURE_MAX_BYTES).map_err(|error| {
                Failure::new(
                    Code::MockCannotStart,
                    format!("cannot read the fixture {fixture}: {error}"),
                )
            })?;
            let read = mock::read_fixture(&text).map_err(|error| {
                Failure::new(
                    Code::MockCannotStart,
                    format!("the fixture {fixture} does not load: {error}"),
                )
            })?;
            if let Some(warning) = read.warning() {
                self.output.warn(&warning);
            }
            options.fixture = read.fixture;
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| {
            Failure::new(
                Code::MockCannotStart,
                format!("the mock cannot listen on 127.0.0.1: {error}"),
            )
        })?;
        let address = listener.local_addr()?;
        let access = ServiceAccess {
            base_url: parse_base_url(&format!("http://{address}"))?,
            api_key: options.api_key.clone(),
            credentials: Credentials::Secret(options.secret.clone()),
            _mock: None,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(mock::serve(listener, options, async {
            // An error means that the app was dropped, which also ends the server.
            let _ = stopped.await;
        }));
        Ok(ServiceAccess {
            _mock: Some(stop),
            ..access
        })
    }
}

fn first_env(names: &[&str]) -> Option<String> {
    environment::first_variable(names).map(|(_, value)| value)
}

fn parse_base_url(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none()
    });
    url.ok_or_else(|| {
        Failure::new(
            Code::Usage,
            format!("`{}` is not a base URL", escape::quote(text)),
        )
        .hinted(format!(
            "write --base-url {DEFAULT_BASE_URL}, or http://127.0.0.1:PORT for a mock"
        ))
        .into()
    })
}

/// The error if neither the environment nor a profile has all credentials. It names what is missing.
fn no_credentials() -> Failure {
    let failure = |message: String| Failure::new(Code::NotAuthenticated, message);
    let key = environment::first_variable(&KEY_VARIABLES);
    let secret = environment::first_variable(&SECRET_VARIABLES)
        .or_else(|| environment::first_variable(&[TOKEN_VARIABLE]));
    let missing = match key {
        Some(_) => [SECRET_VARIABLES.as_slice(), &[TOKEN_VARIABLE]].concat(),
        None => [KEY_VARIABLES, SECRET_VARIABLES].concat(),
    };
    if let Some(empty) = missing.iter().find(|name| environment::is_empty(name)) {
        return failure(format!("the variable {empty} is empty")).hinted(format!(
            "set {empty}; CI systems leave secrets empty in a pull request from a fork: skip this step there, or add --mock"
        ));
    }
    match (key, secret) {
        (Some((key, _)), _) => failure(format!("{key} is set, and STREAM_API_SECRET is not"))
            .hinted("set STREAM_API_SECRET as well, or PRESENCECTL_USER_TOKEN for what one user may do"),
        (None, Some((secret, _))) => failure(format!("{secret} is set, and STREAM_API_KEY is not"))
            .hinted("set STREAM_API_KEY as well"),
        (None, None) => failure("there are no credentials for Stream Chat".to_owned()).hinted(
            "try it without an account by adding --mock; or set STREAM_API_KEY and STREAM_API_SECRET \
             (from the Stream dashboard), or STREAM_API_KEY and PRESENCECTL_USER_TOKEN",
        ),
    }
}

fn no_secret(name: &str, profile: &Profile) -> Failure {
    let name = escape::quote(name);
    let key = escape::quote(&profile.api_key);
    Failure::new(
        Code::NotAuthenticated,
        format!("the profile `{name}` has no API secret"),
    )
    .hinted(format!(
        "presencectl profile add {name} --api-key {key} --secret-file FILE --force; or act as a user: set \
         PRESENCECTL_USER_TOKEN"
    ))
}
