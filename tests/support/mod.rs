//! What the tests of whole processes share: a private environment, a mock server, runs and streams with a deadline.

pub(crate) mod browser;
mod command;
pub(crate) mod contract;
pub(crate) mod literal;
pub(crate) mod mock;
pub(crate) mod recording;
mod stream;
pub(crate) mod tls_front;
pub(crate) mod wire;
pub(crate) mod world;

use std::fmt::Display;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) use command::{
    Presencectl, Run, binary, private_file, search_path, shell, transcript, usage_errors,
};
pub(crate) use stream::Stream;

/// Prints that something was skipped. The test harness does not capture it, so it is seen although the test passes.
pub(crate) fn skip(what: &str) {
    use std::io::Write;
    // Without a stderr nothing can be printed.
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}");
}

/// Skips a test that needs what is missing on this machine. With `CI=true` that is a failure, so that CI cannot lose a
/// test without notice.
pub(crate) fn skip_outside_ci(what: &str, missing: impl Display) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{what} must run in CI: {missing}"
    );
    skip(&format!("{what}: {missing}"));
}

/// Sends a signal, such as `INT`, to a process.
#[track_caller]
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success(), "kill -{name} {pid}");
}

/// An address on which nobody listens: no test can get this port, as it could get one that was free a moment ago.
pub(crate) const CLOSED_URL: &str = "http://127.0.0.1:1";

/// How long a fact is waited for. It only turns a hang into a failure: a test never passes because of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until a fact holds that nothing reports, however long that takes.
#[track_caller]
pub(crate) fn wait_until(fact: &str, is_true: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "it never holds: {fact}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
