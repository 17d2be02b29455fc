//! `/_mock/clock/…`: the time, by hand.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::super::super::clock::Clock;
use super::super::super::engine::{Body as Fields, Stamp};
use super::super::super::error::Reject;
use super::super::super::hub::Hub;
use crate::domain::time::{parse_duration, parse_time};

/// `POST /_mock/clock/freeze|advance|set|run|reset`, with `by` (a duration), `to` (a time) and `rate` (a number).
pub(super) fn set(hub: &Hub, action: &str, body: &Fields) -> Result<Value, Reject> {
    let text = |name: &str| {
        body.get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| Reject::input(format!("{name} is a required field")))
    };
    match action {
        "freeze" => match body.get("to").and_then(Value::as_str) {
            Some(to) => {
                let to = parse_time(to, hub.clock.now()).map_err(Reject::input)?;
                hub.set_clock(|clock| {
                    clock.freeze();
                    clock.set(to);
                });
            }
            None => hub.set_clock(Clock::freeze),
        },
        "advance" => {
            let by = parse_duration(text("by")?).map_err(Reject::input)?;
            let by = TimeDelta::from_std(by)
                .map_err(|_| Reject::input("by is longer than time itself"))?;
            hub.set_clock(|clock| clock.advance(by));
        }
        "set" => {
            let to = parse_time(text("to")?, hub.clock.now()).map_err(Reject::input)?;
            hub.set_clock(|clock| clock.set(to));
        }
        "run" => {
            let rate = body.get("rate").map_or(Some(1.0), Value::as_f64);
            match rate {
                Some(rate) if rate > 0.0 && rate <= 1e6 => hub.set_clock(|clock| clock.run(rate)),
                _ => {
                    return Err(Reject::input(
                        "rate must be a number above 0, at most 1000000",
                    ));
                }
            }
        }
        "reset" => hub.set_clock(Clock::reset),
        _ => {
            return Err(Reject::not_found(format!(
                "the clock can freeze, advance, set, run and reset, not {action:?}"
            )));
        }
    }
    Ok(json!({"now": Stamp(hub.clock.now()), "clock": hub.clock.describe()}))
}
