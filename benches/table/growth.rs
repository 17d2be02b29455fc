//! What a change costs in the mock, by subscriptions and users: it should follow the first and not feel the second.

use std::fmt::Write as _;
use std::io;
use std::time::Instant;

use presencectl::mock::BenchState;

use crate::peers::Peers;
use crate::processes::resident;
use crate::report::{Bound, Report, Row, Unit, median};

const USERS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
const SUBSCRIPTIONS: [usize; 5] = [1, 10, 100, 1_000, 10_000];

pub(crate) fn run(_: &Peers, report: &mut Report) -> io::Result<()> {
    let mut table = String::from(
        "\ntime of a change (µs) by users and subscriptions, and memory of the world\n\n\
         | users | 1 | 10 | 100 | 1,000 | 10,000 | memory |\n|---|---|---|---|---|---|---|\n",
    );
    let (mut last, mut user_bytes) = (Vec::new(), 0.0);
    for users in USERS {
        let before = resident(std::process::id())?;
        let mut world = BenchState::new(users);
        let memory = resident(std::process::id())? - before;
        user_bytes = memory * 1048576.0 / users as f64;
        let mut subscribed = 0;
        let _ = write!(table, "| {users} ");
        for subscriptions in SUBSCRIPTIONS {
            world.subscribe(subscribed..subscriptions);
            subscribed = subscriptions;
            let time = change(&mut world, subscriptions)?;
            let _ = write!(table, "| {time:.1} ");
            if subscriptions == 10_000 {
                last.push(time);
            }
        }
        let _ = writeln!(table, "| {memory:.0} MiB |");
    }
    report.note(&table);
    report.row(
        Row::new("mock: an idle user, of 1,000,000", Unit::Bytes)
            .ours(user_bytes)
            .aim("bytes", user_bytes, Bound::AtMost(750.0)),
    );
    if let [first, .., many] = last[..] {
        report.row(
            Row::new(
                "mock: a change, 10,000 subscriptions, 1,000,000 users",
                Unit::Microseconds,
            )
            .ours(many)
            .aim(
                "× the same with 1,000 users",
                many / first,
                Bound::AtMost(1.3),
            ),
        );
    }
    Ok(())
}

/// The middle time of a change, in microseconds.
fn change(world: &mut BenchState, subscriptions: usize) -> io::Result<f64> {
    let rounds = (200_000 / subscriptions).clamp(51, 2001);
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        let heard = world.change();
        times.push(start.elapsed().as_secs_f64() * 1e6);
        if heard != subscriptions {
            return Err(io::Error::other(format!(
                "{heard} of {subscriptions} heard"
            )));
        }
    }
    Ok(median(times))
}
