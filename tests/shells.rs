//! Real shells load the committed scripts and complete with them, keys pressed and all.
//!
//! Keys are handled in order, so nothing here waits for time to pass: behind the keys of a completion come those of a
//! widget that shows the command line as it has become.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use crate::support::{PATIENCE, binary, private_file, search_path};

/// Completes the word before the cursor.
const TAB: &str = "\t";
/// Puts everything that is offered on the line.
const ALL: &str = "\x1b*";
/// Shows the line and empties it.
const SHOW: &str = "\x18\x10";

const BASH: &str = r#"
set +o history; source "$SCRIPT"
show() { printf '<<%s>>\n' "$READLINE_LINE"; READLINE_LINE=; READLINE_POINT=0; }
bind -x '"\C-x\C-p": show'; bind 'set enable-bracketed-paste off'; printf 'rea''dy\n'
"#;

const ZSH: &str = r#"
fpath=("${SCRIPT:h}" $fpath); autoload -U compinit; compinit -u -D
show() { print -r -- "<<$BUFFER>>"; BUFFER=; }; zle -N show; bindkey '^X^P' show
zle -C all complete-word _generic; zstyle ':completion:all:*' completer _all_matches _complete
zstyle ':completion:all:*' insert true; bindkey '\e*' all; print 'rea''dy'
"#;

/// What a shell is expected to make of a line. Every shell gets the same lines.
const LINES: [(&str, &str, &str); 16] = [
    ("presencectl prof", TAB, "presencectl profile "),
    (
        "presencectl profile rem",
        TAB,
        "presencectl profile remove ",
    ),
    (
        "presencectl profile add --secret-f",
        TAB,
        "presencectl profile add --secret-file ",
    ),
    (
        "presencectl token create --tt",
        TAB,
        "presencectl token create --ttl ",
    ),
    ("presencectl --output=js", TAB, "presencectl --output=json "),
    ("presencectl -p st", TAB, "presencectl -p staging "),
    (
        "presencectl profile show ",
        ALL,
        "presencectl profile show prod staging ",
    ),
    (
        "presencectl token create jac",
        TAB,
        "presencectl token create jack ",
    ),
    (
        "presencectl token create ",
        ALL,
        "presencectl token create john jack jane@x ",
    ),
    (
        "presencectl --as john token create ja",
        ALL,
        "presencectl --as john token create jack jane@x ",
    ),
    (
        "presencectl get-channel messaging:f",
        TAB,
        "presencectl get-channel messaging:fun ",
    ),
    (
        "presencectl get-channel messaging:w",
        TAB,
        "presencectl get-channel messaging:work ",
    ),
    (
        "presencectl get-channel l",
        TAB,
        "presencectl get-channel livestream:a ",
    ),
    (
        "presencectl query-users --in john,jac",
        TAB,
        "presencectl query-users --in john,jack ",
    ),
    (
        "presencectl set-user john --inv",
        TAB,
        "presencectl set-user john --invisible ",
    ),
    (
        "presencectl completions po",
        TAB,
        "presencectl completions powershell ",
    ),
];

/// Whether a shell is here. Where it is not, the test says so; on CI that is a failure.
fn is_missing(shell: &str) -> bool {
    let here = Command::new(shell)
        .args(["-c", "exit 0"])
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !here {
        crate::support::skip_outside_ci(&format!("completions of {shell}"), "it is not installed");
    }
    !here
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    private_file(
        &home.path().join(".config/presencectl/config.toml"),
        "[profiles.prod]\napi_key = 'k'\n[profiles.staging]\napi_key = 'k'\n",
    );
    // The ids of the application with the key `k`, as a query would have stored them.
    let application = xxhash_rust::xxh3::xxh3_64(b"k https://chat.stream-io-api.com/");
    let cache = home.path().join(".cache/presencectl");
    private_file(
        &cache.join(format!("users-{application:016x}")),
        "john\njack\njane@x",
    );
    private_file(
        &cache.join(format!("channels-{application:016x}")),
        "messaging:fun\nmessaging:work\nlivestream:a",
    );
    home
}

fn script(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("completions")
        .join(file)
}

/// A command in an environment in which `presencectl` is the binary under test.
fn command(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("STREAM_API_KEY", "k")
        .env("PATH", search_path(binary().parent().unwrap()))
        .env("TERM", "dumb")
        .env("LC_ALL", "C.UTF-8")
        .current_dir(home);
    command
}

/// An interactive shell on a terminal of its own.
struct Shell {
    child: Child,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Shell {
    fn start(shell: &str, script_file: &str, setup: &str, home: &Path) -> Self {
        let mut child = command("script", home)
            .env("SCRIPT", script(script_file))
            .args(["-qfec", shell, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("script, of util-linux, runs");
        let mut stdout = child.stdout.take().unwrap();
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut shell = Self {
            child,
            output,
            seen: String::new(),
        };
        shell.press(setup);
        shell.wait_for("ready\r\n", "ready\r\n");
        shell
    }

    fn press(&mut self, keys: &str) {
        self.child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(keys.as_bytes())
            .unwrap();
    }

    /// The text between two marks, once it has arrived.
    fn wait_for(&mut self, from: &str, to: &str) -> String {
        loop {
            if let Some(start) = self.seen.find(from) {
                let text = start + from.len();
                let end = if from == to {
                    Some(text)
                } else {
                    self.seen[text..].find(to).map(|end| text + end)
                };
                if let Some(end) = end {
                    let found = self.seen[text..end].to_owned();
                    self.seen.drain(..end);
                    return found;
                }
            }
            let bytes = self
                .output
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("the shell said only: {}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    fn becomes(&mut self, line: &str, key: &str) -> String {
        self.press(&format!("{line}{key}{SHOW}"));
        self.wait_for("<<", ">>")
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check(shell: &mut Shell) {
    for (line, key, expected) in LINES {
        assert_eq!(shell.becomes(line, key), expected, "from `{line}`");
    }
}

#[test]
fn bash_completes() {
    if is_missing("bash") {
        return;
    }
    let home = home();
    let mut bash = Shell::start("bash --norc -i", "presencectl.bash", BASH, home.path());
    check(&mut bash);
}

#[test]
fn zsh_completes_from_the_first_key_on() {
    if is_missing("zsh") {
        return;
    }
    let home = home();
    let mut zsh = Shell::start("zsh -f -i", "_presencectl", ZSH, home.path());
    check(&mut zsh);
}

#[test]
fn fish_completes() {
    if is_missing("fish") {
        return;
    }
    let home = home();
    let offered = |line: &str| -> Vec<String> {
        let output = command("fish", home.path())
            .arg("-c")
            .arg("source $argv[1]; complete --do-complete $argv[2]")
            .arg(script("presencectl.fish"))
            .arg(line)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
            .collect()
    };
    // fish shows candidates rather than lines, so each line is put together from its last word.
    for (line, _, expected) in LINES {
        let start = line.rfind(' ').unwrap() + 1;
        let became = format!("{}{} ", &line[..start], offered(line).join(" "));
        assert_eq!(became, expected, "from `{line}`");
    }
}
