//! The mock server inside the test process, on a thread and a runtime of its own, so that a test that blocks on a socket
//! or a child does not starve it.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use presencectl::domain::SecretString;
use presencectl::domain::token::{self, Claims};
use presencectl::mock::{MockOptions, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The key of every mock of the tests.
pub(crate) const API_KEY: &str = "test-key";
/// The secret of every mock of the tests.
pub(crate) const SECRET: &str = "test-secret";

/// A running mock. Dropping it shuts it down, and fails the test if it ended with an error.
#[derive(Debug)]
pub(crate) struct Mock {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Mock {
    /// An empty one with the default rules.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// One whose options are changed first. Key and secret are the tests'.
    pub(crate) fn with(change: impl FnOnce(&mut MockOptions)) -> Self {
        let mut options = MockOptions {
            api_key: API_KEY.to_owned(),
            secret: SecretString::new(SECRET),
            ..MockOptions::default()
        };
        change(&mut options);
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                tell.send(listener.local_addr()?)
                    .expect("the test waits for the address");
                serve(listener, options, async {
                    // A dropped sender stops the mock, too.
                    let _ = stopped.await;
                })
                .await
            })
        });
        Self {
            address: told.recv().expect("the mock listens"),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// The base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tells the server to stop, without waiting for it.
    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself; `drop` reports that.
            let _ = stop.send(());
        }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended
                .expect("a mock is dropped once")
                .expect("the mock does not panic")
                .expect("the mock ends well");
        }
    }
}

/// The token of a user.
pub(crate) fn user_token(id: &str) -> String {
    token::sign(SECRET, &Claims::user(id))
}

/// The token of the server side.
pub(crate) fn server_token() -> String {
    token::sign(SECRET, &Claims::server())
}
