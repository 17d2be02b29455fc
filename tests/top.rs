//! `top` on a real terminal: tmux, with keys, another size, an outage, a stop by job control, and signals.
//!
//! Every step waits for what the screen shows, however long that takes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::chaos::processes::Mock;
use crate::support::mock::{API_KEY, SECRET};
use crate::support::{PATIENCE, Presencectl, binary, signal, skip_outside_ci};

const RECORDING: &str = r#"{"type":"presence.snapshot","user":{"id":"amy","name":"Amy","online":true},"seq":1,"received_at":"2026-03-29T00:00:00.000Z","source":"query"}
{"type":"presence.coverage","requested":1,"subscribed":1,"missing":[],"seq":2,"received_at":"2026-03-29T00:00:00.010Z","source":"local"}
{"type":"user.presence.changed","user":{"id":"amy","name":"Amy","online":false},"seq":3,"received_at":"2026-03-29T00:10:00.000Z","source":"ws"}
"#;

/// A shell in a tmux of its own.
struct Tmux {
    home: TempDir,
}

impl Tmux {
    /// `None` where tmux is not installed.
    fn start(width: u16, height: u16) -> Option<Self> {
        let is_there = Command::new("tmux").arg("-V").output().is_ok();
        if !is_there {
            skip_outside_ci("top on a terminal", "tmux is not installed");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let tmux = Self { home };
        let (width, height) = (width.to_string(), height.to_string());
        let size = ["-x", &*width, "-y", &*height];
        let mut start = tmux.command(&["new-session", "-d"]);
        let started = start.args(size).args(["sh", "-i"]).output().unwrap();
        assert!(started.status.success(), "{started:?}");
        tmux.run(&["set-option", "-g", "status", "off"]);
        tmux.resize(&width, &height);
        tmux.type_line("echo a line from before");
        tmux.wait_for(|screen| screen.contains("\na line from before"));
        Some(tmux)
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("tmux")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command
            .arg("-S")
            .arg(self.socket())
            .args(["-f", "/dev/null"])
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path())
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("PS1", "$ ")
            .env("STREAM_API_KEY", API_KEY)
            .env("STREAM_API_SECRET", SECRET)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, .. } = self.command(arguments).output().unwrap();
        assert!(status.success(), "tmux {arguments:?}");
        String::from_utf8(stdout).unwrap()
    }

    fn resize(&self, width: &str, height: &str) {
        self.run(&["resize-window", "-x", width, "-y", height]);
    }

    fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    fn type_line(&self, line: &str) {
        self.run(&["send-keys", "-l", line]);
        self.keys(&["Enter"]);
    }

    fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    #[track_caller]
    fn wait_for(&self, is_reached: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_reached(&screen) {
                return;
            }
            assert!(Instant::now() < deadline, "the screen is:\n{screen}");
        }
    }

    /// Waits until the screen has all of these texts. It may be drawn in several steps.
    #[track_caller]
    fn wait_for_texts(&self, texts: &[&str]) {
        self.wait_for(|screen| texts.iter().all(|text| screen.contains(text)));
    }

    #[track_caller]
    fn wait_for_text(&self, text: &str) {
        self.wait_for_texts(&[text]);
    }

    /// Fails unless the terminal is as a shell expects it: the main screen with its cursor, lines edited and echoed.
    #[track_caller]
    fn assert_restored(&self) {
        self.type_line(
            "stty -a | tr ' ;' '\\n\\n' | grep -x -e '-*icanon' -e '-*echo' | xargs echo modes:",
        );
        // What is typed while the pipeline still runs would be shown before the prompt.
        self.wait_for(|screen| screen.trim_end().ends_with("\nmodes: icanon echo\n$"));
        let flags = self.run(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(flags.trim(), "0 1");
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).output();
    }
}

fn world(jack_is_online: bool) -> Value {
    json!({"users": [{"id": "john", "name": "John"}, {"id": "jack", "name": "Jack", "online": jack_is_online}]})
}

