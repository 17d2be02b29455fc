//! The bundled mock server: the presence half of the service, accurate enough for the official SDKs.
//!
//! The rules are a plain, synchronous state machine that takes the time as an argument. The transport around it only
//! moves requests and frames. Nothing here knows the client, the commands or the output.
//!
//! The path of a request: `routes` finds the application, the operation and the caller, `hub` applies it to
//! `engine::ServiceState` under one short lock and queues the events in `send_queue`s, and `ws` writes them to the sockets.

mod api_version;
mod applications;
mod auth;
mod bench_state;
mod clock;
mod control_actions;
mod demo;
mod encoded_frame;
mod engine;
mod error;
mod expectation;
mod faults;
mod fixture;
mod fixture_file;
mod http_server;
mod hub;
mod options;
mod rate_limits;
pub mod recording;
mod redaction;
mod replay;
mod request_filter;
mod routes;
mod rule_options;
mod scenario;
mod scenario_runs;
mod send_queue;
mod tcp;
mod tls;
mod traffic_log;
mod url_path;
mod ws;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use self::applications::ApplicationRegistry;
pub use self::applications::FIRST_APPLICATION_STAYS;
pub use self::bench_state::BenchState;
pub use self::fixture::{Demo, Fixture, FixtureError, demo_fixture};
pub use self::fixture_file::{
    FIXTURE_MAX_BYTES, FixtureFile, SENT_FIXTURE_MAX_BYTES, parse_fixture, read_fixture,
};
use self::hub::Hub;
pub use self::options::{
    CONSOLE_PATH, InvisibleField, MockOptions, MockRules, OwnPresence, RateLimitMode, random_key,
    random_secret,
};
pub use self::replay::{ReplayReporter, ReplaySource};
use self::routes::RequestHandler;
pub use self::routes::{CONTROL_ROUTES, ControlRoute, json_for_any_origin};
pub use self::rule_options::{RULE_OPTIONS, RuleOption};
pub use self::scenario::{
    EXAMPLE_SCENARIOS, EarlyEnd, ExampleScenario, Placed, RunSpeed, RunSummary, SCENARIO_MAX_BYTES,
    Scenario, ScenarioError, ScenarioRunner, SkippedStep, StepRecord, parse_scenario,
};
pub use self::scenario_runs::RunSignal;
use self::tcp::ControlledListener;
pub use self::tcp::Listeners;
pub use self::tls::TlsIdentity;

/// How long sessions and requests may take to end when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves until `shutdown` completes or the control API stops the server. Then closes every socket with a code that
/// asks clients to reconnect later.
///
/// # Errors
///
/// The fixture of the options breaks a rule of the service, or the listener fails.
pub async fn serve(
    listeners: impl Into<Listeners>,
    options: MockOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (started, _) = oneshot::channel();
    serve_and_tell(listeners, options, shutdown, started).await
}

/// A server that has started, for scenarios that run in the same process.
#[derive(Debug)]
pub struct StartedMock {
    hub: Arc<Hub>,
}

impl StartedMock {
    /// A runner of a scenario. It acts on the first application, and obeys the signal.
    pub fn runner(
        &self,
        scenario: Scenario,
        speed: RunSpeed,
        signal: watch::Receiver<RunSignal>,
    ) -> ScenarioRunner {
        ScenarioRunner::new(self.hub.clone(), scenario, speed, signal)
    }
}

/// As [`serve`], and tells when the server has started.
///
/// # Errors
///
/// As [`serve`]. Then nothing is told.
pub async fn serve_and_tell(
    listeners: impl Into<Listeners>,
    options: MockOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
    started: oneshot::Sender<StartedMock>,
) -> io::Result<()> {
    let demo = options.fixture.demo.clone();
    let read_timeout = options.read_timeout;
    let seed = options.seed.unwrap_or_else(rand::random);
    let applications = ApplicationRegistry::new(options, seed)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let applications = Arc::new(applications);
    let hub = applications.first().clone();
    // Usually nobody waits for this.
    let _ = started.send(StartedMock { hub: hub.clone() });
    let (alive, mut gone) = mpsc::channel::<()>(1);
    let handler = RequestHandler::new(applications.clone(), alive);
    let (stopped, stop) = oneshot::channel();
    let listener = ControlledListener(listeners.into());
    let server = http_server::serve(listener, handler, read_timeout, async move {
        tokio::select! {
            () = shutdown => {}
            () = applications.stop.notified() => {}
        }
        applications.shut_down();
        // If nobody receives this, the server has already stopped.
        let _ = stopped.send(());
    });
    let overtime = async {
        if stop.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    };
    let life = async {
        match demo {
            Some(demo) => demo::run(hub.clone(), demo).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = server => {}
        () = overtime => return Ok(()),
        () = hub.tick() => {}
        () = life => {}
    }
    // Every session holds a sender. When the last one is dropped, the wait ends.
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, gone.recv()).await;
    Ok(())
}
