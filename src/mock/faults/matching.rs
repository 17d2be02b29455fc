//! Which requests and frames a fault is meant for.

/// A request, as far as a fault may look at it.
#[derive(Debug, Clone)]
pub(crate) struct RequestFacts<'a> {
    /// The HTTP method.
    pub(crate) method: &'a str,
    /// The path, without the query.
    pub(crate) path: &'a str,
    /// The user who asks, as far as the request says; nobody for the application's server.
    pub(crate) user: Option<String>,
}

/// A frame about to be sent, as far as a fault may look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameFacts<'a> {
    /// Whose socket it is.
    pub(crate) user: &'a str,
    /// The event's type.
    pub(crate) event: &'a str,
    /// Whether it is the first frame of its socket, without which the connection does not begin.
    pub(crate) first: bool,
}

/// Patterns; what is not given fits everything.
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

/// Whether a text fits a pattern in which `*` stands for any text.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        // The first place is as good as any later one.
        let Some(at) = text.find(part) else {
            return false;
        };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("/users", "/users", true),
            ("/users", "/users/x", false),
            ("/users*", "/users", true),
            ("*presence*", "user.presence.changed", true),
            ("user.*.changed", "user.presence.changed", true),
            ("user.*.changed", "user.changed", false),
            ("a*a", "a", false),
            ("*a*b*c", "xaybzc", true),
            ("*a*b*c", "xaybcz", false),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} and {text}");
        }
    }

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
