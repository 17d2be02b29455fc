//! The texts of the topics of `help`.

use std::fmt::Write;

use clap::{Args, ValueEnum};

use crate::args::GlobalArgs;
use crate::exit::Code;

/// The topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Topic {
    /// The exit codes.
    ExitCodes,
    /// The environment variables.
    Environment,
    /// The global flags.
    Options,
    /// Formats, columns, colours.
    Output,
    /// The records of a stream.
    Records,
    /// Expressions in `--jq`, `--where`, `--until` and `--for`.
    Expressions,
    /// Reports about recorded streams.
    Reports,
    /// The mock server.
    Mock,
}

impl Topic {
    /// The name of the topic.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExitCodes => "exit-codes",
            Self::Environment => "environment",
            Self::Options => "options",
            Self::Output => "output",
            Self::Records => "records",
            Self::Expressions => "expressions",
            Self::Reports => "reports",
            Self::Mock => "mock",
        }
    }

    /// The text of the page.
    pub fn text(self) -> String {
        match self {
            Self::ExitCodes => exit_codes(),
            Self::Environment => ENVIRONMENT.to_owned(),
            Self::Options => global_options(),
            Self::Output => OUTPUT.to_owned(),
            Self::Records => RECORDS.to_owned(),
            Self::Expressions => EXPRESSIONS.to_owned(),
            Self::Reports => REPORTS.to_owned(),
            Self::Mock => MOCK.to_owned(),
        }
    }
}

/// The global flags as `--help` shows them.
fn global_options() -> String {
    let command = clap::Command::new("presencectl")
        .max_term_width(100)
        .disable_help_flag(true)
        .help_template("Every command takes these flags. A flag with an [env: …] line can also be set by that variable.\n\n{all-args}\n");
    let page = GlobalArgs::augment_args(command).render_long_help();
    page.to_string()
}

fn exit_codes() -> String {
    let mut page = String::from("Exit codes (stable: the meaning of a code never changes):\n\n");
    for code in Code::ALL {
        writeln!(page, "  {:>3}  {}", code.number(), code.meaning())
            .expect("a String takes every write");
    }
    page.push_str("\nA stream has a goal if -n or --until is given. `wait` always has one.\n");
    page
}

const ENVIRONMENT: &str = "\
Environment variables. Flags take precedence over the environment, and the environment over the profile. Whitespace
around a value is ignored. An empty variable counts as unset.

Credentials:
  STREAM_API_KEY, STREAM_API_SECRET   the application's key and secret (or STREAM_KEY and STREAM_SECRET)
  PRESENCECTL_USER_TOKEN              a user's token; with the key, enough for everything that the user may do
  STREAM_CHAT_URL                     the service's address, also read by Stream's SDKs

Variables that set a flag:
  PRESENCECTL_PROFILE  PRESENCECTL_CONFIG  PRESENCECTL_BASE_URL  PRESENCECTL_MOCK  PRESENCECTL_AS
  PRESENCECTL_OUTPUT  PRESENCECTL_COLUMNS  PRESENCECTL_NO_HEADERS  PRESENCECTL_JQ  PRESENCECTL_TIMEOUT
  PRESENCECTL_CONNECT_TIMEOUT  PRESENCECTL_RETRY  PRESENCECTL_DRY_RUN  PRESENCECTL_YES
  PRESENCECTL_ALLOW_HTTP  PRESENCECTL_COLOR
A flag without a value takes 1 or true, and 0 or false. -q and -v have no variable.
PRESENCECTL_MOCK=1 selects the demo data; any other value is the name of a fixture file.

Mock server:
  PRESENCECTL_MOCK_SECRET             the secret that `mock start` accepts
  PRESENCECTL_MOCK_TOKEN              the control token of a server that other machines reach (--host)
  PRESENCECTL_MOCK_FIXTURE            its fixture: a file's name, or the JSON itself

