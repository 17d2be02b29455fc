//! The commands that are measured, and what they need to be accepted by a server.

use std::io;
use std::process::{Command, Stdio};
use std::time::Instant;

use presencectl::domain::token::{self, Claims};

use crate::installed;
use crate::report::millis;

/// The secret of the application that stubs and commands share.
pub(crate) const SECRET: &str = "secret";

/// This executable in another role.
pub(crate) fn role(role: &str, address: &str, target: &str) -> Command {
    let mut command = Command::new(installed::own());
    command.args([&format!("role={role}"), address, target]);
    command
}

/// Our program, with nothing of the caller's environment but the path.
pub(crate) fn presencectl(url: &str) -> Command {
    let mut command = Command::new(installed::presencectl());
    command
        .env_clear()
        .env("HOME", "/nonexistent")
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("STREAM_API_KEY", "key")
        .env("STREAM_API_SECRET", SECRET)
        .env("PRESENCECTL_BASE_URL", url);
    command
}

/// The token of the application's server, as others need it.
fn server_token(secret: &str) -> String {
    token::sign(secret, &Claims::server())
}

fn quiet(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}

/// How long a process takes from its start to its end.
pub(crate) fn time(command: &mut Command) -> io::Result<f64> {
    let command = quiet(command);
    let start = Instant::now();
    let status = command.status()?;
    let time = start.elapsed();
    if status.success() {
        Ok(millis(time))
    } else {
        Err(io::Error::other(format!("{command:?} ended with {status}")))
    }
}

/// The credentials of a request to a mock.
pub(crate) fn authorized(key: &str, secret: &str) -> Vec<(&'static str, String)> {
    vec![
        ("api_key", key.to_owned()),
        ("stream-auth-type", "jwt".to_owned()),
        ("authorization", server_token(secret)),
    ]
}
