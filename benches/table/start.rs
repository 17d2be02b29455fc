//! What a start costs: the size of the program, and completing a word in a shell.

use std::fmt::Write as _;
use std::io;

use xxhash_rust::xxh3::xxh3_64;

use crate::commands::{presencectl, time};
use crate::installed;
use crate::peers::Peers;
use crate::report::{Bound, Report, Row, Unit, median};

const ROUNDS: usize = 101;
/// How many ids the last query is said to have shown.
const CACHED_IDS: usize = 10_000;
const URL: &str = "http://localhost:1";

/// The size of the program without symbols.
pub(crate) fn binary(_: &Peers, report: &mut Report) -> io::Result<()> {
    let size = std::fs::metadata(installed::presencectl())?.len() as f64 / 1048576.0;
    report.row(Row::new("the program", Unit::Mebibytes).ours(size).aim(
        "MiB",
        size,
        Bound::AtMost(8.0),
    ));
    Ok(())
}

/// From the Tab key to the ids of users.
pub(crate) fn completion(_: &Peers, report: &mut Report) -> io::Result<()> {
    let cache = tempfile::tempdir()?;
    let folder = cache.path().join("presencectl");
    std::fs::create_dir_all(&folder)?;
    let mut ids = String::new();
    for n in 0..CACHED_IDS {
        let _ = writeln!(ids, "user-{n:05}");
    }
    let application = format!("key {URL}/");
    let name = format!("users-{:016x}", xxh3_64(application.as_bytes()));
    std::fs::write(folder.join(name), ids)?;
    let command = || {
        let mut command = presencectl(URL);
        command
            .env("XDG_CACHE_HOME", cache.path())
            .env("PRESENCECTL_COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", "2")
            .env(
                "_CLAP_IFS",
                "
",
            )
            .args(["--", "presencectl", "get-user", "user-0"]);
        command
    };
    let output = command().output()?;
    let words = String::from_utf8_lossy(&output.stdout);
    if words.matches("user-0").count() < 100 {
        return Err(io::Error::other(format!("{output:?}")));
    }
    let times: io::Result<Vec<f64>> = (0..ROUNDS).map(|_| time(&mut command())).collect();
    let middle = median(times?);
    report.row(
        Row::new(
            "Tab completion of a user, 10,000 cached ids",
            Unit::Milliseconds,
        )
        .ours(middle)
        .aim("ms", middle, Bound::AtMost(5.0)),
    );
    Ok(())
}
