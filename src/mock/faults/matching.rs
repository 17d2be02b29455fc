//! Which requests and frames a fault matches.

use crate::domain::glob::Glob;

/// The properties of a request that a fault can match.
#[derive(Debug, Clone)]
pub(crate) struct RequestFacts<'a> {
    /// The HTTP method.
    pub(crate) method: &'a str,
    /// The path, without the query.
    pub(crate) path: &'a str,
    /// The user of the request, if it names one; `None` for the application's server.
    pub(crate) user: Option<String>,
}

/// The properties of a frame that a fault can match.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameFacts<'a> {
    /// The user of the socket.
    pub(crate) user: &'a str,
    /// The event's type.
    pub(crate) event: &'a str,
    /// Whether it is the first frame of its socket, which completes the connection.
    pub(crate) first: bool,
}

/// The patterns of a fault. A missing pattern matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FaultMatch {
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) event: Option<String>,
}

impl FaultMatch {
    pub(crate) fn fits_request(&self, asked: &RequestFacts<'_>) -> bool {
        self.method
            .as_deref()
            .is_none_or(|method| method.eq_ignore_ascii_case(asked.method))
            && fits_option(self.path.as_deref(), asked.path)
            && match (self.user.as_deref(), asked.user.as_deref()) {
                (None, _) => true,
                (Some(pattern), Some(user)) => fits(pattern, user),
                (Some(_), None) => false,
            }
    }

    pub(crate) fn fits_frame(&self, sent: &FrameFacts<'_>) -> bool {
        self.fits_user(sent.user) && fits_option(self.event.as_deref(), sent.event)
    }

    pub(crate) fn fits_user(&self, user: &str) -> bool {
        fits_option(self.user.as_deref(), user)
    }
}

fn fits_option(pattern: Option<&str>, text: &str) -> bool {
    pattern.is_none_or(|pattern| fits(pattern, text))
}

/// Whether a text matches a glob pattern.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    Glob::new(pattern).matches(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_for_a_user_is_not_for_nobody() {
        let for_john = FaultMatch {
            user: Some("john".into()),
            ..FaultMatch::default()
        };
        let asked = |user: Option<&str>| RequestFacts {
            method: "GET",
            path: "/users",
            user: user.map(str::to_owned),
        };
        assert!(for_john.fits_request(&asked(Some("john"))));
        assert!(!for_john.fits_request(&asked(Some("jack"))));
        assert!(!for_john.fits_request(&asked(None)));
        assert!(FaultMatch::default().fits_request(&asked(None)));
    }
}
