//! `/_mock/clock/…`: the time, by hand.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::super::super::clock::Clock;
use super::super::super::engine::{JsonObject, Rfc3339};
use super::super::super::error::{Rejection, check_fields};
use super::super::super::hub::Hub;
use crate::domain::time::{parse_duration, parse_time};

/// `POST /_mock/clock/freeze|advance|set|run|reset`, with `by` (a duration), `to` (a time) and `rate` (a number).
pub(super) fn set(hub: &Hub, action: &str, body: &JsonObject) -> Result<Value, Rejection> {
    let text = |name: &str| {
        body.get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| Rejection::input(format!("{name} is a required field")))
    };
    let known: &[&str] = match action {
        "freeze" | "set" => &["to"],
        "advance" => &["by"],
        "run" => &["rate"],
        _ => &[],
    };
    check_fields(body, known)?;
    match action {
        "freeze" => match body.get("to").and_then(Value::as_str) {
            Some(to) => {
                let to = parse_time(to, hub.clock.now()).map_err(Rejection::input)?;
                hub.set_clock(|clock| {
                    clock.freeze();
                    clock.set(to);
                });
            }
            None => hub.set_clock(Clock::freeze),
        },
        "advance" => {
            let by = parse_duration(text("by")?).map_err(Rejection::input)?;
            let by = TimeDelta::from_std(by)
                .map_err(|_| Rejection::input("by is longer than time itself"))?;
            hub.set_clock(|clock| clock.advance(by));
        }
        "set" => {
            let to = parse_time(text("to")?, hub.clock.now()).map_err(Rejection::input)?;
            hub.set_clock(|clock| clock.set(to));
        }
        "run" => {
            let rate = body.get("rate").map_or(Some(1.0), Value::as_f64);
            match rate {
                Some(rate) if rate > 0.0 && rate <= 1e6 => hub.set_clock(|clock| clock.run(rate)),
                _ => {
                    return Err(Rejection::input(
                        "rate must be a number above 0, at most 1000000",
                    ));
                }
            }
        }
        "reset" => hub.set_clock(Clock::reset),
        _ => {
            return Err(Rejection::not_found(format!(
                "the clock can freeze, advance, set, run and reset, not {action:?}"
            )));
        }
    }
    Ok(json!({"now": Rfc3339(hub.clock.now()), "clock": hub.clock.describe()}))
}
