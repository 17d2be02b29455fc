//! The recipes of `docs/larger.md`: DuckDB, Redis and Kafka as real programs, and the Kubernetes manifest as far as it goes
//! without a cluster.
//!
//! What is not installed is skipped with a message; in CI (`CI=true`) that is a failure. Redis listens on a socket file.
//! Instead of a Kafka broker, `kcat` talks to the mock cluster of the Kafka client library, which a second `kcat` runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::documents::{blocks, document};
use crate::recipes::{Machine, assert_success, which};
use crate::sdk_suites::python_environment;
use crate::support::recording::Plan;
use crate::support::world::{presencectl_of, world};
use crate::support::{Presencectl, skip_outside_ci, wait_until};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The recipe of a section: all its commands.
fn recipe(section: &str) -> String {
    let blocks = blocks(&document("docs/larger.md"));
    let of_section = blocks
        .into_iter()
        .filter(|block| block.section == section && block.language == "bash");
    let recipe: String = of_section.map(|block| block.text).collect();
    assert!(!recipe.is_empty(), "{section}");
    recipe
}

/// Whether these programs are there. Otherwise what needs them is skipped, which CI does not accept.
fn are_installed(what: &str, programs: &[&str]) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| which(program).is_none())
        .collect();
    missing.is_empty() || skipped(what, &format!("{missing:?} not installed"))
}

/// Says that something is skipped, and returns `false`.
fn skipped(what: &str, why: &str) -> bool {
    skip_outside_ci(what, why);
    false
}

/// A program of `tests/tools`, which pip installs.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    match python_environment(&root().join("tests/tools"), "tools") {
        Ok(python) => Some(python.with_file_name(name)),
        Err(missing) => {
            skipped(name, &missing.to_string());
            None
        }
    }
}

/// Runs a recipe on a machine, and gives what it printed.
fn run(machine: &Machine, recipe: &str, variables: &[(&str, &str)]) -> String {
    let path = std::env::var("PATH").unwrap();
    let output = machine
        .shell(&path)
        .envs(variables.iter().copied())
        .args(["-e", "-c", recipe])
        .output()
        .unwrap();
    assert_success(recipe, &output)
}

/// A program that runs in the background for as long as a test needs it.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn duckdb_reads_what_watch_recorded() {
    let Some(duckdb) = tool("duckdb") else { return };
    let machine = Machine::new().with_presencectl();
    symlink(duckdb, machine.path("bin/duckdb")).unwrap();
    symlink(root().join("docs"), machine.path("docs")).unwrap();
    run(&machine, &recipe("DuckDB"), &[]);
    let sessions = fs::read_to_string(machine.path("duckdb.csv.sorted")).unwrap();
    assert!(sessions.contains("jack,Jack,"), "{sessions}");
}

