//! Parses a fixture from JSON.
//!
//! A fixture is checked by the rules that the running server has, so that a mistake is reported at the start, with its
//! place in the file.

use chrono::DateTime;
use serde_json::json;

use super::engine::ServiceState;
use super::fixture::{Fixture, FixtureError};
use super::options::MockRules;

/// Parses a fixture: a JSON object with `users`, `channels` and `demo`, each optional.
///
/// # Errors
///
/// The text is not such an object, or it breaks a rule of the service. The message names the place.
pub fn read_fixture(text: &str) -> Result<Fixture, FixtureError> {
    let fixture: Fixture =
        serde_json::from_str(text).map_err(|error| FixtureError::new("", error))?;
    ServiceState::new(MockRules::default(), 0).load(&fixture, DateTime::UNIX_EPOCH)?;
    if let Some(demo) = &fixture.demo {
        for id in &demo.users {
            if !fixture
                .users
                .iter()
                .any(|user| user.get("id") == Some(&json!(id)))
            {
                return Err(FixtureError::new(
                    "demo.users",
                    format!("there is no user {id:?} in the fixture"),
                ));
            }
        }
    }
    Ok(fixture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::fixture::demo_fixture;

    #[test]
    fn the_demonstration_obeys_the_rules() {
        let fixture = demo_fixture(DateTime::from_timestamp(1_767_610_800, 0).unwrap());
        let mut state = ServiceState::new(MockRules::default(), 0);
        state.load(&fixture, DateTime::UNIX_EPOCH).unwrap();
        let (users, channels, connections) = state.counts();
        assert_eq!((users, channels), (12, 2));
        assert!(connections > 0);
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let error = |text: &str| read_fixture(text).unwrap_err().to_string();
        assert!(error("{").contains("line 1"));
        assert!(error(r#"{"user": []}"#).contains("unknown field `user`"));
        assert_eq!(
            error(r#"{"users": [{"id": "a"}, {"id": "b c"}]}"#),
            "users[1]: `b c` is not a user id: it takes letters, digits, `@`, `_` and `-`, at most 255 of them"
        );
        assert!(error(r#"{"users": [{"name": "x"}]}"#).starts_with("users[0]: "));
        assert!(error(r#"{"users": [{"id": "a"}, {"id": "a"}]}"#).starts_with("users[1]: "));
        assert!(
            error(r#"{"channels": [{"type": "messaging", "id": "x", "members": ["ghost"]}]}"#)
                .starts_with("channels[0]: ")
        );
        assert!(error(r#"{"demo": {"users": ["ghost"]}}"#).starts_with("demo.users: "));
        assert!(read_fixture("{}").is_ok());
    }
}
