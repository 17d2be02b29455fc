//! The command that `mock exec` and `mock run` run against their server, from its start to the end of its group.

use std::ffi::OsString;
use std::io;
use std::net::IpAddr;

use tokio::process::{Child, Command};

use super::child_process::{ChildProcess, exit_code};
use super::endpoint::MockEndpoint;
use super::launcher;
use crate::exit::Code;
use crate::settings::App;

/// What a proxy must not be used for, beside the server's own address: by default, the server listens on loopback.
const LOOPBACK_HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// A running command, which finds the server by its environment.
#[derive(Debug)]
pub(super) struct ServerCommand {
    child: Child,
    process: ChildProcess,
}

impl ServerCommand {
    /// Starts a command.
    ///
    /// # Errors
    ///
    /// The system does not start a process. On Unix, a command that is not found is reported by its exit code.
    pub(super) fn start(
        app: &App,
        words: &[OsString],
        endpoint: &MockEndpoint,
        host: IpAddr,
    ) -> anyhow::Result<Self> {
        // Without a group of its own, the command can read from the terminal.
        let has_own_group = !app.terminal().stdin;
        let mut command = Command::from(launcher::command(app, words)?);
        command
            .envs(endpoint.variables())
            .envs(no_proxy(host))
            .kill_on_drop(true);
        // The death signal of the launcher belongs to the thread that spawns it, so this is the main thread.
        let (child, mut process) = ChildProcess::spawn(&mut command, has_own_group)
            .map_err(|error| launcher::spawn_error(words, &error))?;
        process.guard_group()?;
        Ok(Self { child, process })
    }

    /// Waits until the command ends, and returns its exit code. Cancel safe.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub(super) async fn wait(&mut self) -> io::Result<u8> {
        let status = self.child.wait().await?;
        Ok(exit_code(status)
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1))
    }

    /// Kills what is left of the command's group.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub(super) async fn kill_group(self) -> io::Result<()> {
        self.process.kill_group().await
    }

    /// Forwards the signal that an exit code stands for.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub(super) fn forward(&self, signal: Code) -> io::Result<()> {
        self.process.forward(signal)
    }
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