fn top(address: std::net::SocketAddr) -> String {
    let binary = binary();
    format!(
        "PRESENCECTL_BASE_URL=http://{address} {} top users john jack --backoff-max 100ms; echo code $?",
        binary.display()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_with_keys_another_size_an_outage_and_a_stop() {
    let Some(tmux) = Tmux::start(80, 24) else {
        return;
    };
    let mock = Mock::start(0, &world(false), &[]).await;
    let address = mock.address;
    tmux.type_line(&top(address));
    tmux.wait_for_texts(&["● connected", "○ John", "0 online, 2 offline"]);
    tmux.wait_for(|screen| !screen.contains("a line from before"));

    let _ = mock.control("users/john/connect", &json!({})).await;
    tmux.wait_for_text("● John");
    tmux.keys(&["/", "j", "a", "c", "Enter"]);
    tmux.wait_for_texts(&["filter jac", "Jack"]);
    tmux.wait_for(|screen| !screen.contains("John"));
    tmux.keys(&["Enter"]);
    tmux.wait_for_text("Jack (jack)");
    tmux.keys(&["Escape"]);
    tmux.wait_for_text("10M");
    tmux.keys(&["Escape"]);
    tmux.wait_for_text("John");

    tmux.resize("40", "10");
    tmux.wait_for_texts(&["LAST 30 M\n", "Jack", "John"]);
    tmux.resize("80", "24");
    tmux.wait_for_text("LAST 30 MIN");

    mock.kill().await;
    tmux.wait_for_texts(&["○ reconnecting", "?John"]);
    tmux.wait_for_text("attempt 2");
    let mock = Mock::start(address.port(), &world(true), &[]).await;
    tmux.wait_for_texts(&["● connected", "gaps 1", "● Jack"]);

    tmux.keys(&["C-z"]);
    tmux.wait_for_texts(&["Stopped", "a line from before"]);
    tmux.assert_restored();
    tmux.type_line("fg; echo code $?");
    tmux.wait_for_text("● connected");
    let _ = mock.control("users/jack/disconnect", &json!({})).await;
    tmux.wait_for_text("○ Jack");

    tmux.keys(&["q"]);
    tmux.wait_for_texts(&["\ncode 0", "a line from before"]);
    tmux.assert_restored();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_end_it_and_the_terminal_is_restored() {
    let Some(tmux) = Tmux::start(80, 24) else {
        return;
    };
    let mock = Mock::start(0, &world(true), &[]).await;
    for (name, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let pid_file = tmux.home.path().join(name);
        let program = top(mock.address).replace("; echo code $?", "");
        let write_pid = format!("echo $$ > {}; exec env {program}", pid_file.display());
        tmux.type_line(&format!("sh -c '{write_pid}'; echo code $?"));
        tmux.wait_for_text("● connected");
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        signal(pid.trim().parse().unwrap(), name);
        tmux.wait_for_text(&format!("\ncode {code}"));
        tmux.assert_restored();
    }
}

fn recording(folder: &Path) -> String {
    let path = folder.join("day.ndjson");
    std::fs::write(&path, RECORDING).unwrap();
    path.display().to_string()
}

#[test]
fn a_recording_is_played() {
    let Some(tmux) = Tmux::start(80, 24) else {
        return;
    };
    let path = recording(tmux.home.path());
    let binary = binary();
    let play = format!("{} top --replay {path} --speed", binary.display());
    tmux.type_line(&format!("NO_COLOR=1 {play} 0.001; echo code $?"));
    tmux.wait_for_texts(&["▶ replay 0.001x", "● Amy"]);
    tmux.keys(&["q"]);
    tmux.wait_for_text("\ncode 0");
    tmux.type_line(&format!("{play} 100000; echo code $?"));
    tmux.wait_for_texts(&["■ end of the recording", "○ Amy"]);
    tmux.keys(&["C-c"]);
    tmux.wait_for_text("\ncode 130");
    tmux.assert_restored();
}

#[test]
fn without_a_terminal_it_points_to_watch() {
    let folder = tempfile::tempdir().unwrap();
    let run = Presencectl::line("--mock top channel my-conversation-123").run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: top draws on a terminal, and stdout is not one
    hint: in scripts and pipes, use `presencectl watch`, which writes one record per line
    --- exit Some(2)
    ");
    let replay = ["top", "--replay", &recording(folder.path())];
    insta::assert_snapshot!(Presencectl::new(replay).run(), @r"
    --- stderr
    presencectl: top draws on a terminal, and stdout is not one
    hint: in scripts and pipes, use `presencectl watch`, which writes one record per line
    --- exit Some(2)
    ");
    let nothing = Presencectl::line("top").run();
    insta::assert_snapshot!(nothing, @r"
    --- stderr
    presencectl: nothing to show is named
    hint: name users or channels, such as presencectl top channel CID; or a recording: --replay FILE
    --- exit Some(2)
    ");
    let both = Presencectl::line("top --replay day.ndjson users john").run();
    insta::assert_snapshot!(both, @r"
    --- stderr
    presencectl: --replay plays a recording, and cannot be combined with users or channels to watch
    --- exit Some(2)
    ");
    let dumb = Presencectl::line("--mock top users john").env("TERM", "dumb");
    insta::assert_snapshot!(dumb.run_on_terminal(), @r"
    presencectl: top draws on the whole screen, which a terminal with TERM=dumb cannot show
    hint: use `presencectl watch`, or set TERM to the name of your terminal
    --- stderr
    --- exit Some(2)
    ");
    let format = Presencectl::line("--mock top users john -o json").env("TERM", "xterm");
    insta::assert_snapshot!(format.run_on_terminal(), @r#"
    {"error":{"kind":"usage","message":"top draws on the screen, and takes no --output, --columns or --jq","exit_code":2,"api_code":null,"hint":"in scripts and pipes, use `presencectl watch`, which writes one record per line"}}
    --- stderr
    --- exit Some(2)
    "#);
}
