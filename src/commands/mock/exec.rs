//! `mock exec -- COMMAND`: a server for as long as one command runs. The command finds it by its environment.
//!
//! A CI job needs no background process to wait for, to find or to clean up.

use std::ffi::OsString;
use std::net::IpAddr;

use tokio::process::Command;

use super::child_process::{ChildProcess, exit_code};
use super::launcher;
use super::server::{self, MockServer, ServerArgs};
use crate::mock;
use crate::settings::App;
use crate::signals::Signals;

/// What a proxy must not be used for, beside the server's own address: by default, the server listens on loopback.
const LOOPBACK_HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// Flags of `mock exec`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "presencectl mock exec [OPTIONS] -- COMMAND...",
    after_help = "\
The command finds the server in STREAM_API_KEY, STREAM_API_SECRET, STREAM_CHAT_URL, STREAM_BASE_URL,
STREAM_LOCAL_TEST_HOST and PRESENCECTL_BASE_URL. NO_PROXY and no_proxy include loopback and ADDR. SIGINT, SIGTERM and
SIGHUP are forwarded to the command. When it ends, the other processes of its process group are killed, and
presencectl exits with its exit code (127: not found, 126: cannot be run).

Examples:
  presencectl mock exec -- npm test
  presencectl mock exec --fixture world.json -- sh -c 'presencectl query-users --jq .id'"
)]
pub struct ExecArgs {
    /// The server
    #[command(flatten)]
    pub server: ServerArgs,

    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Serves until the command has ended.
///
/// # Errors
///
/// The server cannot start.
pub(super) fn run(app: &App, args: &ExecArgs) -> anyhow::Result<u8> {
    let server = MockServer::prepare(app, &args.server)?;
    if let Some(warning) = server.warning() {
        app.output().warn(&warning);
    }
    server::start_runtime()?.block_on(serve(app, args, server))
}

async fn serve(app: &App, args: &ExecArgs, mut server: MockServer) -> anyhow::Result<u8> {
    let listeners = server.listen()?;
    let endpoint = server.endpoint(listeners.local_addr()?);
    let mut signals = Signals::listen()?;
    // Without a group of its own, the command can read from the terminal.
    let has_own_group = !app.terminal().stdin;
    let mut command = Command::from(launcher::command(app, &args.command)?);
    command
        .envs(endpoint.variables())
        .envs(no_proxy(server.reachable_host()));
    command.kill_on_drop(true);
    // The death signal of the launcher belongs to the thread that spawns it, so this is the main thread.
    let (mut child, mut process) = ChildProcess::spawn(&mut command, has_own_group)
        .map_err(|error| launcher::spawn_error(&args.command, &error))?;
    process.guard_group()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut warnings = std::pin::pin!(server.warn_of_unmatched(app));
    let serving = tokio::spawn(mock::serve(listeners, server.options, async {
        // An error means that this function is gone, which is the signal just as well.
        let _ = stopped.await;
    }));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            code = signals.next() => process.forward(code)?,
            never = &mut warnings => match never {},
        }
    };
    process.kill_group().await?;
    drop(stop);
    serving.await??;
    Ok(exit_code(status)
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1))
}

/// `NO_PROXY` and `no_proxy` with loopback and the server added. Some programs read one of them, some the other.
fn no_proxy(server: IpAddr) -> [(&'static str, String); 2] {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    [("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY")].map(|(name, other)| {
        (
            name,
            with_hosts(value(name).or_else(|| value(other)), server),
        )
    })
}

fn with_hosts(list: Option<String>, server: IpAddr) -> String {
    let mut list = list.unwrap_or_default();
    // Some programs understand `*` only if it stands alone.
    if list.trim() == "*" {
        return list;
    }
    for host in LOOPBACK_HOSTS.into_iter().chain([&*server.to_string()]) {
        if !list.split(',').any(|known| known.trim() == host) {
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(host);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::with_hosts;

    #[test]
    fn the_server_is_added_once_to_the_hosts_without_a_proxy() {
        let loopback = Ipv4Addr::LOCALHOST.into();
        let added = |list: &str| with_hosts(Some(list.to_owned()), loopback);
        assert_eq!(with_hosts(None, loopback), "127.0.0.1,localhost,::1");
        assert_eq!(
            added("corp.example, localhost"),
            "corp.example, localhost,127.0.0.1,::1"
        );
        assert_eq!(added("*"), "*");
        for address in ["192.0.2.1", "2001:db8::1"] {
            let server: IpAddr = address.parse().unwrap();
            assert_eq!(
                with_hosts(None, server),
                format!("127.0.0.1,localhost,::1,{address}")
            );
        }
    }
}