/// Shards with gaps, restarts, killed watchers, deleted users and lines that are out of order: the SQL and `report` agree in
/// every field, except for the texts of a session that a gap ends.
#[test]
fn duckdb_finds_the_sessions_of_the_report() {
    let Some(duckdb) = tool("duckdb") else { return };
    for (seed, oddities) in [(1, false), (2, false), (3, true), (4, true)] {
        let recorded = Plan {
            seed,
            users: 40,
            start: 1_774_700_000_000,
            length: 3_600_000,
            shards: 3,
            copies: 1,
            stay: 300_000,
            gaps: 3,
            restarts: 2,
            oddities,
        }
        .make();
        let folder = tempfile::tempdir().unwrap();
        let mut words = vec!["report".to_owned(), "sessions".to_owned(), "-qq".to_owned()];
        for (number, text) in recorded.files.iter().enumerate() {
            let path = folder.path().join(format!("shard-{number}.ndjson"));
            fs::write(&path, text).unwrap();
            words.push(path.display().to_string());
        }
        let mut reported: Vec<Value> = Presencectl::new(&words)
            .run()
            .records()
            .into_iter()
            .filter(|session| session["duration_s"] != 0)
            .collect();
        let recordings = folder.path().join("*.ndjson");
        let output = Command::new(&duckdb)
            .args(["-jsonlines", "-cmd"])
            .arg(format!(
                "SET VARIABLE recordings = '{}'",
                recordings.display()
            ))
            .arg("-f")
            .arg(root().join("docs/examples/sessions.sql"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let mut computed: Vec<Value> = assert_success("duckdb", &output)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for sessions in [&mut reported, &mut computed] {
            for session in sessions.iter_mut() {
                session["duration_s"] = json!(session["duration_s"].as_f64());
                // `report` also knows what was told while the gap went on.
                if session["end"] == "gap" {
                    session["status"] = json!(null);
                    session["name"] = json!(null);
                }
            }
            sessions.sort_by_key(|session| format!("{} {}", session["user_id"], session["from"]));
        }
        assert!(reported.len() > 100, "{}", reported.len());
        assert_eq!(reported.len(), computed.len(), "seed {seed}");
        for (reported, computed) in reported.iter().zip(&computed) {
            assert_eq!(reported, computed, "seed {seed}");
        }
    }
}

#[test]
fn redis_takes_records_and_gives_them_back() {
    if !are_installed("the recipe for Redis", &["redis-server", "redis-cli", "jq"]) {
        return;
    }
    let machine = Machine::new().with_presencectl();
    let socket = machine.path("redis.sock");
    let server = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .current_dir(machine.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _server = Background(server);
    wait_until("redis-server listens", || {
        UnixStream::connect(&socket).is_ok()
    });
    let client = which("redis-cli").unwrap();
    let script = format!("exec {} -s {} \"$@\"", client.display(), socket.display());
    machine.program("redis-cli", &script);
    let printed = run(&machine, &recipe("Redis"), &[]);
    assert!(printed.contains("\"user_id\":\"jack\""), "{printed}");
    let back = fs::read_to_string(machine.path("from-redis.ndjson")).unwrap();
    assert_is_complete(&back);
    let mut records = back
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_john = records.rfind(|record| record["user"]["id"] == "john");
    let is_online = of_john.expect("john's state")["user"]["online"].to_string();
    assert_eq!(printed.lines().last(), Some(&*is_online), "{printed}");
}

#[test]
fn kafka_takes_records_and_gives_them_back() {
    if !are_installed("the recipe for Kafka", &["kcat"]) {
        return;
    }
    // It runs the mock cluster until its input ends, and says where.
    let mut cluster = Command::new("kcat");
    cluster.args(["-P", "-b", "none", "-t", "none", "-X", "debug=mock"]);
    let cluster = cluster
        .args(["-X", "test.mock.num.brokers=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut cluster = Background(cluster);
    let mut said = BufReader::new(cluster.0.stderr.take().unwrap()).lines();
    let brokers = said
        .find_map(|line| Some(line.ok()?.split_once("bootstrap.servers=")?.1.to_owned()))
        .expect("the mock cluster says its address");
    // The rest is read, so that the cluster never waits for a reader.
    std::thread::spawn(move || said.count());
    let machine = Machine::new().with_presencectl();
    let printed = run(&machine, &recipe("Kafka"), &[("BROKERS", &brokers)]);
    assert!(printed.contains("\"user_id\":\"jack\""), "{printed}");
    let mut lines: Vec<String> = fs::read_to_string(machine.path("from-kafka.ndjson"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let seq = |line: &String| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64();
    lines.sort_by_key(seq);
    assert_is_complete(&(lines.join("\n") + "\n"));
}

/// Whether these are all records of one run of `watch`, unchanged and in order.
#[track_caller]
fn assert_is_complete(lines: &str) {
    let records: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seqs: Vec<_> = records
        .iter()
        .map(|record| record["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(
        seqs,
        (1..=records.len() as u64).collect::<Vec<_>>(),
        "{lines}"
    );
    assert_eq!(records[records.len() - 1]["type"], "stream.end", "{lines}");
}

/// The resources of the manifest, by kind.
fn manifest() -> Vec<Value> {
    let text = fs::read_to_string(root().join("docs/examples/kubernetes.yaml")).unwrap();
    text.split("\n---\n")
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

fn resource(kind: &str) -> Value {
    let mut all = manifest().into_iter();
    all.find(|resource| resource["kind"] == kind).unwrap()
}

#[test]
fn the_manifest_fits_the_schemas_of_kubernetes() {
    let Some(checker) = tool("kubernetes-validate") else {
        return;
    };
    let output = Command::new(checker)
        .args(["--strict", "docs/examples/kubernetes.yaml"])
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_success("kubernetes-validate", &output);
}

/// Each pod's command line, with the variables that Kubernetes would set, watches its part of the users.
#[test]
fn the_pods_of_the_manifest_share_all_users() {
    let users: Vec<String> = (0..20).map(|number| format!("u{number:02}")).collect();
    let known: Vec<Value> = users.iter().map(|id| json!({"id": id})).collect();
    let mock = world(&known, &[]);
    for (kind, replicas) in [("StatefulSet", "replicas"), ("Job", "completions")] {
        let resource = resource(kind);
        let pod = &resource["spec"]["template"]["spec"]["containers"][0];
        let count = resource["spec"][replicas].as_u64().unwrap();
        let variable = |name: &str| {
            let mut variables = pod["env"].as_array().unwrap().iter();
            variables.find(|variable| variable["name"] == name).cloned()
        };
        assert_eq!(
            variable("PRESENCECTL_SHARDS").unwrap()["value"],
            count.to_string(),
            "{kind}"
        );
        let mut seen = Vec::new();
        for index in 0..count {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("all.txt"), users.join("\n")).unwrap();
            let path = folder.path().display().to_string();
            let mut words: Vec<String> = pod["args"]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap().to_owned())
                .map(|word| word.replace("/users/", &format!("{path}/")))
                .map(|word| word.replace("/data/", &format!("{path}/")))
                .collect();
            if kind == "StatefulSet" {
                words.extend(["--snapshot".to_owned(), "only".to_owned()]);
            }
            words.extend(
                ["--tee".to_owned(), format!("{path}/presence.ndjson")]
                    .into_iter()
                    .filter(|_| kind == "Job"),
            );
            let index = index.to_string();
            let pod_variables: Vec<(&str, String)> = match kind {
                "Job" => vec![("JOB_COMPLETION_INDEX", index)],
                _ => {
                    let field =
                        &variable("POD_INDEX").unwrap()["valueFrom"]["fieldRef"]["fieldPath"];
                    assert_eq!(field, "metadata.labels['apps.kubernetes.io/pod-index']");
                    vec![("POD_INDEX", index)]
                }
            };
            let mut command =
                presencectl_of(&mock, &words).env("PRESENCECTL_SHARDS", &count.to_string());
            for (name, value) in &pod_variables {
                command = command.env(name, value);
            }
            let _ = command.run().ended_with(0);
            let recording = fs::read_to_string(folder.path().join("presence.ndjson")).unwrap();
            seen.extend(recording.lines().filter_map(|line| {
                let record: Value = serde_json::from_str(line).unwrap();
                Some(record["user"]["id"].as_str()?.to_owned())
            }));
        }
        seen.sort();
        assert_eq!(seen, users, "{kind}");
    }
}