Shards, for `--shard env` in Kubernetes:
  PRESENCECTL_SHARDS                  the number of shards
  JOB_COMPLETION_INDEX                the number of this process, from 0, in an indexed job; else
  POD_INDEX                           the pod's label apps.kubernetes.io/pod-index, passed on by the manifest; else
  HOSTNAME                            the pod's name, which ends with its number in a StatefulSet

Also read: NO_COLOR, COLUMNS, TZ, HTTPS_PROXY, http_proxy, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, XDG_CONFIG_HOME,
XDG_CACHE_HOME.

If STREAM_API_KEY is set, the default profile is ignored, so that the key of one application is never combined with the
secret of another. -p NAME uses a profile anyway.
";

const OUTPUT: &str = "\
Output. stdout contains results only. All messages go to stderr.

  -o auto     a table on a terminal, NDJSON otherwise (the default)
  -o table    a table; for streams one line per event
  -o json     one JSON document: an object, or an array
  -o ndjson   one JSON object per line, flushed at once
  -o tsv      tab-separated; tabs, newlines and backslashes in values as \\t, \\n, \\\\
  -o csv      comma-separated, RFC 4180

  --columns a,b.c   choose columns (b.c is field c of object b); in JSON formats, keep only these fields.
                    `--columns list` on a complete command prints the known ones
  --no-headers      no header line in table, tsv and csv
  --jq EXPR         apply a jq expression to each record and print each result on a line

