//! Follows users as a stream: code shared by `watch` and by `--watch` of the queries.

use std::time::Duration;

use crate::commands::observer;
use crate::events::{Observer, WatchTarget, WatcherOptions};
use crate::exit::{Code, Failure};
use crate::settings::App;
use crate::stream::{SourceOptions, Stream, StreamOptions};

/// Follows the users of a target until the stream ends. `watch_options` says how to connect and subscribe.
///
/// # Errors
///
/// The stream cannot start or is lost, `--columns` names an unknown column, or `--timeout` is 0.
pub(crate) async fn follow(
    app: &App,
    mut options: StreamOptions,
    target: WatchTarget,
    watch_options: impl FnOnce(Observer) -> WatcherOptions,
) -> anyhow::Result<Code> {
    // With a timeout of zero the stream would be empty, as if no user existed.
    if app.timeout() == Some(Duration::ZERO) {
        return Err(Failure::new(
            Code::Usage,
            "--timeout 0 leaves no time to watch anything",
        )
        .hinted("to see the current state and end: --snapshot only; to watch without a bound, leave --timeout out")
        .into());
    }
    if app.is_dry_run() {
        return observer::print_plan(app, &target).await;
    }
    options.end.timeout = app.timeout();
    // Members of a channel are watched whatever their teams are.
    options.team = target.team.clone().filter(|_| !target.users.is_empty());
    let stream = Stream::open(app.output(), options)?;
    let source = async {
        let (client, observer) = observer::resolve(app).await?;
        Ok(SourceOptions {
            client,
            target,
            watcher: watch_options(observer),
        })
    };
    Box::pin(stream.run(source)).await
}
