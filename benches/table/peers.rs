//! What is installed on this machine to compare with, in which versions.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The programs that were found.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) websocat: Option<Program>,
    pub(crate) curl: Option<Program>,
    pub(crate) jq: Option<Program>,
    /// Node with the vendor's SDK, which lies in this folder.
    pub(crate) node: Option<(Program, PathBuf)>,
    pub(crate) valgrind: Option<Program>,
    pub(crate) openssl: Option<Program>,
    pub(crate) time: Option<Program>,
    /// A terminal for programs that need one.
    pub(crate) script: Option<Program>,
    /// The program that the tests install from PyPI, or another one.
    pub(crate) duckdb: Option<Program>,
}

/// An installed program.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    version: String,
}

impl Program {
    fn find(name: &str, flag: &str) -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find_map(|folder| Self::at(folder.join(name), flag))
    }

    fn at(path: PathBuf, flag: &str) -> Option<Self> {
        if !path.is_file() {
            return None;
        }
        let output = Command::new(&path)
            .arg(flag)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let version: String = text
            .split_whitespace()
            .find(|word| word.contains(|letter: char| letter.is_ascii_digit()))
            .unwrap_or_default()
            .chars()
            .skip_while(|letter| !letter.is_ascii_digit())
            .take(24)
            .collect();
        Some(Self { path, version })
    }
}

impl Peers {
    pub(crate) fn find() -> Self {
        Self {
            websocat: Program::find("websocat", "--version"),
            curl: Program::find("curl", "--version"),
            jq: Program::find("jq", "--version"),
            node: Program::find("node", "--version").zip(sdk()),
            valgrind: Program::find("valgrind", "--version"),
            openssl: Program::find("openssl", "version"),
            time: Program::find("time", "--version"),
            script: Program::find("script", "--version"),
            duckdb: duckdb(),
        }
    }
}

/// DuckDB in the version of `tests/tools/requirements.txt`, if a test has installed it; else any.
fn duckdb() -> Option<Program> {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools/bin");
    Program::at(tools.join("duckdb"), "--version").or_else(|| Program::find("duckdb", "--version"))
}

/// The folder of the vendor's JavaScript client: `npm ci` in `tests/sdk/js` puts it there, or a variable names it.
fn sdk() -> Option<PathBuf> {
    let folder = std::env::var_os("STREAM_CHAT_SDK").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/js/node_modules/stream-chat"),
        PathBuf::from,
    );
    folder.join("package.json").is_file().then_some(folder)
}

fn sdk_version(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join("package.json")).ok()?;
    let package: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(package.get("version")?.as_str()?.to_owned())
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut here = Vec::new();
        let mut missing = Vec::new();
        for (name, program) in [
            ("websocat", &self.websocat),
            ("curl", &self.curl),
            ("jq", &self.jq),
            ("valgrind", &self.valgrind),
            ("openssl", &self.openssl),
            ("time", &self.time),
            ("script", &self.script),
            ("DuckDB (cargo test duckdb installs it)", &self.duckdb),
        ] {
            match program {
                Some(program) => here.push(format!("{name} {}", program.version)),
                None => missing.push(name),
            }
        }
        match &self.node {
            Some((node, sdk)) => here.push(format!(
                "Node {} with stream-chat {}",
                node.version,
                sdk_version(sdk).unwrap_or_default()
            )),
            None => missing.push("Node with stream-chat (npm ci in tests/sdk/js)"),
        }
        write!(f, "peers: {}", here.join(", "))?;
        if !missing.is_empty() {
            write!(f, "; missing: {}", missing.join(", "))?;
        }
        f.write_str("; the vendor's CLI (Go) is not compared")
    }
}
