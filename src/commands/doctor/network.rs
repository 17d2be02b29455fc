//! The network steps of `doctor`: name resolution, TCP, TLS, the first response, and the difference between the clocks.

use chrono::{DateTime, TimeDelta, Utc};

use super::report::{DoctorReport, Step};
use crate::api::Client;
use crate::exit::{Code, Failure};

/// The largest accepted difference between the clocks. Tokens contain times in whole seconds, and the service tolerates
/// little.
const CLOCK_SKEW_MAX: TimeDelta = TimeDelta::seconds(30);

/// Runs the network steps. Returns `false` if the service cannot be reached.
pub(super) async fn check(report: &mut DoctorReport<'_>, client: &Client) -> anyhow::Result<bool> {
    if !reach(report, client).await? {
        return Ok(false);
    }
    let before = Utc::now();
    let said = match client.server_time().await {
        Ok(said) => said,
        Err(error) => {
            report.failed(Step::Http, &error.into())?;
            return Ok(false);
        }
    };
    let after = Utc::now();
    report.ok(Step::Http, "the service answers")?;
    match said {
        None => report.skipped(Step::Clock, "the answer does not say what time it is")?,
        Some(theirs) => match skew(before, after, theirs) {
            skew if skew <= CLOCK_SKEW_MAX => {
                report.ok(
                    Step::Clock,
                    "this machine's clock agrees with the service's",
                )?;
            }
            skew => {
                let late = theirs > after;
                report.failed(Step::Clock, &wrong_clock(skew, late).into())?;
            }
        },
    }
    Ok(true)
}

async fn reach(report: &mut DoctorReport<'_>, client: &Client) -> anyhow::Result<bool> {
    if let Some(proxy) = client.proxy() {
        for step in [Step::Dns, Step::Tcp, Step::Tls] {
            report.skipped(step, &format!("the proxy {} does that", proxy.address()))?;
        }
        return Ok(true);
    }
    let addresses = match client.resolve().await {
        Ok(addresses) => addresses,
        Err(error) => {
            report.failed(Step::Dns, &error.into())?;
            return Ok(false);
        }
    };
    let ips: Vec<String> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    report.ok(Step::Dns, ips.join(", "))?;
    let stream = match client.connect_tcp(&addresses).await {
        Ok(stream) => stream,
        Err(error) => {
            report.failed(Step::Tcp, &error.into())?;
            return Ok(false);
        }
    };
    let peer = stream
        .peer_addr()
        .map_or_else(|_| String::new(), |peer| peer.to_string());
    report.ok(Step::Tcp, peer)?;
    if client.settings().base_url.scheme() != "https" {
        report.skipped(Step::Tls, "plain http to this machine")?;
        return Ok(true);
    }
    match client.tls_handshake(stream).await {
        Ok(version) => {
            report.ok(
                Step::Tls,
                format!("{version}, and the certificate is trusted"),
            )?;
            Ok(true)
        }
        Err(error) => {
            report.failed(Step::Tls, &error.into())?;
            Ok(false)
        }
    }
}

/// The smallest possible difference between the clocks. The service answered at some moment between request and
/// response, and states it in whole seconds.
fn skew(before: DateTime<Utc>, after: DateTime<Utc>, theirs: DateTime<Utc>) -> TimeDelta {
    let (earliest, latest) = (theirs, theirs + TimeDelta::seconds(1));
    if latest < before {
        before - latest
    } else if earliest > after {
        earliest - after
    } else {
        TimeDelta::zero()
    }
}

fn wrong_clock(skew: TimeDelta, late: bool) -> Failure {
    let way = if late { "behind" } else { "ahead of" };
    let by = humantime::format_duration(std::time::Duration::from_secs(
        skew.num_seconds().unsigned_abs(),
    ));
    Failure::new(
        Code::Unexpected,
        format!("this machine's clock is {by} {way} the service's; tokens with times in them will be refused"),
    )
    .hinted("set the clock: timedatectl set-ntp true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_no_skew() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        assert_eq!(skew(at(100), at(110), at(105)), TimeDelta::zero());
        assert_eq!(
            skew(at(100), at(100), at(99)),
            TimeDelta::zero(),
            "99.9 in whole seconds"
        );
        assert_eq!(skew(at(100), at(110), at(50)), TimeDelta::seconds(49));
        assert_eq!(skew(at(100), at(110), at(200)), TimeDelta::seconds(90));
    }

    #[test]
    fn a_wrong_clock_is_reported_as_behind_or_ahead() {
        assert!(
            wrong_clock(TimeDelta::seconds(3600), true)
                .message
                .contains("1h behind")
        );
        assert!(
            wrong_clock(TimeDelta::seconds(60), false)
                .message
                .contains("1m ahead of")
        );
    }
}
