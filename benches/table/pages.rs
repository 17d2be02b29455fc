//! A thousand users, in pages of a hundred, as lines.

use std::io;
use std::process::Command;

use crate::commands::{presencectl, role, time};
use crate::crowd::Mock;
use crate::peers::Peers;
use crate::report::{Bound, Report, Row, Unit, median};

const ROUNDS: usize = 15;
const USERS: usize = 1000;

pub(crate) fn run(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let mock = Mock::start(USERS)?;
    let targets: Vec<String> = (0..USERS / 100)
        .map(|page| {
            let payload = format!(
                r#"{{"filter_conditions":{{}},"sort":[{{"field":"id","direction":1}}],"limit":100,"offset":{}}}"#,
                page * 100
            );
            mock.target("/users", &[("payload", &payload)])
        })
        .collect();
    let ours = || {
        let mut command = presencectl(&mock.url);
        command
            .env("STREAM_API_KEY", &mock.key)
            .env("STREAM_API_SECRET", &mock.secret)
            .args(["query-users", "--all", "-o", "ndjson"]);
        command
    };
    let limit = || {
        let mut command = role("tcp-get", &mock.address(), &targets[0]);
        command.args(&targets[1..]);
        command
    };
    let output = ours().output()?;
    let lines = memchr::memchr_iter(b'\n', &output.stdout).count();
    if lines != USERS {
        return Err(io::Error::other(format!(
            "{lines} lines: {}",
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    let (mut own, mut least) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        least.push(time(&mut limit())?);
        own.push(time(&mut ours())?);
    }
    let curl = peers
        .curl
        .as_ref()
        .zip(peers.jq.as_ref())
        .map(|(curl, jq)| {
            let urls: Vec<String> = targets
                .iter()
                .map(|target| format!("'{}{target}'", mock.url))
                .collect();
            let script = format!(
                "'{}' -sS {} | '{}' -c '.users[]'",
                curl.path.display(),
                urls.join(" "),
                jq.path.display()
            );
            let times: io::Result<Vec<f64>> = (0..5)
                .map(|_| time(Command::new("sh").args(["-c", &script])))
                .collect();
            times.map(median)
        });
    let node = peers.node.as_ref().map(|(node, sdk)| {
        let times: io::Result<Vec<f64>> = (0..5)
            .map(|_| {
                time(
                    Command::new(&node.path)
                        .args(["-e", NODE_PAGES])
                        .arg(sdk)
                        .args([&mock.url, &mock.key, &mock.secret]),
                )
            })
            .collect();
        times.map(median)
    });
    let least = median(least);
    let curl = report.figure("curl, jq", curl);
    let node = report.figure("Node SDK", node);
    report.row(
        Row::new("1,000 users in pages of 100", Unit::Milliseconds)
            .ours(median(own))
            .limit(least)
            .peer("curl, jq, offsets known", curl)
            .peer("Node SDK", node)
            .ratio("limit", Some(least), Bound::AtMost(2.0))
            .ratio("Node SDK", node, Bound::AtMost(0.1)),
    );
    Ok(())
}

const NODE_PAGES: &str = "
const [sdk, baseURL, key, secret] = process.argv.slice(1);
const { StreamChat } = require(require.resolve('stream-chat', { paths: [sdk] }));
const client = new StreamChat(key, secret, { baseURL });
(async () => {
  for (let offset = 0; offset < 1000; offset += 100) {
    const { users } = await client.queryUsers({}, { id: 1 }, { limit: 100, offset });
    for (const user of users) process.stdout.write(JSON.stringify(user) + '\\n');
  }
})();
";