Machine formats are exact: never truncated, coloured or localised. In tables, control characters are escaped.
With -o json or -o ndjson, an error is one JSON object on stderr:
  {\"error\":{\"kind\",\"message\",\"exit_code\",\"api_code\",\"hint\"}}
";

const RECORDS: &str = "\
Records of a stream: one JSON object per line, each with a `type`.

  presence.snapshot       the state of each subscribed user at the start: user
  user.presence.changed, user.updated, user.watching.start, …
                          as the service sent them
  connection.changed      the connection to the service was lost or restored: online, reason, attempt
  connection.recovered    all subscriptions restored
  presence.gap            events may have been lost: from, to, repaired (ids), note
  presence.coverage       requested, subscribed, missing (ids)
  stream.end              the last line: reason, events, gaps, reconnects, exit_code

Every record has `seq` (consecutive numbers from 1), `received_at` (RFC 3339, UTC, milliseconds) and `source`
(ws, query, resync, local). Events about a user add `changed` (which of online, invisible, status, last_active changed)
and `previous` (their old values). `user` always has id, online, status, last_active and invisible, null if unknown.
After a gap, users whose state changed follow as ordinary events with \"source\":\"resync\". A user.updated with an empty `changed`
means that another field changed, such as the name or a custom field. `user` has the new values.

--raw prints exactly what the service sent, without our own records.
";

const EXPRESSIONS: &str = "\
Expressions are written in jq and evaluated inside the program, on each record:

  --jq EXPR      print the expression's results instead of the record
  --where EXPR   keep the records for which it is true
  --until EXPR   end with code 0 at the first record for which it is true

Examples:
  presencectl --mock watch users --in john,jack --where '.user.online' --jq .user.id
  presencectl --mock watch channel my-conversation-123 --until '.user.id == \"john\" and .user.online'

`false`, `null` and an empty result count as false, as in jq's `select`. Expressions cannot read files or the environment.

Limits on one record: 1 s, and 256 MiB of built values and results; beyond that the expression is not evaluated again.
A single value may have 64 MiB and 256 levels of nesting, an integer 65,536 bits (20,000 digits), a text for a regular
expression 64 KiB, the regular expression 4 KiB, and a path 1,000 parts.
";

const REPORTS: &str = "\
Reports are computed from streams that `watch` recorded. They need no server and no account.

  presencectl watch channel fun --tee day.ndjson >/dev/null     record; Ctrl-C stops, and you can start again at any time
  presencectl report sessions day.ndjson      when each user was online, like the Unix command `last`
  presencectl report uptime day.ndjson        how much of the time; --min 0.99 exits with 3 if a user is below
  presencectl report flaps day.ndjson         how often they change; --threshold 5/10m exits with 3 if a user is above
  presencectl report timeline day.ndjson      a picture on a terminal; buckets of time for programs

Files may be plain, gzip or zstd, and come from one watcher or several: redundant ones, or shards with different users.
The order of the files does not matter, and a file named twice counts once. - is standard input.

Time that nobody observed is unknown, never offline:
  before a user's first snapshot
  inside a presence.gap; for the users in `repaired`, until their own record that follows
  after a stream.end, or after the last line of a watcher that was killed, until the next snapshot
  while presence.coverage lists the user as missing, and after they were deleted or left the channel

The window is from the first to the last record; --from and --to narrow it. --user and --in choose users.
--html FILE and --svg FILE draw a picture with any of the reports. --pseudonymize replaces ids and names.
To limit memory, two things are not always exact: median_online_s is exact for the first 1024 sessions of a user and
within one percent beyond, and a picture of more than 400,000 sessions merges adjacent ones.
";

const MOCK: &str = "\
The bundled mock server emulates the presence features of Stream Chat. It needs no account and stores nothing on disk.

  presencectl --mock COMMAND …          run one command against a server in the same process, with demo data
  presencectl --mock=world.json …       the same with the users and channels of a fixture
  presencectl mock start --port 0       a separate server; prints {\"type\":\"mock.ready\",\"url\",…} when ready
  presencectl mock start --print env    the same, printing shell assignments for the variables of every SDK

A fixture is JSON:
  {\"users\": [{\"id\": \"john\", \"name\": \"John\"}, {\"id\": \"jack\", \"status\": \"at lunch\"}],
   \"channels\": [{\"type\": \"messaging\", \"id\": \"fun\", \"members\": [\"john\", \"jack\"], \"color\": \"green\"}]}

The secret comes from PRESENCECTL_MOCK_SECRET or --api-secret-file; otherwise it is generated.

A running server can be controlled from any shell that knows its address (--base-url, PRESENCECTL_BASE_URL):
  presencectl mock status | connections | health   its state, its connections, and whether it answers
  presencectl mock user john connect           connect a user without a client; also disconnect; drop (lose the
                                               connection without a close frame); set status='at lunch' invisible=true
  presencectl mock trigger TYPE --to john      send an event of your own; also --subscribers, --channel, --connection
  presencectl mock clock freeze 2026-01-31T08:00:00Z, advance 15m, set TIME, run 60, reset
                                               last_active, timeouts, tokens and rate limits follow this clock
  presencectl mock log -f                      print the log entries live: requests and frames, without secrets;
                                               --path, --user, --status and others leave only what matches
  presencectl mock expect --path /users --within 10s
                                               wait for a request; exit code 3 and the nearest requests if none comes
  presencectl mock run scenario.yaml           start a server and run a script of users, faults and expectations on it
  presencectl mock snapshot > world.json       save users and channels as a fixture; mock restore FILE loads it
  presencectl mock reset                       restore the initial state
  presencectl mock stop                        stop the server

Faults apply to requests and frames that match (--method, --path, --user, --event): --count times, after skipping
--after of them, with a --probability drawn from a --seed:
  requests   status (--status, --code, --retry-after), delay, reset, html, truncate; --applied loses only the response
  WebSocket connections
             drop, close (--code), half-open, mute, duplicate, reorder, late, garbage, expire, slow; --now applies at once
  presencectl mock fault add status --status 429 --retry-after 2 --path /users --count 1
  presencectl mock fault add drop --user john --now
  presencectl mock fault list
  presencectl mock fault clear
`presencectl mock fault add --help` explains each fault.

All of this is available as JSON over HTTP, too: /_mock/status, /_mock/faults, /_mock/log?after=N&wait=5s, /_mock/expect,
/_mock/users/ID/connect …
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_found_by_its_name() {
        for topic in Topic::value_variants() {
            assert_eq!(Topic::from_str(topic.name(), false).as_ref(), Ok(topic));
            assert!(topic.text().ends_with('\n'));
        }
    }
}
